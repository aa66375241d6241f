"""The workers as a Django app: it brings management commands, no models."""

from django.apps import AppConfig
from django.conf import settings

from workers.engine import endpoints


class WorkersConfig(AppConfig):
    """See the module."""

    name = "workers"

    def ready(self) -> None:
        """Tell the engine, which knows no settings, which endpoints this process may use."""
        endpoints.allow_local(settings.HOLDFAST_LOCAL_ENDPOINTS)
