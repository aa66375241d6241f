"""Where bundles go."""

from __future__ import annotations

from typing import Any

from django.db import models

from backups.fields import EncryptedJSONField
from backups.registry import store_choices


class Storage(models.Model):
    """A place for bundles. `config` is what anybody with access may read, `secrets` is not."""

    name = models.CharField(max_length=100, unique=True)
    type = models.CharField(max_length=20, choices=store_choices)
    config = models.JSONField(default=dict, blank=True)
    secrets = EncryptedJSONField(blank=True, default="")
    encryption_recipients = models.JSONField(
        default=list,
        blank=True,
        help_text="Public keys of age (age1…) that new backups are encrypted to; empty for none.",
    )
    is_default = models.BooleanField(default=False)
    capabilities = models.JSONField(null=True, blank=True, editable=False)
    tested_at = models.DateTimeField(null=True, blank=True, editable=False)
    test_error = models.TextField(blank=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["name"]
        verbose_name = "storage"
        verbose_name_plural = "storages"

    def __str__(self) -> str:
        return self.name

    def full_config(self) -> dict[str, Any]:
        """Return configuration and secrets together, for opening the store."""
        return {**self.config, **(self.secrets or {})}
