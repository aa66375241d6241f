"""A schedule in a sentence for people."""

from __future__ import annotations

from calendar import day_name
from collections.abc import Sequence

from backups.schedule.frequencies import ScheduleFrequency


def schedule_words(
    frequency: str, at: str, days: Sequence[int], cron: str, zone: str, window_minutes: int
) -> str:
    """Return as `Weekly on Monday and Thursday at 02:00, Europe/Berlin, within 60 minutes`."""
    if frequency == ScheduleFrequency.MANUAL:
        return "By hand only"
    within = f", within {window_minutes} minutes" if window_minutes else ""
    if frequency == ScheduleFrequency.CRON:
        return f"By the cron expression {cron}, {zone}{within}"
    is_weekly = frequency == ScheduleFrequency.WEEKLY
    named = [day_name[day] if is_weekly else f"the {day}." for day in days]
    *most, last = named or [""]
    on = f"{', '.join(most)} and {last}" if most else last
    when = f" on {on}" if on else ""
    return f"{ScheduleFrequency(frequency).label}{when} at {at}, {zone}{within}"
