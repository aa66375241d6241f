"""Receipts: that a bundle was restored for trial, and what came of it."""

from __future__ import annotations

from django.db import models

from backups.models.backup import Backup
from backups.models.job import Job
from backups.models.node import Node
from backups.models.site import Site


class ProofOutcome(models.TextChoices):
    """How a proof ended that could be done at all."""

    PASSED = "passed", "Passed"
    FAILED = "failed", "Failed"


class Proof(models.Model):
    """One trial restore of a backup: every fact compared with what was recorded when it was made.

    `seconds` is what fetching, checking and restoring took together; `differences` are sentences,
    none if it passed; `facts` what was counted.
    """

    backup = models.ForeignKey(Backup, on_delete=models.CASCADE, related_name="proofs")
    site = models.ForeignKey(Site, on_delete=models.CASCADE, related_name="proofs")
    job = models.OneToOneField(
        Job, null=True, blank=True, on_delete=models.SET_NULL, related_name="proof"
    )
    node = models.ForeignKey(Node, on_delete=models.PROTECT, related_name="proofs")
    outcome = models.CharField(max_length=10, choices=ProofOutcome.choices)
    seconds = models.FloatField(null=True, blank=True)
    bytes_restored = models.BigIntegerField(default=0)
    differences = models.JSONField(default=list, blank=True)
    facts = models.JSONField(default=dict, blank=True)
    created_at = models.DateTimeField(db_index=True)

    class Meta:
        ordering = ["-created_at", "-id"]
        indexes = [models.Index(fields=["site", "outcome", "created_at"])]

    def __str__(self) -> str:
        return f"{self.outcome} proof of {self.backup}"
