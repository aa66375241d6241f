"""Questions to nodes that the coordinator has asked and does not stand still for."""

from __future__ import annotations

from django.db import models

from backups.models.node import Node
from backups.models.site import Site


class ErrandKind(models.TextChoices):
    """What a node was asked to see to."""

    PRUNE = "prune", "Remove old backups"
    CHECK = "check", "Look whether stored backups are as recorded"


class Errand(models.Model):
    """One row for each thing that is seen to again and again, by its `key`; one question at a time.

    While `task_id` is set, the node's answer is awaited, and `backups` are what it is about. The
    row also says how it went: after failures it waits until `not_before`, longer each time.
    """

    key = models.CharField(max_length=60, unique=True)
    kind = models.CharField(max_length=10, choices=ErrandKind.choices)
    site = models.ForeignKey(
        Site, null=True, blank=True, on_delete=models.CASCADE, related_name="errands"
    )
    node = models.ForeignKey(Node, on_delete=models.CASCADE, related_name="errands")
    task_id = models.UUIDField(null=True, blank=True)
    asked_at = models.DateTimeField(null=True, blank=True)
    backups = models.JSONField(default=list, blank=True)
    not_before = models.DateTimeField(null=True, blank=True)
    failures = models.PositiveSmallIntegerField(default=0)
    error = models.TextField(blank=True)
    done_at = models.DateTimeField(null=True, blank=True)
    done_count = models.PositiveIntegerField(default=0)

    class Meta:
        ordering = ["key"]
        indexes = [models.Index(fields=["task_id"])]

    def __str__(self) -> str:
        return self.key
