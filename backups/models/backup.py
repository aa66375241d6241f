"""Stored bundles."""

from __future__ import annotations

from django.conf import settings
from django.db import models

from backups.models.job import Job
from backups.models.site import Site
from backups.models.storage import Storage


class BackupStatus(models.TextChoices):
    """As the wire contract spells them."""

    SUCCESS = "SUCCESS", "Success"
    FAILED = "FAILED", "Failed"
    IN_PROGRESS = "IN_PROGRESS", "In progress"


class Backup(models.Model):
    """What a job left behind: SUCCESS with a bundle, or FAILED without one.

    Made by the job's last conditional update only, so a row says what is really there; or, where
    the row was lost, of what the bundle itself says. From
    `removing_since` on its object may be gone at any moment: nothing may begin to use it.
    `proven_at` is when a trial restore last found it whole; `checked_at` when its object was last
    looked at, and `check_problem` what was found amiss then.
    """

    site = models.ForeignKey(Site, on_delete=models.PROTECT, related_name="backups")
    job = models.OneToOneField(
        Job, null=True, blank=True, on_delete=models.SET_NULL, related_name="backup"
    )
    storage = models.ForeignKey(Storage, on_delete=models.PROTECT, related_name="backups")
    status = models.CharField(max_length=12, choices=BackupStatus.choices)
    backup_type = models.CharField(max_length=12, default="full")
    object_key = models.CharField(max_length=500, blank=True)
    size_bytes = models.BigIntegerField(default=0)
    sha256 = models.CharField(max_length=64, blank=True)
    verified_by = models.CharField(max_length=20, blank=True)
    verified_at = models.DateTimeField(null=True, blank=True)
    is_suspect = models.BooleanField(
        default=False, help_text="Holds much less than the backup before it."
    )
    encrypted_to = models.JSONField(
        default=list, blank=True, help_text="Whose keys open it, as age1…; empty for a plain one."
    )
    facts = models.JSONField(default=dict, blank=True)
    proven_at = models.DateTimeField(null=True, blank=True)
    pinned_at = models.DateTimeField(null=True, blank=True)
    pinned_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    pin_note = models.CharField(max_length=200, blank=True)
    removing_since = models.DateTimeField(null=True, blank=True, db_index=True)
    locked_until = models.DateTimeField(
        null=True, blank=True, help_text="Until then the storage lets nobody delete the object."
    )
    checked_at = models.DateTimeField(null=True, blank=True)
    check_problem = models.CharField(max_length=300, blank=True)
    created_at = models.DateTimeField(db_index=True)

    class Meta:
        ordering = ["-created_at", "-id"]
        indexes = [
            models.Index(fields=["site", "-created_at"]),
            models.Index(fields=["status", "created_at", "size_bytes"]),
            models.Index(fields=["is_suspect", "created_at"]),
            models.Index(fields=["status", "checked_at"]),
            # Sums are made in these alone: of all sites, and of some.
            models.Index(fields=["status", "storage", "size_bytes"]),
            models.Index(fields=["site", "status", "storage", "size_bytes"]),
        ]

    def __str__(self) -> str:
        return self.filename or f"failed backup {self.pk}"

    @property
    def manifest_sha256(self) -> str:
        """What tells the bundle's parts from another one's; empty where it was not noted."""
        return str(self.facts.get("manifest_sha256", ""))

    @property
    def filename(self) -> str:
        """The last part of the object's key."""
        return self.object_key.rpartition("/")[2]
