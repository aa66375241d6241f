"""Nodes, their workers, and the tokens that joined them: scaled, drained and resumed here."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.forms import ModelForm
from django.http import HttpRequest
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from backups.actions import nodes
from backups.admin.asking import confirmation, do_each, is_confirmed
from backups.admin.base import (
    THOSE_WITH_NODES,
    DomainAdmin,
    ReadOnlyAdmin,
    ReadOnlyInline,
    VisibleNodes,
    adopt,
    changed_values,
)
from backups.admin.pausing import PausesSchedules
from backups.admin.row_forms import NodeForm
from backups.admin.shown import NOTHING, badge, list_link, row_link, size
from backups.models import MAX_SLOTS, EnrolmentToken, Node, Worker
from backups.queries import (
    is_paused,
    nodes_visible_to,
    nodes_with_standing,
    shown_moment,
    upcoming_runs,
    why_closed,
)
from backups.roles import Role

RETENTION = ("retention_copies", "retention_daily", "retention_weekly", "retention_monthly",
             "retention_yearly")  # fmt: skip
RUNS_SHOWN = 10
# They open other folders of the host, or the node to other people.
FOR_SUPER_ADMINS = ("name", "allowed_roots", "admins")


class ScaleForm(forms.Form):
    """How many stages the selected nodes run at once."""

    slots = forms.IntegerField(
        min_value=1,
        max_value=MAX_SLOTS,
        help_text="Workers grow or shrink to it within seconds. No running stage is ended for it.",
    )


class WorkerInline(ReadOnlyInline):
    """The worker processes of a node."""

    model = Worker
    fields = ("name", "hostname", "process_id", "concurrency", "is_leaving", "started_at",
              "last_seen_at", "tries")  # fmt: skip
    readonly_fields = fields

    @admin.display(description="scratch databases")
    def tries(self, worker: Worker) -> str:
        return ", ".join(worker.scratch_engines) or NOTHING


@admin.register(Node)
class NodeAdmin(PausesSchedules, DomainAdmin):
    """See the module."""

    form = NodeForm
    readers = changers = THOSE_WITH_NODES
    goes_along = "a node with sites or jobs stays"
    list_display = ("name", "label", "state_shown", "slots", "active", "queued", "disk_free",
                    "load_average", "last_seen_at", "lists")  # fmt: skip
    first_steps = (
        "No node yet: a node is a host with sites, and a worker that backs them up. Add one here, "
        "or by the first of these commands where the panel runs. With the second, the panel lets "
        "a host join as the node; it says what to type on that host.",
    )
    first_commands = (
        "manage.py node add web-01 --root /var/www",
        "manage.py node token web-01",
    )
    list_filter = ("is_enabled", "is_draining")
    search_fields = ("name", "label", "hostname")
    readonly_fields = ("uuid", "hostname", "held_by", "last_seen_at", "cpu_percent",
                       "memory_percent", "disk_percent", "disk_free", "load_average",
                       "pause_shown", "next_backups", "lists", "created_at")  # fmt: skip
    fieldsets = (
        (None, {"fields": ("name", "label", "is_enabled", "allowed_roots", "storage_quota_gb")}),
        (
            "Work",
            {"fields": ("slots", "is_draining", "nice", "io_class", "upload_bytes_per_second")},
        ),
        ("Retention of its sites", {"fields": RETENTION}),
        ("Schedules", {"fields": ("time_zone", "blackouts", "schedule_window_minutes")}),
        ("People", {"fields": ("admins",)}),
        ("Record", {"fields": ("ip_address", *readonly_fields)}),
    )
    filter_horizontal = ("admins",)
    inlines = (WorkerInline,)
    actions = ("scale", "drain", "resume", "pause_schedules", "resume_schedules")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Return the visible nodes and how they stand."""
        user: Any = request.user
        return nodes_with_standing(nodes_visible_to(user)).order_by("name")

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:  # noqa: ANN401
        """Return what nobody edits, or this user may not."""
        return self.readonly_fields + (() if _is_super(request) else FOR_SUPER_ADMINS)

    @admin.display(description="state")
    def state_shown(self, node: Any) -> SafeString:  # noqa: ANN401
        if not node.is_enabled:
            return badge("disabled", "stopped")
        shown = [badge("online", "completed") if node.is_online else badge("offline", "failed")]
        if node.is_draining:
            shown.append(badge("draining", "warning"))
        if is_paused(node, timezone.now()):
            shown.append(badge("schedules paused", "warning"))
        return format_html_join(" ", "{}", ((one,) for one in shown))

    @admin.display(description="active jobs", ordering="active_jobs")
    def active(self, node: Any) -> int:  # noqa: ANN401
        return int(node.active_jobs)

    @admin.display(description="queued jobs", ordering="queued_jobs")
    def queued(self, node: Any) -> int:  # noqa: ANN401
        return int(node.queued_jobs)

    @admin.display(description="disk free", ordering="disk_free_bytes")
    def disk_free(self, node: Node) -> str:
        return size(node.disk_free_bytes)

    @admin.display(description="lists")
    def lists(self, node: Node) -> SafeString:
        sites = list_link("site", f"node__id__exact={node.pk}", "sites")
        jobs = list_link("job", f"node__id__exact={node.pk}", "jobs")
        return format_html("{} · {}", sites, jobs)

    @admin.display(description="next backups")
    def next_backups(self, node: Node) -> SafeString | str:
        """Return what starts by itself on the node, the next one first, and what holds it up."""
        if node._state.adding:
            return NOTHING
        rows = [
            (shown_moment(site.next_run_at), row_link("site", site.pk, site.name))
            for site in upcoming_runs(node.sites.all())[:RUNS_SHOWN]
            if site.next_run_at
        ]
        held = why_closed(node, timezone.now())
        runs = format_html_join(SafeString("<br>"), "{} {}", rows) if rows else NOTHING
        return format_html("{}<br>{}", held, runs) if held else runs

    @admin.action(description="Scale selected nodes", permissions=["change"])
    def scale(self, request: HttpRequest, queryset: QuerySet[Node]) -> TemplateResponse | None:
        """Ask for the number, then set it on each."""
        form = ScaleForm(request.POST if is_confirmed(request) else None)
        if not form.is_valid():
            return confirmation(
                self,
                request,
                queryset,
                title="Scale nodes",
                explanation="How many stages should each of these nodes run at once?",
                button="Scale them",
                labels=(f"{node}: {node.slots} now" for node in queryset),
                form=form,
            )
        slots = form.cleaned_data["slots"]

        def act(node: Node) -> str:
            nodes.scale_node(node=node, slots=slots)
            return f"Stages at once on {node}: {slots}"

        do_each(self, request, queryset, act)
        return None

    @admin.action(description="Drain selected nodes", permissions=["change"])
    def drain(self, request: HttpRequest, queryset: QuerySet[Node]) -> None:
        """Let running stages end and no new one begin."""

        def act(node: Node) -> str:
            nodes.drain_node(node=node)
            return f"Draining {node}: running stages end, no new one begins"

        do_each(self, request, queryset, act)

    @admin.action(description="Resume selected nodes", permissions=["change"])
    def resume(self, request: HttpRequest, queryset: QuerySet[Node]) -> None:
        """Let drained nodes take stages again."""

        def act(node: Node) -> str:
            nodes.resume_node(node=node)
            return f"Resumed {node}: it takes stages again"

        do_each(self, request, queryset, act)

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


