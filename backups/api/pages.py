"""Lists: `skip` and `limit`, an envelope with the rows and how many there are in all."""

from __future__ import annotations

from typing import Any, ClassVar

from django.db.models import QuerySet
from rest_framework import serializers
from rest_framework.filters import OrderingFilter
from rest_framework.pagination import BasePagination
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from backups.queries import page_of

DEFAULT_LIMIT = 50
MAX_LIMIT = 500


class PageQuery(serializers.Serializer[Any]):
    """Which part of a list is wanted."""

    skip = serializers.IntegerField(min_value=0, max_value=2**31, default=0)
    limit = serializers.IntegerField(min_value=1, max_value=MAX_LIMIT, default=DEFAULT_LIMIT)


class SkipLimit(BasePagination):
    """`{<key>: [...], "total": n}`; a subclass names the key."""

    key: ClassVar[str]

    def paginate_queryset(
        self,
        queryset: Any,  # noqa: ANN401
        request: Request,
        view: APIView | None = None,
    ) -> list[Any]:
        """Return the rows of the page; 400 for a `skip` or `limit` that is no page."""
        query = PageQuery(data=request.query_params)
        query.is_valid(raise_exception=True)
        skip, limit = query.validated_data["skip"], query.validated_data["limit"]
        self.total = queryset.count()
        return page_of(queryset, skip, limit, self.total)

    def get_paginated_response(self, data: Any) -> Response:  # noqa: ANN401
        """Return the envelope."""
        return Response({self.key: data, "total": self.total})

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        """Describe the envelope to OpenAPI."""
        return {
            "type": "object",
            "required": [self.key, "total"],
            "properties": {self.key: schema, "total": {"type": "integer", "example": 123}},
        }

    def get_schema_operation_parameters(self, view: APIView) -> list[dict[str, Any]]:
        """Describe `skip` and `limit` to OpenAPI."""
        whole = {"type": "integer", "minimum": 0, "default": 0}
        limit = {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT}
        return [
            {"name": "skip", "in": "query", "required": False, "schema": whole},
            {"name": "limit", "in": "query", "required": False, "schema": limit},
        ]


class SitesPage(SkipLimit):
    """A page of sites."""

    key = "sites"


class BackupsPage(SkipLimit):
    """A page of backups."""

    key = "backups"


class JobsPage(SkipLimit):
    """A page of jobs."""

    key = "jobs"


class StableOrdering(OrderingFilter):
    """`ordering`, with the key as the last word: pages of equal rows would overlap otherwise."""

    def get_ordering(self, request: Request, queryset: QuerySet[Any], view: APIView) -> list[str]:
        """Return the order that was asked for, or the view's own."""
        return [*(super().get_ordering(request, queryset, view) or ()), "pk"]
