"""Hosts and the worker processes on them."""

from __future__ import annotations

import uuid
from pathlib import PurePosixPath

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models

from backups.models.pausing import Pausable
from backups.models.rules import RetentionRules
from backups.schedule import validate_blackouts, validate_zone

# Each slot is a process of its own; a number beyond this is a slip of the hand.
MAX_SLOTS = 64
MAX_WINDOW_MINUTES = 24 * 60


def validate_roots(roots: object) -> None:
    """Accept a list of absolute folders; the node resolves them, since only it can see them."""
    if not isinstance(roots, list) or not all(
        isinstance(root, str) and PurePosixPath(root).is_absolute() for root in roots
    ):
        raise ValidationError('Allowed roots are a list of absolute folders, as ["/var/www"].')


# Among the versions that a worker tells: whose bundles it can decrypt.
OPENS = "age_recipients"
# … and for which engines its host has servers to load backups into for trial.
TRIES = "scratch_engines"


class InputOutputClass(models.TextChoices):
    """How much of the disks' time stages get while others want it too (ionice(1))."""

    NORMAL = "normal", "As any other program"
    LOW = "low", "Less than other programs"
    IDLE = "idle", "Only what nobody else wants"


class Node(RetentionRules, Pausable):
    """A host with sites on it; its workers consume the queue `node.<uuid>`.

    `held_by` is the identity of the host that works as this node: its spool and its boot. Workers
    with another identity are refused while that one lives. `is_draining` lets running stages end
    and nothing new begin; a node that is not enabled is out of the cluster. While it is paused, or
    in a blackout, no backup starts by itself; whoever starts one by hand gets it.
    """

    uuid = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    name = models.SlugField(max_length=100, unique=True, help_text="As given to `worker --node`.")
    label = models.CharField(max_length=200, blank=True)
    hostname = models.CharField(max_length=255, blank=True)
    ip_address = models.GenericIPAddressField(null=True, blank=True)
    is_enabled = models.BooleanField(default=True)
    slots = models.PositiveSmallIntegerField(
        default=2,
        validators=[MinValueValidator(1), MaxValueValidator(MAX_SLOTS)],
        help_text="How many stages run at once.",
    )
    is_draining = models.BooleanField(
        default=False, help_text="Running stages end, no new one begins."
    )
    nice = models.PositiveSmallIntegerField(
        default=10,
        validators=[MaxValueValidator(19)],
        help_text="0 competes with other programs for the CPU as an equal, 19 gives way to all.",
    )
    io_class = models.CharField(
        max_length=10, choices=InputOutputClass.choices, default=InputOutputClass.LOW
    )
    upload_bytes_per_second = models.PositiveBigIntegerField(
        null=True,
        blank=True,
        validators=[MinValueValidator(1024)],
        help_text="Of all uploads of this host together; empty is without a limit.",
    )
    allowed_roots = models.JSONField(
        default=list, blank=True, validators=[validate_roots], help_text="Sites lie below these."
    )
    storage_quota_gb = models.FloatField(null=True, blank=True, help_text="GiB")
    time_zone = models.CharField(
        max_length=64,
        default="UTC",
        validators=[validate_zone],
        help_text="On whose clocks the blackouts are read, as Europe/Berlin.",
    )
    blackouts = models.JSONField(
        default=list,
        blank=True,
        validators=[validate_blackouts],
        help_text="When no backup starts by itself, as "
        '[{"days": [0, 1, 2, 3, 4], "start": "08:00", "end": "18:00"}]; 0 is Monday.',
    )
    schedule_window_minutes = models.PositiveSmallIntegerField(
        null=True,
        blank=True,
        validators=[MaxValueValidator(MAX_WINDOW_MINUTES)],
        help_text="Over how many minutes sites with the same time are spread; empty takes the "
        "installation's.",
    )
    admins = models.ManyToManyField(
        settings.AUTH_USER_MODEL, blank=True, related_name="assigned_nodes"
    )
    last_seen_at = models.DateTimeField(null=True, blank=True, editable=False)
    cpu_percent = models.FloatField(null=True, blank=True, editable=False)
    memory_percent = models.FloatField(null=True, blank=True, editable=False)
    disk_percent = models.FloatField(null=True, blank=True, editable=False)
    disk_free_bytes = models.PositiveBigIntegerField(null=True, blank=True, editable=False)
    load_average = models.FloatField(
        null=True, blank=True, editable=False, help_text="Of the last minute."
    )
    held_by = models.CharField(max_length=100, blank=True, editable=False)
    credential_hash = models.CharField(max_length=64, blank=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.label or self.name

    @property
    def queue(self) -> str:
        """The Celery queue that only this host's workers consume."""
        return f"node.{self.uuid}"


class Worker(models.Model):
    """One running worker process group on a node.

    `identity` is that of its host, as in `Node.held_by`; `concurrency` the size of its pool now.
    A worker that `is_leaving` ends what it runs and takes nothing new.
    """

    node = models.ForeignKey(Node, on_delete=models.CASCADE, related_name="workers")
    name = models.CharField(max_length=255, unique=True)
    hostname = models.CharField(max_length=255)
    process_id = models.PositiveIntegerField()
    concurrency = models.PositiveSmallIntegerField(default=0)
    identity = models.CharField(max_length=100, blank=True)
    is_leaving = models.BooleanField(default=False)
    started_at = models.DateTimeField()
    last_seen_at = models.DateTimeField(db_index=True)
    versions = models.JSONField(default=dict, blank=True)

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name

    @property
    def recipients(self) -> list[str]:
        """The public keys whose bundles the worker can decrypt, as it told beside its versions."""
        return self._told(OPENS)

    @property
    def scratch_engines(self) -> list[str]:
        """The database engines whose dumps the worker can load without the site's own server."""
        return self._told(TRIES)

    def _told(self, name: str) -> list[str]:
        return [word for word in str(self.versions.get(name, "")).split(",") if word]


class EnrolmentToken(models.Model):
    """The right to join one host to the cluster as a node, once and for a while.

    Only the token's SHA-256 is kept: what is random and long needs no slow hash.
    """

    node = models.ForeignKey(Node, on_delete=models.CASCADE, related_name="enrolment_tokens")
    token_hash = models.CharField(max_length=64, unique=True)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    used_at = models.DateTimeField(null=True, blank=True)
    used_from = models.GenericIPAddressField(null=True, blank=True)

    class Meta:
        ordering = ["-created_at"]

    def __str__(self) -> str:
        return f"token {self.pk} for {self.node}"
