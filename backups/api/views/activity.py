"""The audit trail, to read."""

from __future__ import annotations

from typing import Any

from django.db.models import Q, QuerySet
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework.generics import ListAPIView
from rest_framework.pagination import LimitOffsetPagination

from backups.api.access import person
from backups.api.serializers.activity import MAX_LIMIT, ActivityQuery, AuditEntrySerializer
from backups.models import AuditEntry
from backups.queries import audit_entries_visible_to

CONDITIONS = {
    "action": "action",
    "outcome": "outcome",
    "source": "source",
    "actor": "actor_id",
    "site_id": "site_id",
    "node_id": "node_id",
    "object_type": "object_type",
    "object_id": "object_id",
    "since": "created_at__gte",
    "until": "created_at__lte",
}
SEARCHED = ("actor_name", "object_label", "action", "detail")
MOST_COUNTED = 100_000


class ActivityPage(LimitOffsetPagination):
    """Counts no further than `MOST_COUNTED`: older entries are found by `until`."""

    max_limit = MAX_LIMIT

    def get_count(self, queryset: Any) -> int:  # noqa: ANN401
        """Return how many there are, as far as that is counted."""
        return int(queryset.order_by()[:MOST_COUNTED].count())


@extend_schema_view(get=extend_schema(parameters=[ActivityQuery]))
class ActivityLog(ListAPIView[AuditEntry]):
    """What was done and refused on what you may see, and by yourself; newest first.

    `count` stops at 100,000; ask for what is older with `until`.
    """

    serializer_class = AuditEntrySerializer
    pagination_class = ActivityPage

    def get_queryset(self) -> QuerySet[AuditEntry]:
        """Return the entries that are wanted; 400 for a filter that cannot be."""
        if getattr(self, "swagger_fake_view", False):  # while the schema is made
            return AuditEntry.objects.none()
        given = self.request.query_params.copy()
        given.pop("format", None)  # of the browsable API
        query = ActivityQuery(data=given)
        query.is_valid(raise_exception=True)
        return _matching(self.visible(), query.validated_data).order_by("-id")

    def visible(self) -> QuerySet[AuditEntry]:
        """Return what the user may see."""
        return audit_entries_visible_to(person(self.request))


class OwnActivityLog(ActivityLog):
    """What you did, and what you were refused; newest first."""

    def visible(self) -> QuerySet[AuditEntry]:
        """Return the user's own."""
        return super().visible().filter(actor=person(self.request).pk)


def _matching(entries: QuerySet[AuditEntry], wanted: dict[str, Any]) -> QuerySet[AuditEntry]:
    conditions = {CONDITIONS[name]: wanted[name] for name in CONDITIONS if name in wanted}
    entries = entries.filter(**conditions)
    if "search" not in wanted:
        return entries
    found = Q()
    for column in SEARCHED:
        found |= Q(**{f"{column}__icontains": wanted["search"]})
    return entries.filter(found)
