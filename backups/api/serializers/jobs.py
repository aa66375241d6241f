"""Jobs, their status and their log on the wire."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema_serializer
from rest_framework import serializers

from backups.actions.restores import plan_of
from backups.models import Backup, Job, JobEvent
from backups.queries import job_status
from backups.registry import STAGE_NAMES
from backups.states import OUTSIDE, JobKind, JobState, StageState

STATUSES = sorted(set(OUTSIDE.values()))


class StageBody(serializers.Serializer[Any]):
    """One step of a job."""

    name = serializers.ChoiceField(choices=STAGE_NAMES)
    status = serializers.ChoiceField(choices=[state.value for state in StageState])
    started_at = serializers.DateTimeField(allow_null=True)
    finished_at = serializers.DateTimeField(allow_null=True)
    bytes_processed = serializers.IntegerField()
    bytes_total = serializers.IntegerField()
    detail = serializers.CharField(allow_null=True)


@extend_schema_serializer(component_name="BackupStatus")
class StatusBody(serializers.Serializer[Any]):
    """How the newest job of a site stands. `bytes_*` are those of the current stage."""

    kind = serializers.ChoiceField(choices=[kind.value for kind in JobKind])
    site_id = serializers.IntegerField()
    site_name = serializers.CharField()
    status = serializers.ChoiceField(choices=STATUSES)
    progress = serializers.IntegerField(min_value=0, max_value=100)
    message = serializers.CharField()
    stage = serializers.ChoiceField(choices=STAGE_NAMES, allow_null=True)
    stage_detail = serializers.CharField(allow_null=True)
    bytes_processed = serializers.IntegerField()
    bytes_total = serializers.IntegerField(help_text="0 while unknown.")
    error = serializers.CharField(allow_null=True)
    started_at = serializers.DateTimeField(allow_null=True)
    job_id = serializers.CharField(allow_null=True)
    finished_at = serializers.DateTimeField(allow_null=True)
    eta_seconds = serializers.IntegerField(allow_null=True)
    node = serializers.CharField()
    worker = serializers.CharField(allow_null=True)
    stopping = serializers.BooleanField(
        help_text="Whether a stop was asked for, and what was written is being removed."
    )
    stages = StageBody(many=True)


class StartedBody(serializers.Serializer[Any]):
    """A backup has been recorded and will run."""

    success = serializers.BooleanField()
    message = serializers.CharField()
    status = serializers.CharField()
    site_id = serializers.IntegerField()
    job_id = serializers.UUIDField()


class StoppedBody(StartedBody):
    """A stop has been asked for; `status` is what the job will read once its work is removed."""


class RetriedBody(StartedBody):
    """A new job goes on with the work of an earlier one."""

    retry_of = serializers.UUIDField()
    resumed_from = serializers.CharField(
        allow_null=True, help_text="The stage that it goes on from; null is the beginning."
    )


class CleanupBody(serializers.Serializer[Any]):
    """What a reset removed from the node and from the storage."""

    done = serializers.BooleanField(help_text="False while the node has not cleaned up.")
    dirs_removed = serializers.IntegerField()
    space_freed_mb = serializers.FloatField()
    processes_killed = serializers.IntegerField()
    uploads_aborted = serializers.IntegerField()
    objects_deleted = serializers.IntegerField()
    note = serializers.CharField(
        allow_null=True, help_text="What is still to be removed, and when."
    )


class ResetBody(serializers.Serializer[Any]):
    """The site can be backed up again; nothing of the old job can change anything any more."""

    success = serializers.BooleanField()
    message = serializers.CharField()
    status = serializers.CharField()
    site_id = serializers.IntegerField()
    job_id = serializers.UUIDField(allow_null=True, help_text="Null if nothing was to be reset.")
    revoked = serializers.ListField(child=serializers.CharField(), help_text="Ids of tasks.")
    cleanup = CleanupBody()


class JobSerializer(serializers.ModelSerializer[Job]):
    """A job: the status object, and what only a job knows."""

    status = serializers.SerializerMethodField()
    site_id = serializers.IntegerField(read_only=True)
    site_name = serializers.CharField(source="site.name", read_only=True)
    node_id = serializers.IntegerField(read_only=True)
    node = serializers.CharField(source="node.name", read_only=True)
    storage_id = serializers.IntegerField(read_only=True)
    retry_of = serializers.PrimaryKeyRelatedField[Job](read_only=True, allow_null=True)
    requested_by = serializers.SerializerMethodField()
    backup_id = serializers.SerializerMethodField()
    source_backup_id = serializers.PrimaryKeyRelatedField[Backup](
        source="source", read_only=True, allow_null=True
    )
    checkpoint_job_id = serializers.PrimaryKeyRelatedField[Job](
        source="waits_for", read_only=True, allow_null=True
    )
    plan = serializers.SerializerMethodField()
    bytes_fetched = serializers.SerializerMethodField(
        help_text="What a restore or a proof has fetched of its bundle so far."
    )

    class Meta:
        model = Job
        fields = [
            "id",
            "kind",
            "site_id",
            "site_name",
            "node_id",
            "node",
            "storage_id",
            "status",
            "state",
            "trigger",
            "requested_by",
            "priority",
            "epoch",
            "attempts",
            "warnings",
            "error_code",
            "error_message",
            "error_hint",
            "retry_of",
            "cleanup_pending",
            "queued_at",
            "started_at",
            "finished_at",
            "backup_id",
            "source_backup_id",
            "checkpoint_job_id",
            "parameters",
            "plan",
            "bytes_fetched",
        ]
        read_only_fields = fields

    def get_status(self, job: Job) -> str:
        """Return the job's state in the contract's words."""
        return OUTSIDE[JobState(job.state)]

    def get_requested_by(self, job: Job) -> str | None:
        """Return the e-mail address of who asked for it."""
        return str(job.requested_by) if job.requested_by else None

    def get_backup_id(self, job: Job) -> int | None:
        """Return the backup that the job made."""
        backup = getattr(job, "backup", None)
        return backup.pk if backup else None

    def get_plan(self, job: Job) -> dict[str, Any] | None:
        """Return what a dry run of a restore found."""
        return plan_of({stage.name: stage.outputs for stage in job.stages.all()})

    def get_bytes_fetched(self, job: Job) -> int | None:
        """Return the sum over the job's stages; None for a job that fetches nothing."""
        fetched = [stage.outputs["fetched"] for stage in job.stages.all()
                   if "fetched" in stage.outputs]  # fmt: skip
        return sum(fetched) if fetched else None

    def to_representation(self, job: Job) -> dict[str, Any]:
        """Add the status object's fields; the job's own come first."""
        own = super().to_representation(job)
        status = StatusBody(job_status(job.site, job)).data
        return {**status, **own, "job_id": str(job.pk)}


class LogLine(serializers.ModelSerializer[JobEvent]):
    """One line of a job's log."""

    class Meta:
        model = JobEvent
        fields = ["id", "created_at", "level", "kind", "stage", "epoch", "message"]
        read_only_fields = fields


class LogBody(serializers.Serializer[Any]):
    """The log of one job, oldest line first."""

    job_id = serializers.UUIDField(allow_null=True)
    logs = LogLine(many=True)
    total = serializers.IntegerField()


class HealthBody(serializers.Serializer[Any]):
    """Whether backups can run."""

    status = serializers.CharField()
    running_backups = serializers.IntegerField()
    timestamp = serializers.DateTimeField()
