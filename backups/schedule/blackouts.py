"""Times of the week in which a node starts no backup by itself, such as office hours."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta, tzinfo
from typing import Any

from django.core.exceptions import ValidationError

from backups.schedule.frequencies import read_time
from backups.schedule.zones import moment_of

MOST_BLACKOUTS = 50
EVERY_DAY = tuple(range(7))
_KEYS = {"days", "start", "end"}
_ONE_DAY = timedelta(days=1)
_TICK = timedelta(microseconds=1)
_MINUTES_A_DAY = 24 * 60
_MINUTES_A_WEEK = 7 * _MINUTES_A_DAY


@dataclass(frozen=True, slots=True)
class Blackout:
    """From `start` to `end` on these days, 0 is Monday; over midnight unless `end` is later.

    The days are those on which it begins. Where start and end are the same it lasts a whole day.
    """

    days: tuple[int, ...]
    start: time
    end: time

    def around(self, at: datetime, zone: tzinfo) -> tuple[datetime, datetime] | None:
        """Return when the one that `at` falls into begins and ends; None if it falls into none.

        Clocks that go back show its last minute twice: it lasts until the second time.
        """
        today = at.astimezone(zone).date()
        for day in (today - _ONE_DAY, today, today + _ONE_DAY):
            if day.weekday() not in self.days:
                continue
            begin = moment_of(datetime.combine(day, self.start), zone)
            over = _ONE_DAY if self.end <= self.start else timedelta()
            end = moment_of(datetime.combine(day + over, self.end), zone, last=True)
            if begin <= at < end:
                return begin, end
        return None


def read_blackouts(rows: object) -> tuple[Blackout, ...]:
    """Return what `[{"days": [0, 4], "start": "08:00", "end": "18:00"}]` says.

    Without `days` it is every day. Raises `ValueError` with a sentence.
    """
    if not isinstance(rows, list) or len(rows) > MOST_BLACKOUTS:
        raise ValueError(
            f"Blackouts are a list of {MOST_BLACKOUTS} at most, as "
            '[{"days": [0, 1], "start": "08:00", "end": "18:00"}].'
        )
    found = tuple(map(_read, rows))
    if all(_covered(found)):
        raise ValueError("These blackouts leave no minute of the week in which a backup could run.")
    return found


def validate_blackouts(rows: object) -> None:
    """Refuse what are no blackouts, for a model's field."""
    try:
        read_blackouts(rows)
    except ValueError as error:
        raise ValidationError(str(error)) from error


def blackout_end(blackouts: Sequence[Blackout], zone: tzinfo, at: datetime) -> datetime | None:
    """Return when a start at this moment is possible again; None if it is now.

    One that ends where the next begins goes on with it.
    """
    end = at
    while found := next(_around(blackouts, zone, end), None):
        end = found[1]
    return None if end == at else end


def blackout_begin(blackouts: Sequence[Blackout], zone: tzinfo, at: datetime) -> datetime | None:
    """Return since when no start was possible; None if one is at this moment."""
    found = next(_around(blackouts, zone, at), None)
    while found and (before := next(_around(blackouts, zone, found[0] - _TICK), None)):
        found = before
    return found[0] if found else None


def longest_blackout(blackouts: Sequence[Blackout]) -> timedelta:
    """Return how long a start may have to wait for the end of blackouts, by a week's clock."""
    # Twice, since one that begins on Sunday may end on Monday.
    week = bytes(_covered(blackouts)) * 2
    return timedelta(minutes=max(map(len, week.split(b"\0"))))


def _around(
    blackouts: Sequence[Blackout], zone: tzinfo, at: datetime
) -> Iterator[tuple[datetime, datetime]]:
    return (found for one in blackouts if (found := one.around(at, zone)))


def _read(row: Any) -> Blackout:  # noqa: ANN401
    if not isinstance(row, dict) or not {"start", "end"} <= row.keys() <= _KEYS:
        raise ValueError("Each blackout has a start and an end as HH:MM, and may have days.")
    days, times = row.get("days", list(EVERY_DAY)), (row["start"], row["end"])
    is_list = isinstance(days, list) and bool(days)
    if not is_list or not all(type(day) is int and day in EVERY_DAY for day in days):
        raise ValueError("A blackout's days are a list of numbers from 0 (Monday) to 6 (Sunday).")
    if not all(isinstance(text, str) for text in times):
        raise ValueError("A blackout's start and end are written as HH:MM.")
    return Blackout(tuple(sorted(set(days))), read_time(times[0]), read_time(times[1]))


def _covered(blackouts: Sequence[Blackout]) -> bytearray:
    """Return a byte for each minute of the week, 1 where one of the blackouts is."""
    week = bytearray(_MINUTES_A_WEEK)
    for one in blackouts:
        begin = one.start.hour * 60 + one.start.minute
        length = (one.end.hour * 60 + one.end.minute - begin - 1) % _MINUTES_A_DAY + 1
        for day in one.days:
            for minute in range(length):
                week[(day * _MINUTES_A_DAY + begin + minute) % _MINUTES_A_WEEK] = 1
    return week
