"""The audit trail, to read: nobody changes it, whatever they may do elsewhere."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from backups.admin.base import ReadOnlyAdmin
from backups.models import AuditEntry
from backups.queries import audit_entries_visible_to


@admin.register(AuditEntry)
class AuditEntryAdmin(ReadOnlyAdmin):
    """See the module."""

    list_display = ("created_at", "actor_name", "action", "object_type", "object_label", "outcome",
                    "source", "address")  # fmt: skip
    list_filter = ("outcome", "source", "object_type")
    search_fields = ("actor_name", "action", "object_label", "detail", "request_id")
    show_full_result_count = False
    actions = None

    def get_queryset(self, request: HttpRequest) -> QuerySet[AuditEntry]:
        """Return the visible entries."""
        user: Any = request.user
        return audit_entries_visible_to(user).select_related("actor")
