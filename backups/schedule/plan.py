"""All that decides when a site is backed up by itself, together."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta, tzinfo
from itertools import islice

from backups.schedule.blackouts import (
    Blackout,
    blackout_begin,
    blackout_end,
    longest_blackout,
)
from backups.schedule.cron import longest_gap
from backups.schedule.frequencies import LONGEST_GAPS, ScheduleFrequency, next_run

_TICK = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Run:
    """A run: the moment that the schedule names, and when it starts."""

    named: datetime
    start: datetime


def spread_of(site: uuid.UUID, window_minutes: int) -> timedelta:
    """Return how long after its time a site's runs begin: always the same, below the window.

    Sites with the same time of day are spread evenly over the window, to the second.
    """
    seconds = window_minutes * 60
    if not seconds:
        return timedelta()
    number = int.from_bytes(hashlib.sha256(site.bytes).digest()[:8])
    return timedelta(seconds=number % seconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A site's schedule as it is carried out. `blackout_zone` is that of the site's node."""

    frequency: str
    at: time = time(2)
    days: tuple[int, ...] = ()
    cron: str = ""
    zone: tzinfo = UTC
    spread: timedelta = timedelta()
    blackouts: tuple[Blackout, ...] = ()
    blackout_zone: tzinfo = UTC

    def next_run(self, *, after: datetime, past: datetime | None = None) -> Run | None:
        """Return the first run that starts after `after`; None for a manual schedule.

        Only one that was named after `past`: so no time has two runs, whatever else has changed.
        What falls into a blackout starts when it ends, however much falls into it together.
        """
        # Within a blackout, what it has put off so far is still to come.
        begin = blackout_begin(self.blackouts, self.blackout_zone, after)
        since = (after if begin is None else begin - _TICK) - self.spread
        named = next_run(
            self.frequency,
            self.at,
            self.days,
            after=since if past is None else max(since, past),
            zone=self.zone,
            cron=self.cron,
        )
        return None if named is None else Run(named, self.start_of(named))

    def start_of(self, named: datetime) -> datetime:
        """Return when the run starts that the schedule names for that moment."""
        start = named + self.spread
        return blackout_end(self.blackouts, self.blackout_zone, start) or start

    def next_runs(self, *, after: datetime, count: int) -> list[datetime]:
        """Return the first `count` starts after `after`."""
        return list(islice(self._starts(after), count))

    def longest_gap(self) -> timedelta | None:
        """Return what lies between two starts at most, give or take what clocks are changed by.

        None for a manual schedule.
        """
        if self.frequency == ScheduleFrequency.MANUAL:
            return None
        is_cron = self.frequency == ScheduleFrequency.CRON
        gap = longest_gap(self.cron) if is_cron else LONGEST_GAPS[self.frequency]
        return gap + longest_blackout(self.blackouts)

    def _starts(self, after: datetime) -> Iterator[datetime]:
        while (run := self.next_run(after=after)) is not None:
            yield run.start
            after = run.start
