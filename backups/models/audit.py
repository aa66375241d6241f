"""Who did what, on what, from where and when, and what came of it."""

from __future__ import annotations

from typing import Any, ClassVar, NoReturn

from django.conf import settings
from django.db import models
from django.db.models.functions import Now

from backups.errors import ImmutableRowError


class AuditSource(models.TextChoices):
    """Through which of the faces it came."""

    API = "api", "API"
    ADMIN = "admin", "Admin"
    DASHBOARD = "dashboard", "Dashboard"
    COMMAND = "command", "Command"
    STREAM = "stream", "Stream"
    COORDINATOR = "coordinator", "Coordinator"


class AuditOutcome(models.TextChoices):
    """What came of it."""

    SUCCESS = "success", "Success"
    REFUSED = "refused", "Refused"
    FAILED = "failed", "Failed"


class AppendOnly(models.QuerySet["AuditEntry"]):
    """Takes new rows, and lets nobody change or remove one."""

    def _refuse(self, *_: Any, **__: Any) -> NoReturn:  # noqa: ANN401
        raise ImmutableRowError("The audit trail cannot be changed.")

    update = delete = bulk_update = update_or_create = _refuse
    aupdate = adelete = abulk_update = aupdate_or_create = _refuse


class AuditEntry(models.Model):
    """One write, or one refused attempt. `fields` are names of what was sent, never values.

    Sites and nodes are plain numbers, and the actor's name and role are those of then: an entry
    outlives all of them.
    """

    created_at = models.DateTimeField(db_default=Now(), db_index=True)
    actor = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="+",
        db_index=False,
    )
    actor_name = models.CharField(max_length=254, blank=True)
    actor_role = models.CharField(max_length=20, blank=True)
    source = models.CharField(max_length=12, choices=AuditSource.choices)
    action = models.CharField(max_length=80)
    object_type = models.CharField(max_length=40, blank=True)
    object_id = models.CharField(max_length=64, blank=True)
    object_label = models.CharField(max_length=254, blank=True)
    site_id = models.BigIntegerField(null=True, blank=True)
    node_id = models.BigIntegerField(null=True, blank=True)
    address = models.GenericIPAddressField(null=True, blank=True)
    user_agent = models.CharField(max_length=200, blank=True)
    request_id = models.CharField(max_length=64, blank=True)
    outcome = models.CharField(max_length=8, choices=AuditOutcome.choices)
    status_code = models.PositiveSmallIntegerField(null=True, blank=True)
    detail = models.CharField(max_length=1000, blank=True)
    fields = models.JSONField(default=list, blank=True)

    objects: ClassVar[models.Manager[AuditEntry]] = AppendOnly.as_manager()

    class Meta:
        ordering = ["-id"]
        verbose_name_plural = "audit entries"
        indexes = [
            models.Index(fields=["site_id", "-id"], name="audit_site"),
            models.Index(fields=["node_id", "-id"], name="audit_node"),
            models.Index(fields=["actor", "-id"], name="audit_actor"),
        ]

    def __str__(self) -> str:
        return f"{self.actor_name or 'somebody'}: {self.action} ({self.outcome})"

    def save(self, **options: Any) -> None:  # noqa: ANN401
        """Insert the entry; raises `ImmutableRowError` for one that is there already."""
        if not self._state.adding:
            raise ImmutableRowError("The audit trail cannot be changed.")
        super().save(**{**options, "force_insert": True})

    def delete(self, *_: Any, **__: Any) -> NoReturn:  # noqa: ANN401
        """Raise `ImmutableRowError`."""
        raise ImmutableRowError("The audit trail cannot be changed.")
