"""Executions. Nobody writes to these rows but `backups.actions`."""

from __future__ import annotations

import uuid

from django.conf import settings
from django.db import models

from backups.models.node import Node
from backups.models.site import Site
from backups.models.storage import Storage
from backups.registry import job_kind_choices
from backups.states import ACTIVE, JobState, StageState


class Job(models.Model):
    """One execution of a pipeline for a site.

    `epoch` counts the times that the job was given out anew; `token` names the one attempt that
    may write now; `lease_expires_at` is when that attempt is taken for lost. `active_site` is the
    site while the job is active and NULL afterwards: unique, so one site has one active job. Jobs
    that leave the site alone hold none: a checkpoint, whose restore holds it; a dry run; a proof,
    which holds its backup as `active_proof` instead, so that each is proven once at a time.

    `cleanup_pending` says that the node still holds something of a job that ended (a process, a
    folder, an unfinished upload): its agent removes that, whenever it is back, and leaves in
    `cleanup_report` what it found. A failed job's work is kept until `work_kept_until`; a retry
    takes it over by using the same folder, `work_id`.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    kind = models.CharField(max_length=20, choices=job_kind_choices, default="backup")
    site = models.ForeignKey(Site, on_delete=models.CASCADE, related_name="jobs")
    active_site = models.OneToOneField(
        Site, null=True, blank=True, on_delete=models.PROTECT, related_name="active_job"
    )
    node = models.ForeignKey(Node, on_delete=models.PROTECT, related_name="jobs")
    storage = models.ForeignKey(Storage, on_delete=models.PROTECT, related_name="jobs")
    state = models.CharField(
        max_length=12,
        choices=[(state.value, state.value) for state in JobState],
        default=JobState.QUEUED.value,
    )
    epoch = models.PositiveIntegerField(default=1)
    token = models.UUIDField(null=True, blank=True)
    worker = models.CharField(max_length=255, blank=True)
    process_id = models.PositiveIntegerField(
        null=True, blank=True, help_text="Of the attempt, as the worker's host counts."
    )
    lease_expires_at = models.DateTimeField(null=True, blank=True, db_index=True)
    claim_deadline = models.DateTimeField(null=True, blank=True, db_index=True)
    not_before = models.DateTimeField(null=True, blank=True)
    stop_requested_at = models.DateTimeField(null=True, blank=True)
    priority = models.SmallIntegerField(default=0)
    stages_done = models.PositiveSmallIntegerField(default=0)
    attempts = models.PositiveSmallIntegerField(default=0, help_text="Failed attempts at a stage.")
    progress = models.PositiveSmallIntegerField(default=0)
    last_byte_at = models.DateTimeField(null=True, blank=True)
    warnings = models.JSONField(default=list, blank=True)
    error_code = models.CharField(max_length=50, blank=True)
    error_message = models.TextField(blank=True)
    error_hint = models.TextField(blank=True)
    work_id = models.UUIDField(
        null=True, blank=True, help_text="Names the folder in the spool; empty is the job's id."
    )
    work_kept_until = models.DateTimeField(null=True, blank=True)
    expected_bytes = models.PositiveBigIntegerField(
        default=0, help_text="What it may need in the spool, for the room that others have."
    )
    cleanup_pending = models.BooleanField(default=False, db_index=True)
    cleanup_report = models.JSONField(default=dict, blank=True)
    retry_of = models.ForeignKey(
        "self", null=True, blank=True, on_delete=models.SET_NULL, related_name="retries"
    )
    parameters = models.JSONField(
        default=dict, blank=True, help_text="What was asked for, of a restore."
    )
    source = models.ForeignKey(
        "backups.Backup",
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="uses",
        help_text="The backup that is restored or verified.",
    )
    active_proof = models.OneToOneField(
        "backups.Backup", null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    waits_for = models.ForeignKey(
        "self",
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="waiting",
        help_text="The checkpoint that must be there before this begins.",
    )
    trigger = models.CharField(max_length=20, default="manual")
    requested_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    queued_at = models.DateTimeField(db_index=True)
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    reset_at = models.DateTimeField(
        null=True, blank=True, help_text="Since then the site reads idle, however the job ended."
    )

    class Meta:
        ordering = ["-queued_at"]
        # What lists filter by, then their order, which a database reads backwards as well. The
        # columns behind are for other filters: without them each row would be read to be counted.
        indexes = [
            models.Index(fields=["site", "queued_at", "state", "kind", "reset_at"]),
            models.Index(fields=["node", "state", "queued_at"]),
            # With the times, since the dashboard sums months of jobs up.
            models.Index(fields=["state", "queued_at", "id", "kind", "started_at", "finished_at"]),
            models.Index(fields=["kind", "queued_at"]),
            models.Index(fields=["trigger", "queued_at"]),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.id}"

    @property
    def is_active(self) -> bool:
        """Whether the job may still change by itself."""
        return self.state in ACTIVE

    @property
    def folder_name(self) -> str:
        """The folder of this job's work below the node's spool."""
        return str(self.work_id or self.pk)


class Stage(models.Model):
    """One step of a job: one Celery task, whose id is chosen before it is sent.

    `outputs` is what later stages need; `checkpoint` what a later attempt at this stage needs to
    go on instead of beginning again.
    """

    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="stages")
    name = models.CharField(max_length=30)
    position = models.PositiveSmallIntegerField()
    state = models.CharField(
        max_length=12,
        choices=[(state.value, state.value) for state in StageState],
        default=StageState.PENDING.value,
    )
    task_id = models.UUIDField(default=uuid.uuid4)
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    bytes_processed = models.BigIntegerField(default=0)
    bytes_total = models.BigIntegerField(default=0)
    detail = models.TextField(blank=True)
    outputs = models.JSONField(default=dict, blank=True)
    checkpoint = models.JSONField(default=dict, blank=True)

    class Meta:
        ordering = ["job", "position"]
        constraints = [
            models.UniqueConstraint(fields=["job", "position"], name="one_stage_per_position")
        ]

    def __str__(self) -> str:
        return f"{self.position + 1} {self.name}"
