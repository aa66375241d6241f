"""The words that `manage.py node` knows, each module those of one purpose."""
