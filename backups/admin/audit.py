"""The audit trail, to read: nobody changes it, whatever they may do elsewhere."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString

from backups.admin.base import ReadOnlyAdmin
from backups.admin.shown import badge
from backups.models import AuditEntry, AuditOutcome
from backups.queries import audit_entries_visible_to

LOOKS: dict[str, str] = {
    AuditOutcome.SUCCESS: "completed",
    AuditOutcome.REFUSED: "warning",
    AuditOutcome.FAILED: "failed",
}

# What actions are about. To ask the entries would mean reading all of them, and some are about
# nothing, which makes a choice without a name.
OBJECT_TYPES = ("backup", "job", "node", "site", "storage", "task", "user")


class ObjectTypes(admin.SimpleListFilter):
    """Filters by the kind of what was acted on."""

    title = "object type"
    parameter_name = "object_type"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:  # noqa: ANN401
        """Return the kinds."""
        return [(kind, kind) for kind in OBJECT_TYPES]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Return the entries of that kind."""
        return queryset.filter(object_type=self.value()) if self.value() else queryset


@admin.register(AuditEntry)
class AuditEntryAdmin(ReadOnlyAdmin):
    """See the module."""

    list_display = ("created_at", "actor_name", "action", "object_type", "object_label",
                    "outcome_shown", "source", "address")  # fmt: skip
    # Whoever reads it may not be one who sees the person.
    exclude = ("actor", "outcome")
    readonly_fields = ("outcome_shown",)
    list_filter = ("outcome", "source", ObjectTypes)
    search_fields = ("actor_name", "action", "object_label", "detail", "request_id")
    show_full_result_count = False
    actions = None

    @admin.display(description="outcome", ordering="outcome")
    def outcome_shown(self, entry: AuditEntry) -> SafeString:
        return badge(entry.outcome, LOOKS.get(entry.outcome, "idle"))

    def get_queryset(self, request: HttpRequest) -> QuerySet[AuditEntry]:
        """Return the visible entries."""
        user: Any = request.user
        return audit_entries_visible_to(user).select_related("actor")
