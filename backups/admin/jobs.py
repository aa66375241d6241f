"""Jobs: to read, to stop, to reset and to try again."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.template.response import TemplateResponse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import Truncator

from backups.actions import control, operations
from backups.admin.asking import confirmation, do_each, is_confirmed
from backups.admin.base import ReadOnlyInline, VisibleNodes
from backups.admin.long_lists import OfSitesAdmin, Triggers
from backups.admin.shown import NOTHING, badge, duration, list_link, row_link, size
from backups.models import Job, Stage
from backups.queries import jobs_visible_to, nodes_visible_to

# What only those look for who find out why a job does what it does.
INSIDE = ("id", "stages_done", "attempts", "epoch", "worker", "process_id", "priority",
          "claim_deadline", "lease_expires_at", "not_before", "last_byte_at", "stop_requested_at",
          "reset_at", "expected_bytes_shown", "work_id", "work_kept_until", "cleanup_pending",
          "cleanup_report")  # fmt: skip


class StageInline(ReadOnlyInline):
    """The steps of a job."""

    model = Stage
    fields = ("name", "state_shown", "started_at", "took", "processed", "detail")
    readonly_fields = fields

    @admin.display(description="state")
    def state_shown(self, stage: Stage) -> SafeString:
        return badge(stage.state)

    @admin.display(description="took")
    def took(self, stage: Stage) -> str:
        return duration(stage.started_at, stage.finished_at)

    @admin.display(description="processed")
    def processed(self, stage: Stage) -> str:
        if not stage.bytes_total:
            return size(stage.bytes_processed) if stage.bytes_processed else NOTHING
        return f"{size(stage.bytes_processed)} of {size(stage.bytes_total)}"


@admin.register(Job)
class JobAdmin(OfSitesAdmin):
    """See the module."""

    list_display = ("queued_at", "state_shown", "site_link", "reason", "took", "progress_shown",
                    "node_link", "trigger")  # fmt: skip
    list_filter = ("state", "kind", ("node", VisibleNodes), Triggers, "queued_at")
    search_fields = ("id", "site__name")
    sortable_by = ("queued_at",)
    fieldsets = (
        (None, {"fields": ("site_link", "state_shown", "progress_shown", "failure", "warned",
                           "backup_made", "log")}),
        ("Run", {"fields": ("kind", "node_name", "storage_name", "trigger", "by", "retried",
                            "queued_at", "started_at", "finished_at", "took")}),
        ("Inside", {"classes": ("collapse",), "fields": INSIDE}),
    )  # fmt: skip
    inlines = (StageInline,)
    actions = ("stop", "reset", "try_again")
    first_steps = ("No backup has run yet. Select sites in their list and back them up.",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Job]:
        """Return the visible jobs."""
        user: Any = request.user
        jobs = jobs_visible_to(user).select_related("site", "node", "storage", "requested_by")
        return jobs.defer("site__db_password", "storage__secrets")

    @admin.display(description="state")
    def state_shown(self, job: Job) -> SafeString:
        return badge(job.state)

    @admin.display(description="site")
    def site_link(self, job: Job) -> str:
        return row_link("site", job.site_id, job.site.name)

    @admin.display(description="node")
    def node_link(self, job: Job) -> str:
        # Who sees the site sees its node's page, but not that of any other which proves its backup.
        if job.node_id != job.site.node_id:
            return job.node.name
        return row_link("node", job.node_id, job.node.name)

    @admin.display(description="node")
    def node_name(self, job: Job) -> str:
        return str(job.node)

    @admin.display(description="storage")
    def storage_name(self, job: Job) -> str:
        return str(job.storage)

    @admin.display(description="progress")
    def progress_shown(self, job: Job) -> str:
        return f"{job.progress} %"

    @admin.display(description="took")
    def took(self, job: Job) -> str:
        return duration(job.started_at, job.finished_at)

    @admin.display(description="reason")
    def reason(self, job: Job) -> str:
        return Truncator(job.error_message).chars(90)

    @admin.display(description="error")
    def failure(self, job: Job) -> SafeString | str:
        if not job.error_message:
            return NOTHING
        words = format_html("<strong>{}</strong>", job.error_message)
        hint = format_html('<br><span class="hint">{}</span>', job.error_hint)
        return format_html("{}{}", words, hint if job.error_hint else "")

    @admin.display(description="warnings")
    def warned(self, job: Job) -> str:
        return "; ".join(str(warning) for warning in job.warnings) or NOTHING

    @admin.display(description="backup")
    def backup_made(self, job: Job) -> str:
        backup = getattr(job, "backup", None)
        return row_link("backup", backup.pk, backup) if backup else NOTHING

    @admin.display(description="requested by")
    def by(self, job: Job) -> str:
        return str(job.requested_by or NOTHING)

    @admin.display(description="retry of")
    def retried(self, job: Job) -> str:
        return row_link("job", job.retry_of_id, job.retry_of_id)

    @admin.display(description="expected size")
    def expected_bytes_shown(self, job: Job) -> str:
        return size(job.expected_bytes)

    @admin.display(description="log")
    def log(self, job: Job) -> SafeString:
        lines = list_link("jobevent", f"job__id__exact={job.pk}", "Show the log")
        others = list_link("job", f"q={job.site.name}", "All jobs of this site")
        return format_html("{} · {}", lines, others)

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