@admin.register(EnrolmentToken)
class EnrolmentTokenAdmin(ReadOnlyAdmin):
    """Who may join, or has joined, a host as a node. The tokens themselves are stored nowhere."""

    readers = THOSE_WITH_NODES
    list_display = ("node_link", "by", "created_at", "expires_at", "used_at", "used_from")
    list_display_links = ("created_at",)
    first_steps = (
        "No host has been let in yet. Add a node and let a host join as it, where the panel runs; "
        "the second command says what to type on that host.",
    )
    first_commands = NodeAdmin.first_commands
    fields = ("node", "by", "created_at", "expires_at", "used_at", "used_from")
    list_filter = (("node", VisibleNodes),)
    search_fields = ("node__name",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[EnrolmentToken]:
        """Return the tokens of the visible nodes."""
        user: Any = request.user
        tokens = EnrolmentToken.objects.filter(node__in=nodes_visible_to(user))
        return tokens.select_related("node", "created_by").defer("token_hash")

    @admin.display(description="node")
    def node_link(self, token: EnrolmentToken) -> str:
        return row_link("node", token.node_id, token.node.name)

    @admin.display(description="created by")
    def by(self, token: EnrolmentToken) -> str:
        return str(token.created_by or NOTHING)


def _is_super(request: HttpRequest) -> bool:
    user: Any = request.user
    return bool(user.role == Role.SUPER_ADMIN)
