"""What people have to do: one row for one person."""

from __future__ import annotations

from django.conf import settings
from django.db import models

from backups.models.job import Job
from backups.models.site import Site

TITLE_LENGTH = 200
DESCRIPTION_LENGTH = 2000


class FollowUpTask(models.Model):
    """A line of a person's to-do list; one that a failed backup opened, or one of their own.

    `failed_job` is the job whose failure opened it: unique with the person, and NULL in tasks that
    a person made (MySQL has no conditional unique constraint). It refers to nothing, so that the
    task stays what it is when the job is gone.
    """

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="follow_up_tasks"
    )
    title = models.CharField(max_length=TITLE_LENGTH)
    description = models.CharField(max_length=DESCRIPTION_LENGTH, blank=True)
    completed_at = models.DateTimeField(null=True, blank=True)
    due_at = models.DateTimeField(null=True, blank=True)
    job = models.ForeignKey(
        Job, null=True, blank=True, on_delete=models.SET_NULL, related_name="follow_up_tasks"
    )
    site = models.ForeignKey(
        Site, null=True, blank=True, on_delete=models.SET_NULL, related_name="follow_up_tasks"
    )
    failed_job = models.UUIDField(null=True, blank=True, editable=False)
    created_at = models.DateTimeField()
    updated_at = models.DateTimeField()

    class Meta:
        ordering = ["-created_at", "-id"]
        verbose_name = "follow-up task"
        constraints = [
            models.UniqueConstraint(fields=["user", "failed_job"], name="one_task_per_failed_job")
        ]

    def __str__(self) -> str:
        return self.title

    @property
    def is_completed(self) -> bool:
        """Whether it is done."""
        return self.completed_at is not None

    @property
    def is_automatic(self) -> bool:
        """Whether a failed backup opened it."""
        return self.failed_job is not None
