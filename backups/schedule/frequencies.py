"""What a schedule names: times of a day, days, or a cron expression, on a zone's clocks."""

from __future__ import annotations

import re
from calendar import monthrange
from collections.abc import Callable, Collection, Iterator
from datetime import UTC, date, datetime, time, timedelta, tzinfo

from django.db import models

from backups.schedule.cron import walls_after
from backups.schedule.zones import moment_of


class ScheduleFrequency(models.TextChoices):
    """How often a site is backed up by itself."""

    MANUAL = "manual", "Manual"
    DAILY = "daily", "Daily"
    WEEKLY = "weekly", "Weekly"
    MONTHLY = "monthly", "Monthly"
    CRON = "cron", "Cron expression"


_TIME = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])")
_DAYS = re.compile(r" *[0-9]{1,2} *(, *[0-9]{1,2} *)*")
_ONE_DAY = timedelta(days=1)
# First and last day that each may name, and how they are called.
_RANGES: dict[str, tuple[range, str]] = {
    ScheduleFrequency.WEEKLY: (range(7), "0 (Monday) to 6 (Sunday)"),
    ScheduleFrequency.MONTHLY: (range(1, 32), "1 to 31"),
}
# Between two runs at most; a cron expression has its own.
LONGEST_GAPS: dict[str, timedelta] = {
    ScheduleFrequency.DAILY: timedelta(days=1),
    ScheduleFrequency.WEEKLY: timedelta(days=7),
    ScheduleFrequency.MONTHLY: timedelta(days=31),
}


def read_time(text: str) -> time:
    """Return the time of day that `02:00` names; raises `ValueError` with a sentence."""
    match = _TIME.fullmatch(text)
    if match is None:
        raise ValueError("Give a time as HH:MM, from 00:00 to 23:59.")
    return time(int(match[1]), int(match[2]))


def read_days(frequency: str, text: str) -> tuple[int, ...]:
    """Return the days that `0,2,4` names, in order and each once; raises `ValueError`.

    Other schedules have none, whatever the text says.
    """
    if frequency not in _RANGES:
        return ()
    allowed, words = _RANGES[frequency]
    if _DAYS.fullmatch(text) is None:
        raise ValueError(f"A {frequency} schedule needs its days, {words}, separated by commas.")
    days = sorted({int(part) for part in text.split(",")})
    if wrong := [day for day in days if day not in allowed]:
        raise ValueError(f"The days of a {frequency} schedule are {words}; {wrong[0]} is none.")
    return tuple(days)


def next_run(
    frequency: str,
    at: time,
    days: Collection[int],
    *,
    after: datetime,
    zone: tzinfo = UTC,
    cron: str = "",
) -> datetime | None:
    """Return the first moment after `after` that the schedule names; None for a manual one.

    A day that a month lacks means that month's last day, so that no month is left out. A time that
    the zone's clocks leap over is the moment of the leap; one that they show twice is the first.
    """
    if frequency == ScheduleFrequency.MANUAL:
        return None
    wall = after.astimezone(zone).replace(tzinfo=None)
    is_cron = frequency == ScheduleFrequency.CRON
    # On the clock alone: what it shows may be long past when clocks went back meanwhile.
    walls = walls_after(cron, wall) if is_cron else _walls(frequency, at, days, wall.date())
    moments = (moment_of(shown, zone) for shown in walls)
    return next((moment for moment in moments if moment > after), None)


def _walls(frequency: str, at: time, days: Collection[int], day: date) -> Iterator[datetime]:
    """Return the times from this day on that the schedule names, as clocks show them."""
    falls_on = _FALLS_ON[frequency]
    while True:
        if falls_on(day, days):
            yield datetime.combine(day, at)
        day += _ONE_DAY


def _falls_on_month_day(day: date, days: Collection[int]) -> bool:
    is_last = day.day == monthrange(day.year, day.month)[1]
    return day.day in days or (is_last and max(days) > day.day)


_FALLS_ON: dict[str, Callable[[date, Collection[int]], bool]] = {
    ScheduleFrequency.DAILY: lambda day, days: True,
    ScheduleFrequency.WEEKLY: lambda day, days: day.weekday() in days,
    ScheduleFrequency.MONTHLY: _falls_on_month_day,
}
