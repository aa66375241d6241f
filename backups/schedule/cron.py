"""Cron expressions: five fields, read by cronsim, which follows Debian's cron."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from functools import lru_cache
from itertools import pairwise

from cronsim import CronSim, CronSimError

LONGEST_EXPRESSION = 100
_ALLOWED = re.compile(r"[0-9A-Za-z*/,#-]+")
_FIELDS = 5
_DAY = timedelta(days=1)
# Days that are looked at for the longest time without a run. From 2096 to 2104 no year has a 29
# February, and weekdays fall on the same dates again after 28 years at the latest before that.
_LOOKED_AT = (date(2072, 1, 1), date(2108, 1, 1))


@lru_cache(maxsize=4096)
def read_cron(text: str) -> str:
    """Return the expression as it is stored, its fields one space apart; raises `ValueError`."""
    fields = text.split()
    if len(text) > LONGEST_EXPRESSION or len(fields) != _FIELDS:
        raise ValueError(
            "Give the five fields of a cron expression: minute, hour, day of the month, month and "
            "weekday (0 or 7 is Sunday), as 30 2 * * 1-5."
        )
    expression = " ".join(fields).upper()
    if not all(map(_ALLOWED.fullmatch, fields)):
        raise ValueError("A cron expression has numbers, names of days and months, and * / , - #.")
    try:
        CronSim(expression, datetime(2024, 1, 1))
    except (CronSimError, ValueError, TypeError, AssertionError) as error:
        raise ValueError(f"This cron expression cannot be read: {error}.") from error
    longest_gap(expression)
    return expression


def walls_after(expression: str, wall: datetime) -> Iterator[datetime]:
    """Return the times that the expression names, on a clock that never jumps, after `wall`."""
    return iter(CronSim(expression, wall))


@lru_cache(maxsize=4096)
def longest_gap(expression: str) -> timedelta:
    """Return the longest time between two runs; raises `ValueError` if there is about none."""
    cron = CronSim(expression, datetime(2024, 1, 1))
    times = sorted(timedelta(hours=h, minutes=m) for h in cron.hours for m in cron.minutes)
    within = max((later - earlier for earlier, later in pairwise(times)), default=timedelta())
    days = list(_days_of(cron))
    if len(days) < 2:
        raise ValueError("This cron expression names no day that ever comes.")
    over_night = times[0] + _DAY - times[-1] - _DAY
    across = max(later - earlier for earlier, later in pairwise(days)) + over_night
    return max(within, across)


def _days_of(cron: CronSim) -> Iterator[date]:
    day, end = _LOOKED_AT
    while day < end:
        if day.month in cron.months and cron.match_day(day):
            yield day
        day += _DAY
