"""The domain as a Django app."""

from django.apps import AppConfig


class BackupsConfig(AppConfig):
    """See the module."""

    name = "backups"
    verbose_name = "Backups"
