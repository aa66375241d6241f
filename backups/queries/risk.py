"""Which sites could not be brought back as they should be."""

from __future__ import annotations

from datetime import timedelta

from django.db.models import Q
from django.db.models.functions import Now

from backups.schedule import ScheduleFrequency

# The newest good backup may be so old: one turn of the schedule, and a day for it to run in.
_OLDEST: dict[str, timedelta] = {
    ScheduleFrequency.DAILY: timedelta(days=2),
    ScheduleFrequency.WEEKLY: timedelta(days=8),
    ScheduleFrequency.MONTHLY: timedelta(days=32),
    ScheduleFrequency.MANUAL: timedelta(days=32),
}


def at_risk() -> Q:
    """Return the condition on sites that have no good backup, or whose newest is too old.

    Too old is what a turn of its schedule should have replaced; by hand, a month.
    """
    condition = Q(last_backup=None)
    for frequency, oldest in _OLDEST.items():
        condition |= Q(schedule_frequency=frequency, last_backup__lt=Now() - oldest)
    return condition
