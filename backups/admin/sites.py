"""Sites: set up here, and backed up at once with an action on the list."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import ForeignKey, QuerySet
from django.http import HttpRequest
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from backups.actions import jobs, schedules, sites
from backups.admin.asking import confirmation, is_confirmed
from backups.admin.base import (
    EVERYBODY,
    THOSE_WITH_NODES,
    DomainAdmin,
    VisibleNodes,
    adopt,
    changed_values,
)
from backups.admin.pausing import PausesSchedules
from backups.admin.row_forms import SiteForm
from backups.admin.shown import badge, list_link, row_link, size
from backups.admin.site_filters import NewestState, Safety, Stored
from backups.errors import DomainError
from backups.models import Site
from backups.protection import Protection
from backups.queries import (
    is_paused,
    may_manage_site,
    nodes_visible_to,
    schedule_of,
    shown_moment,
    sites_visible_to,
    sites_with_protection,
    sites_with_usage,
    storages_visible_to,
)
from backups.roles import Role
from backups.states import OUTSIDE, JobState

RECORD = (
    "status",
    "safety",
    "last_backup",
    "backup_count",
    "backups_amiss",
    "stored",
    "next_runs",
    "pause_shown",
    "lists",
    "uuid",
    "created_at",
)
SCHEDULE: Any = (
    "Schedule",
    {
        "description": "Weekly: days from 0 (Monday) to 6 (Sunday). Monthly: days from 1 to 31. "
        "Cron: five fields, in which 0 and 7 are Sunday.",
        "fields": schedules.SCHEDULE_FIELDS,
    },
)
RETENTION = ("retention_copies", "retention_daily", "retention_weekly", "retention_monthly",
             "retention_yearly")  # fmt: skip
OWN_FIELDS = sites.OWN_FIELDS | set(schedules.SCHEDULE_FIELDS) | set(RETENTION)
# For those who may not change them: without the password, which a page that is only read would
# show, without the people, and without links to what they may not open.
LOOKED_AT = (
    (None, {"fields": ("name", "url", "node_name", "wp_path", "wp_config_path", "excludes")}),
    SCHEDULE,
    ("Storage", {"fields": ("storage_name",)}),
    ("Retention", {"fields": RETENTION}),
    ("Record", {"fields": RECORD}),
)


@admin.register(Site)
class SiteAdmin(PausesSchedules, DomainAdmin):
    """See the module."""

    changers = EVERYBODY
    adders = deleters = THOSE_WITH_NODES
    goes_along = "its jobs and their logs; its files and its database stay where they are"
    form = SiteForm
    list_display = ("name", "node_link", "status", "safety", "last_backup", "backup_count",
                    "stored", "next_run_at_shown", "lists")  # fmt: skip
    list_filter = (
        Safety,
        NewestState,
        Stored,
        ("node", VisibleNodes),
        "storage",
        "schedule_frequency",
    )
    first_steps = (
        "No site yet. Add one with the button above. Its folder must lie below one of the folders "
        "that its node may read.",
    )
    search_fields = ("name", "url", "wp_path")
    readonly_fields = (*RECORD, "node_name", "storage_name", "password_is_set")
    filter_horizontal = ("admins",)
    actions = ("back_up", "pause_schedules", "resume_schedules")
    fieldsets = (
        (None, {"fields": ("name", "url", "node", "wp_path", "wp_config_path", "excludes")}),
        (
            "Database",
            {
                "description": "Leave the engine empty to go by wp-config.php at each backup.",
                "fields": ("db_engine", "db_name", "db_host", "db_port", "db_user",
                           "db_password", "password_is_set"),
            },
        ),
        SCHEDULE,
        ("Storage", {"fields": ("storage",)}),
        ("Retention", {"fields": RETENTION}),
        ("People", {"fields": ("admins",)}),
        ("Record", {"fields": RECORD}),
    )  # fmt: skip

    def get_queryset(self, request: HttpRequest) -> QuerySet[Site]:
        """Return the visible sites and what they use."""
        user: Any = request.user
        return sites_with_protection(sites_with_usage(sites_visible_to(user)))

    def get_fieldsets(self, request: HttpRequest, obj: Site | None = None) -> Any:  # noqa: ANN401
        """Return what the user may see."""
        if obj is None:
            return self.fieldsets[:-1]  # no record yet
        return self.fieldsets if _manages(request, obj) else LOOKED_AT

    def get_readonly_fields(self, request: HttpRequest, obj: Site | None = None) -> tuple[str, ...]:
        """Return what nobody edits, or this user may not."""
        if not _manages(request, obj):
            columns = {field.name for field in (*Site._meta.fields, *Site._meta.many_to_many)}
            return (*self.readonly_fields, *sorted(columns - OWN_FIELDS))
        user: Any = request.user
        return self.readonly_fields + (() if user.role == Role.SUPER_ADMIN else ("admins",))

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Return whether the user may add sites, which needs a node."""
        user: Any = request.user
        return super().has_add_permission(request) and nodes_visible_to(user).exists()

    def has_delete_permission(self, request: HttpRequest, obj: Site | None = None) -> bool:
        """Return whether the user may remove the site: its own admins may not."""
        return super().has_delete_permission(request, obj) and _manages(request, obj)

    def formfield_for_foreignkey(
        self,
        db_field: ForeignKey[Any],
        request: HttpRequest,
        **kwargs: Any,  # noqa: ANN401
    ) -> Any:  # noqa: ANN401
        """Offer what the user may refer to."""
        user: Any = request.user
        visible_to = {"node": nodes_visible_to, "storage": storages_visible_to}[db_field.name]
        return super().formfield_for_foreignkey(
            db_field, request, **{**kwargs, "queryset": visible_to(user)}
        )

    @admin.display(description="newest job")
    def status(self, site: Any) -> SafeString:  # noqa: ANN401
        newest = getattr(site, "newest_state", None)
        return badge(OUTSIDE[JobState(newest)] if newest else "idle")

    @admin.display(description="safety")
    def safety(self, site: Any) -> SafeString:  # noqa: ANN401
        word = Protection(site.protection)
        return badge(str(word.label), word.value)

    @admin.display(description="node")
    def node_name(self, site: Site) -> str:
        return str(site.node)

    @admin.display(description="storage")
    def storage_name(self, site: Site) -> str:
        return str(site.storage or "the default one")

    def view_on_site(self, site: Site) -> str:
        """Return where the site is watched and backed up."""
        return reverse("site-page", args=[site.pk])

    @admin.display(description="stored", ordering="storage_used_bytes")
    def stored(self, site: Site) -> str:
        return size(site.storage_used_bytes)

    @admin.display(description="next run", ordering="next_run_at")
    def next_run_at_shown(self, site: Site) -> Any:  # noqa: ANN401
        rests = any(is_paused(row, timezone.now()) for row in (site, site.node))
        return badge("paused", "warning") if rests and site.next_run_at else site.next_run_at

    @admin.display(description="next runs")
    def next_runs(self, site: Site) -> str:
        found = schedule_of(site)
        runs = ", ".join(map(shown_moment, found["next_runs"]))
        return " ".join(filter(None, (found["not_running_because"], runs)))

    @admin.display(description="lists")
    def lists(self, site: Site) -> SafeString:
        jobs_ = list_link("job", f"site__id__exact={site.pk}", "jobs")
        backups = list_link("backup", f"site__id__exact={site.pk}", "backups")
        return format_html("{} · {}", jobs_, backups)

    @admin.display(description="node", ordering="node__name")
    def node_link(self, site: Site) -> str:
        return row_link("node", site.node_id, site.node.name)

    @admin.display(description="last backup", ordering="last_backup")
    def last_backup(self, site: Any) -> Any:  # noqa: ANN401
        return site.last_backup

    @admin.display(description="backups", ordering="backup_count")
    def backup_count(self, site: Any) -> int:  # noqa: ANN401
        return int(site.backup_count)

    @admin.display(boolean=True, description="password stored")
    def password_is_set(self, site: Any) -> bool:  # noqa: ANN401
        return bool(getattr(site, "db_password_set", False))

    @admin.action(description="Back up selected sites", permissions=["change"])
    def back_up(self, request: HttpRequest, queryset: QuerySet[Site]) -> TemplateResponse | None:
        """Ask, then start a backup of each; what is refused is said, and holds back no other."""
        if not is_confirmed(request):
            return confirmation(
                self,
                request,
                queryset,
                title="Back up sites",
                explanation="A full backup of each of these sites begins as soon as its node has a "
                "free slot. The sites stay online.",
                button="Yes, back them up",
                labels=(f"{site} on {site.node}" for site in queryset),
            )
        started = 0
        user: Any = request.user
        for site in queryset:
            try:
                jobs.start_backup(site=site, requested_by=user, trigger="admin")
                started += 1
            except DomainError as error:
                self.message_user(request, error.message, messages.WARNING)
        if started:
            words = "1 backup started." if started == 1 else f"{started} backups started."
            self.message_user(request, words, messages.SUCCESS)
        return None

    def save_model(
        self,
        request: HttpRequest,
        obj: Site,
        form: forms.ModelForm[Any],
        change: bool,
    ) -> None:
        values = changed_values(form)
        if not values.get("db_password"):
            values.pop("db_password", None)
        names = (*schedules.SCHEDULE_FIELDS, "retention_copies")
        planned = {name: values.pop(name) for name in names if name in values}
        if change:
            sites.change_site(site=obj, **values)
        else:
            adopt(obj, sites.create_site(**{"node": obj.node, **values}))
        if planned:
            frequency = planned.pop("schedule_frequency", obj.schedule_frequency)
            schedules.set_schedule(site=obj, frequency=frequency, **planned)

    def delete_model(self, request: HttpRequest, obj: Site) -> None:
        sites.delete_site(site=obj)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Site]) -> None:
        for site in queryset:
            sites.delete_site(site=site)


def _manages(request: HttpRequest, site: Site | None) -> bool:
    """Return whether the user manages the site's node; for no site yet, whichever it will be."""
    user: Any = request.user
    return site is None or may_manage_site(user, site)
