"""Schedules and blackouts in sentences for people."""

from __future__ import annotations

from calendar import day_name
from collections.abc import Sequence

from backups.schedule.blackouts import EVERY_DAY, Blackout
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


def blackout_words(blackouts: Sequence[Blackout], zone: str) -> str:
    """Return as `between 08:00 and 18:00 from Monday to Friday (Europe/Berlin)`; empty for none."""
    if not blackouts:
        return ""
    each = (f"between {one.start:%H:%M} and {one.end:%H:%M} {_on(one.days)}" for one in blackouts)
    return f"{', and '.join(each)} ({zone})"


def _on(days: Sequence[int]) -> str:
    days = sorted(set(days))
    if tuple(days) == EVERY_DAY:
        return "every day"
    if len(days) > 2 and days == list(range(days[0], days[-1] + 1)):
        return f"from {day_name[days[0]]} to {day_name[days[-1]]}"
    *most, last = (day_name[day] for day in days)
    return f"on {', '.join(most)} and {last}" if most else f"on {last}"
