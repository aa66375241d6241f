"""What happened: the stages and the log of jobs, and the workers that ran them. To read only."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.safestring import SafeString

from backups.admin.base import THOSE_WITH_NODES, ReadOnlyAdmin, VisibleNodes
from backups.admin.long_lists import PartsOfJobsAdmin
from backups.admin.shown import badge, duration, row_link, size
from backups.models import JobEvent, Stage, Worker
from backups.queries import events_visible_to, nodes_visible_to, stages_visible_to, worker_silence


@admin.register(Stage)
class StageAdmin(PartsOfJobsAdmin):
    """See the module."""

    list_display = ("name", "site", "job_link", "state_shown", "started_at", "took", "processed")
    list_filter = ("state", "name")
    search_fields = ("job__id", "job__site__name")
    fields = ("job_link", "name", "state_shown", "detail", "started_at", "finished_at", "took",
              "processed", "task_id", "outputs")  # fmt: skip
    job_path = "job"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Stage]:
        """Return the stages of the visible jobs."""
        user: Any = request.user
        stages = stages_visible_to(user)
        return stages.select_related("job__site").defer("job__site__db_password")

    def site(self, stage: Stage) -> str:
        return stage.job.site.name

    @admin.display(description="job")
    def job_link(self, stage: Stage) -> str:
        return row_link("job", stage.job_id, stage.job_id)

    @admin.display(description="state")
    def state_shown(self, stage: Stage) -> SafeString:
        return badge(stage.state)

    @admin.display(description="took")
    def took(self, stage: Stage) -> str:
        return duration(stage.started_at, stage.finished_at)

    @admin.display(description="processed")
    def processed(self, stage: Stage) -> str:
        return size(stage.bytes_processed)


@admin.register(JobEvent)
class JobEventAdmin(PartsOfJobsAdmin):
    """See the module."""

    list_display = ("created_at", "level_shown", "site", "job_link", "stage", "message")
    fields = ("created_at", "level_shown", "job_link", "stage", "kind", "message", "epoch")
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

    @admin.display(description="level")
    def level_shown(self, event: JobEvent) -> SafeString:
        return badge(event.level)

    @admin.display(description="job")
    def job_link(self, event: JobEvent) -> str:
        return row_link("job", event.job_id, str(event.job_id)[:8])


@admin.register(Worker)
class WorkerAdmin(ReadOnlyAdmin):
    """See the module."""

    readers = THOSE_WITH_NODES
    list_display = ("name", "node_link", "state_shown", "hostname", "process_id", "concurrency",
                    "last_seen_at")  # fmt: skip
    first_steps = ("No worker has come yet. Start one on each host of the cluster:",)
    first_commands = ("manage.py worker --node web-01",)
    list_filter = (("node", VisibleNodes),)
    search_fields = ("name", "hostname")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Worker]:
        """Return the workers of the visible nodes."""
        user: Any = request.user
        return Worker.objects.filter(node__in=nodes_visible_to(user)).select_related("node")

    @admin.display(description="state")
    def state_shown(self, worker: Worker) -> SafeString:
        if worker.last_seen_at < timezone.now() - worker_silence():
            return badge("silent", "failed")
        return badge("leaving", "warning") if worker.is_leaving else badge("alive", "completed")

    @admin.display(description="node")
    def node_link(self, worker: Worker) -> str:
        return row_link("node", worker.node_id, worker.node.name)
