"""The engine: reads sites, writes bundles, moves them to stores.

Nothing here knows Django, Celery or the domain; every function can be called from a script.
"""
