"""How safe a site is, in one word, and what decides it. Pure."""

from __future__ import annotations

from datetime import timedelta

from django.db import models

from backups.schedule import ScheduleFrequency


class Protection(models.TextChoices):
    """What everybody wants to know first of a site."""

    PROTECTED = "protected", "Protected"
    AT_RISK = "at_risk", "At risk"
    FAILING = "failing", "Failing"


# How old the newest good backup may be: the longest time between two runs, and a day in which one
# that was missed can be made up for. Where nothing is scheduled, nobody promised more than a month.
LONGEST_AGE: dict[str, timedelta] = {
    ScheduleFrequency.DAILY: timedelta(days=2),
    ScheduleFrequency.WEEKLY: timedelta(days=8),
    ScheduleFrequency.MONTHLY: timedelta(days=32),
    ScheduleFrequency.MANUAL: timedelta(days=31),
}

EXPLAINED: dict[str, str] = {
    Protection.PROTECTED: "The newest backup is good, and as recent as the schedule promises.",
    Protection.AT_RISK: "There is no good backup, or the newest is older than the schedule allows.",
    Protection.FAILING: "The newest backup failed.",
}
