"""What OPTIONS answers: what a route is and takes, whoever asks and whatever there is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rest_framework.metadata import SimpleMetadata

# The framework's views load this module while they are loaded themselves.
if TYPE_CHECKING:
    from rest_framework.request import Request
    from rest_framework.views import APIView


class RouteMetadata(SimpleMetadata):
    """DRF's own without the fields of a form.

    To find out whether one may be shown it looks for a row as its generic views do, and ours look
    in other ways. The schema has the fields.
    """

    def determine_actions(self, request: Request, view: APIView) -> dict[str, Any]:
        """Return none."""
        return {}
