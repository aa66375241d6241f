"""Hosts and the worker processes on them."""

from __future__ import annotations

import uuid
from pathlib import PurePosixPath

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import MinValueValidator
from django.db import models


def validate_roots(roots: object) -> None:
    """Accept a list of absolute folders; the node resolves them, since only it can see them."""
    if not isinstance(roots, list) or not all(
        isinstance(root, str) and PurePosixPath(root).is_absolute() for root in roots
    ):
        raise ValidationError('Allowed roots are a list of absolute folders, as ["/var/www"].')


class Node(models.Model):
    """A host with sites on it; its workers consume the queue `node.<uuid>`."""

    uuid = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    name = models.SlugField(max_length=100, unique=True, help_text="As given to `worker --node`.")
    label = models.CharField(max_length=200, blank=True)
    hostname = models.CharField(max_length=255, blank=True)
    ip_address = models.GenericIPAddressField(null=True, blank=True)
    is_enabled = models.BooleanField(default=True)
    slots = models.PositiveSmallIntegerField(
        default=2, validators=[MinValueValidator(1)], help_text="How many stages run at once."
    )
    allowed_roots = models.JSONField(
        default=list, blank=True, validators=[validate_roots], help_text="Sites lie below these."
    )
    storage_quota_gb = models.FloatField(null=True, blank=True, help_text="GiB")
    admins = models.ManyToManyField(
        settings.AUTH_USER_MODEL, blank=True, related_name="assigned_nodes"
    )
    last_seen_at = models.DateTimeField(null=True, blank=True, editable=False)
    cpu_percent = models.FloatField(null=True, blank=True, editable=False)
    memory_percent = models.FloatField(null=True, blank=True, editable=False)
    disk_percent = models.FloatField(null=True, blank=True, editable=False)
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
    """One running worker process group on a node."""

    node = models.ForeignKey(Node, on_delete=models.CASCADE, related_name="workers")
    name = models.CharField(max_length=255, unique=True)
    hostname = models.CharField(max_length=255)
    process_id = models.PositiveIntegerField()
    concurrency = models.PositiveSmallIntegerField(default=0)
    started_at = models.DateTimeField()
    last_seen_at = models.DateTimeField(db_index=True)
    versions = models.JSONField(default=dict, blank=True)

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name
