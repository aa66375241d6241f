"""The workers as a Django app: it brings management commands, no models."""

from django.apps import AppConfig


class WorkersConfig(AppConfig):
    """See the module."""

    name = "workers"
