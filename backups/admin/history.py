"""What happened: jobs, their stages and log, and the backups they made. To read only."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html

from backups import registry
from backups.admin.base import ReadOnlyAdmin, ReadOnlyInline
from backups.models import Backup, Job, JobEvent, Stage, Worker
from backups.queries import backups_visible_to, jobs_visible_to, nodes_visible_to


class StageInline(ReadOnlyInline):
    """The steps of a job."""

    model = Stage
    fields = ("name", "state", "started_at", "finished_at", "bytes_processed", "bytes_total",
              "detail")  # fmt: skip
    readonly_fields = fields


@admin.register(Job)
class JobAdmin(ReadOnlyAdmin):
    """See the module."""

    list_display = ("id", "kind", "site", "node", "state", "progress", "trigger", "queued_at",
                    "finished_at")  # fmt: skip
    list_filter = ("state", "kind", "node", "trigger")
    search_fields = ("id", "site__name", "error_message")
    date_hierarchy = "queued_at"
    exclude = ("token", "active_site")
    readonly_fields = ("log",)
    inlines = (StageInline,)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Job]:
        """Return the visible jobs."""
        user: Any = request.user
        jobs = jobs_visible_to(user).select_related("site", "node", "storage", "requested_by")
        return jobs.defer("site__db_password", "storage__secrets")

    @admin.display(description="log")
    def log(self, job: Job) -> str:
        address = reverse("admin:backups_jobevent_changelist")
        return format_html('<a href="{}?job__id__exact={}">Show the log</a>', address, job.pk)


@admin.register(Stage)
class StageAdmin(ReadOnlyAdmin):
    """See the module."""

    list_display = ("name", "job", "state", "started_at", "finished_at", "bytes_processed")
    list_filter = ("name", "state")
    search_fields = ("job__id", "job__site__name")
    exclude = ("checkpoint",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Stage]:
        """Return the stages of the visible jobs."""
        user: Any = request.user
        return Stage.objects.filter(job__in=jobs_visible_to(user)).select_related("job")


@admin.register(JobEvent)
class JobEventAdmin(ReadOnlyAdmin):
    """See the module."""

    list_display = ("created_at", "level", "site", "stage", "message")
    list_filter = ("level", "kind")
    search_fields = ("message", "job__id", "job__site__name")

    def get_queryset(self, request: HttpRequest) -> QuerySet[JobEvent]:
        """Return the log of the visible jobs."""
        user: Any = request.user
        events = JobEvent.objects.filter(job__in=jobs_visible_to(user))
        return events.select_related("job__site").defer("job__site__db_password")

    @admin.display(ordering="job__site__name")
    def site(self, event: JobEvent) -> str:
        return event.job.site.name


@admin.register(Backup)
class BackupAdmin(ReadOnlyAdmin):
    """See the module."""

    list_display = ("filename", "site", "storage", "status", "size_bytes", "verified_by",
                    "is_suspect", "created_at")  # fmt: skip
    list_filter = ("status", "is_suspect", "storage", "site__node")
    search_fields = ("object_key", "site__name", "sha256")
    date_hierarchy = "created_at"
    readonly_fields = ("address",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Backup]:
        """Return the visible backups."""
        user: Any = request.user
        backups = backups_visible_to(user).select_related("site", "storage", "job")
        return backups.defer("site__db_password", "storage__secrets")

    @admin.display(description="address")
    def address(self, backup: Backup) -> str:
        storage = backup.storage
        if not backup.object_key:
            return ""
        return registry.address_of(storage.type, storage.config, backup.object_key)


@admin.register(Worker)
class WorkerAdmin(ReadOnlyAdmin):
    """See the module."""

    list_display = ("name", "node", "hostname", "process_id", "concurrency", "last_seen_at")
    list_filter = ("node",)
    search_fields = ("name", "hostname")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Worker]:
        """Return the workers of the visible nodes."""
        user: Any = request.user
        return Worker.objects.filter(node__in=nodes_visible_to(user)).select_related("node")
