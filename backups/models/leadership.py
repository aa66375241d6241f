"""Which one of several copies of a process acts."""

from __future__ import annotations

from django.db import models


class Leadership(models.Model):
    """The right to act under a name, held until `expires_at` unless it is renewed."""

    name = models.CharField(max_length=50, primary_key=True)
    holder = models.CharField(max_length=255)
    expires_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.name}: {self.holder}"
