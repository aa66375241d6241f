"""How safe a site is, in one word, and what decides it. Pure."""

from __future__ import annotations

from datetime import timedelta

from django.db import models

from backups.schedule import LONGEST_GAPS, ScheduleFrequency


class Protection(models.TextChoices):
    """What everybody wants to know first of a site."""

    PROTECTED = "protected", "Protected"
    AT_RISK = "at_risk", "At risk"
    FAILING = "failing", "Failing"


# In which a run that was missed can be made up for.
GRACE = timedelta(days=1)
# Where nothing is scheduled, nobody promised more than a month.
UNPROMISED = timedelta(days=31)

# How old the newest good backup may be: the longest time between two runs, and the grace. A cron
# expression, and whatever is put off by blackouts, has a longest time of its own, which is kept as
# `Site.schedule_longest_gap` and goes before these; without it nothing is known of an expression.
LONGEST_AGE: dict[str, timedelta] = {
    **{frequency: gap + GRACE for frequency, gap in LONGEST_GAPS.items()},
    ScheduleFrequency.CRON: UNPROMISED,
    ScheduleFrequency.MANUAL: UNPROMISED,
}

EXPLAINED: dict[str, str] = {
    Protection.PROTECTED: "The newest backup is good, and as recent as the schedule promises.",
    Protection.AT_RISK: "There is no good backup, or the newest is older than the schedule allows.",
    Protection.FAILING: "The newest backup failed.",
}
