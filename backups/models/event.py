"""What happened, in order, for ever."""

from __future__ import annotations

from django.db import models

from backups.models.job import Job


class EventLevel(models.TextChoices):
    """How much a person should care."""

    INFO = "info", "Info"
    WARNING = "warning", "Warning"
    ERROR = "error", "Error"


class JobEvent(models.Model):
    """One line of a job's log; append-only. Transitions carry the states they joined."""

    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="events")
    epoch = models.PositiveIntegerField()
    stage = models.CharField(max_length=30, blank=True)
    kind = models.CharField(max_length=30)
    level = models.CharField(max_length=10, choices=EventLevel.choices, default=EventLevel.INFO)
    message = models.TextField()
    created_at = models.DateTimeField(db_index=True)

    class Meta:
        ordering = ["id"]
        verbose_name = "log line"
        indexes = [models.Index(fields=["level"])]

    def __str__(self) -> str:
        return self.message
