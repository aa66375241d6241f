"""DRF's browsable API without the inline styles that the content security policy refuses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rest_framework.renderers import BrowsableAPIRenderer


class StrictBrowsableAPIRenderer(BrowsableAPIRenderer):
    """DRF's pages with every `style` attribute under another name, which our stylesheet knows.

    Content cannot be mistaken for one: quotes in it are escaped. See static/panel/browsable.css.
    """

    def render(
        self,
        data: Any,  # noqa: ANN401
        accepted_media_type: str | None = None,
        renderer_context: Mapping[str, Any] | None = None,
    ) -> str:
        """Return the page."""
        page = super().render(data, accepted_media_type, renderer_context)
        return page.replace(' style="', ' data-style="')

    def get_context(self, *args: Any, **options: Any) -> dict[str, Any]:  # noqa: ANN401
        """Return the page's context, in which highlighted code has no style of its own."""
        return {**super().get_context(*args, **options), "code_style": ""}
