"""The panel as a Django app: it brings checks of the configuration, templates and static files."""

from django.apps import AppConfig


class PanelConfig(AppConfig):
    """See the module."""

    name = "panel"

    def ready(self) -> None:
        """Register the checks."""
        from panel import checks  # noqa: F401 (registers them, and needs the settings)
