"""What is backed up."""

from __future__ import annotations

import uuid
from pathlib import PurePosixPath

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, RegexValidator
from django.db import models

from backups.fields import EncryptedJSONField
from backups.models.node import MAX_WINDOW_MINUTES, Node
from backups.models.pausing import Pausable
from backups.models.rules import RetentionRules
from backups.models.storage import Storage
from backups.registry import database_engine_choices
from backups.schedule import ScheduleFrequency, validate_zone

RECORDED_SCHEDULE = ("schedule_frequency", "schedule_time", "schedule_days", "schedule_cron",
                     "schedule_window_minutes")  # fmt: skip
RECORDED_RULES = ("retention_copies", "retention_daily", "retention_weekly", "retention_monthly",
                  "retention_yearly")  # fmt: skip
# What bundles hold of their site beside its UUID and name, so that `catalogue rebuild` can make
# the row again. No credentials: a bundle may lie where others read it.
RECORDED_FIELDS = (
    "url",
    "wp_path",
    "wp_config_path",
    "db_engine",
    "db_name",
    "db_host",
    "db_port",
    "excludes",
    "time_zone",
    *RECORDED_SCHEDULE,
    *RECORDED_RULES,
)


def validate_absolute_path(path: str) -> None:
    """Accept an absolute path without `..`; whether it may be read, the node decides."""
    parts = PurePosixPath(path)
    if not parts.is_absolute() or ".." in parts.parts or "\0" in path:
        raise ValidationError("Give an absolute path without “..”, as /var/www/example.com.")


def validate_patterns(patterns: object) -> None:
    """Accept a list of texts; the node compiles them."""
    if not isinstance(patterns, list) or not all(isinstance(item, str) for item in patterns):
        raise ValidationError('Excludes are a list of patterns, as ["wp-content/cache/"].')


class Site(RetentionRules, Pausable):
    """A directory tree and a database on one node.

    An empty `db_engine` means: read wp-config.php on the node at each backup.
    """

    uuid = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    name = models.CharField(
        max_length=190,
        validators=[
            RegexValidator(
                r"^[A-Za-z0-9][A-Za-z0-9._-]*\Z",
                "Use letters, digits, dots, hyphens and underscores, as in example.com.",
            )
        ],
    )
    url = models.URLField(max_length=500, blank=True)
    node = models.ForeignKey(Node, on_delete=models.PROTECT, related_name="sites")
    wp_path = models.CharField(max_length=1000, validators=[validate_absolute_path])
    wp_config_path = models.CharField(
        max_length=1000, blank=True, validators=[validate_absolute_path]
    )
    db_engine = models.CharField(
        max_length=20, blank=True, default="", choices=database_engine_choices
    )
    db_name = models.CharField(max_length=1000, blank=True)
    db_host = models.CharField(max_length=255, blank=True)
    db_port = models.PositiveIntegerField(null=True, blank=True)
    db_user = models.CharField(max_length=255, blank=True)
    db_password = EncryptedJSONField(blank=True, default="")
    excludes = models.JSONField(
        null=True,
        blank=True,
        validators=[validate_patterns],
        help_text="Patterns of paths to leave out; empty takes the defaults.",
    )
    storage = models.ForeignKey(
        Storage, null=True, blank=True, on_delete=models.PROTECT, related_name="sites"
    )
    storage_quota_gb = models.FloatField(null=True, blank=True, help_text="GiB")
    schedule_frequency = models.CharField(
        max_length=10, choices=ScheduleFrequency.choices, default=ScheduleFrequency.MANUAL
    )
    schedule_time = models.CharField(max_length=5, default="02:00")
    schedule_days = models.CharField(max_length=100, blank=True)
    # When it is next looked at what of its backups is to go; empty is now.
    retention_due_at = models.DateTimeField(null=True, blank=True, db_index=True, editable=False)
    schedule_cron = models.CharField(max_length=100, blank=True)
    time_zone = models.CharField(
        max_length=64,
        default="UTC",
        validators=[validate_zone],
        help_text="On whose clocks the schedule is read, as Europe/Berlin.",
    )
    schedule_window_minutes = models.PositiveSmallIntegerField(
        null=True,
        blank=True,
        validators=[MaxValueValidator(MAX_WINDOW_MINUTES)],
        help_text="Within how many minutes of its time it starts; empty takes the node's.",
    )
    # When the next backup starts by itself, spread and blackouts counted in. It stays where it is
    # while it cannot start: it is made up for once.
    next_run_at = models.DateTimeField(null=True, blank=True, db_index=True, editable=False)
    # The moment that the schedule names for that run: none is named twice.
    next_named_at = models.DateTimeField(null=True, blank=True, editable=False)
    # A run that was refused for a while is tried again then; why, and what was left out, is noted.
    schedule_retry_at = models.DateTimeField(null=True, blank=True, editable=False)
    schedule_note = models.CharField(max_length=500, blank=True, editable=False)
    # Of a cron expression: the longest time between two runs, by which its backups are judged.
    schedule_longest_gap = models.DurationField(null=True, blank=True, editable=False)
    # Second of the newest object key; keys of one site never repeat (`actions.bundles`).
    newest_key_at = models.DateTimeField(null=True, blank=True, editable=False)
    # Of the good backups: facts of other rows, kept here by `actions.usage`, since a list cannot
    # be sorted by sums of hundreds of thousands of rows each time that somebody looks at it.
    backup_count = models.PositiveIntegerField(default=0, editable=False)
    last_backup = models.DateTimeField(null=True, blank=True, editable=False)
    storage_used_bytes = models.BigIntegerField(default=0, editable=False)
    # Those of them whose objects are not as they were recorded; none of these is `last_backup`.
    backups_amiss = models.PositiveIntegerField(default=0, editable=False)
    # Of its newest proof that passed; see `Proof`.
    proven_at = models.DateTimeField(null=True, blank=True, editable=False, db_index=True)
    proven_seconds = models.FloatField(null=True, blank=True, editable=False)
    admins = models.ManyToManyField(
        settings.AUTH_USER_MODEL, blank=True, related_name="assigned_sites"
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["name", "id"]
        # One for each order that the list of sites offers.
        indexes = [
            models.Index(fields=["name"]),
            models.Index(fields=["url"]),
            models.Index(fields=["created_at"]),
            models.Index(fields=["last_backup"]),
            models.Index(fields=["backup_count"]),
            models.Index(fields=["storage_used_bytes"]),
            # What comes next on a node.
            models.Index(fields=["node", "next_run_at"]),
        ]

    def __str__(self) -> str:
        return self.name
