"""Nodes and their workers."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.forms import ModelForm
from django.http import HttpRequest

from backups.actions import nodes
from backups.admin.base import DomainAdmin, ReadOnlyInline, adopt, changed_values
from backups.models import Node, Worker
from backups.queries import nodes_visible_to, nodes_with_standing


class WorkerInline(ReadOnlyInline):
    """The worker processes of a node."""

    model = Worker
    fields = ("name", "hostname", "process_id", "concurrency", "started_at", "last_seen_at")
    readonly_fields = fields


@admin.register(Node)
class NodeAdmin(DomainAdmin):
    """See the module."""

    list_display = ("name", "label", "is_online", "is_enabled", "slots", "active", "queued",
                    "last_seen_at")  # fmt: skip
    list_filter = ("is_enabled",)
    search_fields = ("name", "label", "hostname")
    readonly_fields = ("uuid", "hostname", "last_seen_at", "cpu_percent", "memory_percent",
                       "disk_percent", "created_at")  # fmt: skip
    filter_horizontal = ("admins",)
    inlines = (WorkerInline,)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Return the visible nodes and how they stand."""
        user: Any = request.user
        return nodes_with_standing(nodes_visible_to(user)).order_by("name")

    @admin.display(boolean=True, description="online")
    def is_online(self, node: Any) -> bool:  # noqa: ANN401
        return bool(node.is_online)

    @admin.display(description="active jobs", ordering="active_jobs")
    def active(self, node: Any) -> int:  # noqa: ANN401
        return int(node.active_jobs)

    @admin.display(description="queued jobs", ordering="queued_jobs")
    def queued(self, node: Any) -> int:  # noqa: ANN401
        return int(node.queued_jobs)

    def save_model(
        self,
        request: HttpRequest,
        obj: Node,
        form: ModelForm[Any],
        change: bool,
    ) -> None:
        values = changed_values(form)
        if change:
            nodes.change_node(node=obj, **values)
            return
        first = {"name": obj.name, "allowed_roots": obj.allowed_roots, "slots": obj.slots}
        added = nodes.add_node(**first)
        nodes.change_node(node=added, **{k: v for k, v in values.items() if k not in first})
        adopt(obj, added)

    def delete_model(self, request: HttpRequest, obj: Node) -> None:
        nodes.delete_node(node=obj)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Node]) -> None:
        for node in queryset:
            nodes.delete_node(node=node)
