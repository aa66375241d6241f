"""Columns that say how many backups are kept: those of a site, and of a node for all its sites."""

from __future__ import annotations

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models

from backups.retention import Policy

MOST_COPIES = 10_000
# Of the column, in every database.
LARGEST_COUNT = 32_767


def _count(rule: str, least: int = 0) -> models.PositiveSmallIntegerField[int | None, int | None]:
    return models.PositiveSmallIntegerField(
        null=True,
        blank=True,
        validators=[MinValueValidator(least), MaxValueValidator(MOST_COPIES)],
        help_text=f"{rule} Empty takes what the level above says: the node, then the settings.",
    )


class RetentionRules(models.Model):
    """What a level says of retention; a rule that is empty is said by the level above."""

    retention_copies = _count("How many of the newest backups are kept.", 1)
    retention_daily = _count("Of how many days the newest one is kept.")
    retention_weekly = _count("Of how many weeks the newest one is kept.")
    retention_monthly = _count("Of how many months the newest one is kept.")
    retention_yearly = _count("Of how many years the newest one is kept.")

    class Meta:
        abstract = True

    @property
    def own_policy(self) -> Policy:
        """What this level itself says."""
        return Policy(
            keep_last=self.retention_copies,
            daily=self.retention_daily,
            weekly=self.retention_weekly,
            monthly=self.retention_monthly,
            yearly=self.retention_yearly,
        )
