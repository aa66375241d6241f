"""Management commands that run on a node."""
