"""What is paused: since when, until when, by whom and why."""

from __future__ import annotations

from django.db import models


class Pausable(models.Model):
    """A site, or a node with all its sites, that starts no backup by itself for a while.

    Without `paused_until` it is until somebody resumes it; past it, `is_paused` means nothing.
    """

    is_paused = models.BooleanField(default=False, editable=False)
    paused_until = models.DateTimeField(null=True, blank=True, editable=False)
    paused_at = models.DateTimeField(null=True, blank=True, editable=False)
    paused_by = models.CharField(max_length=190, blank=True, editable=False)
    pause_reason = models.CharField(max_length=200, blank=True, editable=False)

    class Meta:
        abstract = True
