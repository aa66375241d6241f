"""What happened: jobs, their stages and log, and the backups they made.

To read only; jobs can be stopped, reset and tried again.
"""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.html import format_html

from backups import registry
from backups.actions import control, operations
from backups.admin.asking import confirmation, do_each, is_confirmed
from backups.admin.base import THOSE_WITH_NODES, ReadOnlyAdmin, ReadOnlyInline, VisibleNodes
from backups.admin.long_lists import OfSitesAdmin, PartsOfJobsAdmin, Triggers
from backups.models import Backup, Job, JobEvent, Stage, Worker
from backups.queries import (
    backups_visible_to,
    events_visible_to,
    jobs_visible_to,
    nodes_visible_to,
    stages_visible_to,
)


class StageInline(ReadOnlyInline):
    """The steps of a job."""

    model = Stage
    fields = ("name", "state", "started_at", "finished_at", "bytes_processed", "bytes_total",
              "detail")  # fmt: skip
    readonly_fields = fields


@admin.register(Job)
class JobAdmin(OfSitesAdmin):
    """See the module."""

    list_display = ("id", "kind", "site", "node", "state", "progress", "trigger", "queued_at",
                    "finished_at")  # fmt: skip
    list_filter = ("state", "kind", ("node", VisibleNodes), Triggers, "queued_at")
    search_fields = ("id", "site__name")
    sortable_by = ("queued_at",)
    exclude = ("token", "active_site")
    readonly_fields = ("log",)
    inlines = (StageInline,)
    actions = ("stop", "reset", "try_again")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Job]:
        """Return the visible jobs."""
        user: Any = request.user
        jobs = jobs_visible_to(user).select_related("site", "node", "storage", "requested_by")
        return jobs.defer("site__db_password", "storage__secrets")

    @admin.display(description="log")
    def log(self, job: Job) -> str:
        address = reverse("admin:backups_jobevent_changelist")
        return format_html('<a href="{}?job__id__exact={}">Show the log</a>', address, job.pk)

    @admin.action(description="Stop selected jobs")
    def stop(self, request: HttpRequest, queryset: QuerySet[Job]) -> TemplateResponse | None:
        """Ask, then stop each."""
        if not is_confirmed(request):
            return self._ask(
                request,
                queryset,
                title="Stop jobs",
                explanation="Running stages end, and what they wrote is removed from the node and "
                "from the storage. Stopped jobs can be started again, from the beginning.",
                button="Yes, stop them",
            )
        user: Any = request.user

        def act(job: Job) -> str:
            control.stop_job(job=job, requested_by=user)
            return f"Backup stop requested for {job.site.name}"

        do_each(self, request, queryset, act)
        return None

    @admin.action(description="Reset selected jobs")
    def reset(self, request: HttpRequest, queryset: QuerySet[Job]) -> TemplateResponse | None:
        """Ask, then reset the site of each; a site's own admins may only stop."""
        if not is_confirmed(request):
            return self._ask(
                request,
                queryset,
                title="Reset jobs",
                explanation="For jobs that are stuck: they are given up at once, whatever they are "
                "doing and whether or not their node answers, and their sites can be backed up "
                "again. Processes are killed, and folders and uploads removed, as soon as the "
                "node can do so. To end a job that works, stop it instead.",
                button="Yes, reset them",
            )
        user: Any = request.user

        def act(job: Job) -> str:
            operations.require_newest(job)
            done = control.reset_backup(site=job.site, requested_by=user)
            if done.job_id is None:
                return f"Backup status reset to idle for {job.site.name}; nothing was running"
            return (
                f"Backup status reset to idle for {job.site.name}, {len(done.revoked)} tasks "
                "revoked; what is removed on the node is told in the job's log"
            )

        managed = queryset.filter(site__node__in=nodes_visible_to(user))
        if others := queryset.count() - managed.count():
            words = f"Only an admin of the node may reset: {others} jobs are left as they are."
            self.message_user(request, words, messages.WARNING)
        do_each(self, request, managed, act)
        return None

    @admin.action(description="Try selected jobs again")
    def try_again(self, request: HttpRequest, queryset: QuerySet[Job]) -> None:
        """Begin a new job for each that failed or was stopped."""
        user: Any = request.user

        def act(job: Job) -> str:
            return operations.retry_with_what_is_left(job=job, requested_by=user).message

        do_each(self, request, queryset, act)

    def _ask(
        self,
        request: HttpRequest,
        jobs: QuerySet[Job],
        *,
        title: str,
        explanation: str,
        button: str,
    ) -> TemplateResponse:
        labels = (f"{job.site.name} on {job.node}: {job.state}, job {job.pk}" for job in jobs)
        return confirmation(
            self, request, jobs, title=title, explanation=explanation, button=button, labels=labels
        )


@admin.register(Stage)
class StageAdmin(PartsOfJobsAdmin):
    """See the module."""

    list_display = ("name", "job", "state", "started_at", "finished_at", "bytes_processed")
    search_fields = ("job__id", "job__site__name")
    exclude = ("checkpoint",)
    job_path = "job"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Stage]:
        """Return the stages of the visible jobs."""
        user: Any = request.user
        return stages_visible_to(user).select_related("job")


@admin.register(JobEvent)
class JobEventAdmin(PartsOfJobsAdmin):
    """See the module."""

    list_display = ("created_at", "level", "site", "stage", "message")
    list_filter = ("level",)
    search_fields = ("job__id", "job__site__name")
    job_path = "job"

    def get_queryset(self, request: HttpRequest) -> QuerySet[JobEvent]:
        """Return the log of the visible jobs."""
        user: Any = request.user
        events = events_visible_to(user)
        return events.select_related("job__site").defer("job__site__db_password")

    def site(self, event: JobEvent) -> str:
        return event.job.site.name


@admin.register(Backup)
class BackupAdmin(OfSitesAdmin):
    """See the module."""

    list_display = ("filename", "site", "storage", "status", "size_bytes", "verified_by",
                    "is_suspect", "created_at")  # fmt: skip
    list_filter = ("status", "is_suspect", "storage", ("site__node", VisibleNodes), "created_at")
    search_fields = ("site__name", "job__id")
    sortable_by = ("created_at",)
    job_path = "job"
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

    readers = THOSE_WITH_NODES
    list_display = ("name", "node", "hostname", "process_id", "concurrency", "last_seen_at")
    list_filter = (("node", VisibleNodes),)
    search_fields = ("name", "hostname")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Worker]:
        """Return the workers of the visible nodes."""
        user: Any = request.user
        return Worker.objects.filter(node__in=nodes_visible_to(user)).select_related("node")
