"""The panel: settings, sign-in, pages and everything that answers HTTP outside the domain's API.

The Celery app is loaded here, so that whoever loads Django can publish tasks by name.
"""

from workers.celery import app as celery_app

__all__ = ["celery_app"]
