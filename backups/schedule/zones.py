"""From what a clock on the wall shows to the moment when it does."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo
from functools import cache
from zoneinfo import ZoneInfo, available_timezones

from django.core.exceptions import ValidationError

# Beside the zones' names, hosts have files of other kinds in that folder.
_NO_ZONES = frozenset({"localtime", "posixrules", "Factory"})
_SECOND = timedelta(seconds=1)
ZONE_NAMES = frozenset({"UTC"}) | (available_timezones() - _NO_ZONES)


@cache
def read_zone(name: str) -> tzinfo:
    """Return the zone of an IANA name as Europe/Berlin; raises `ValueError` with a sentence.

    UTC is there also on a host that has no time zone data.
    """
    if name not in ZONE_NAMES:
        raise ValueError("Give a time zone by its IANA name, as Europe/Berlin, or UTC.")
    return UTC if name == "UTC" else ZoneInfo(name)


def validate_zone(name: str) -> None:
    """Refuse what is no time zone, for a model's field."""
    try:
        read_zone(name)
    except ValueError as error:
        raise ValidationError(str(error)) from error


def moment_of(wall: datetime, zone: tzinfo, *, last: bool = False) -> datetime:
    """Return when the zone's clocks show `wall`, which has no zone of its own.

    A time that they show twice is the first of the two, or the `last`. One that they leap over is
    the moment of the leap. So later times are never earlier moments.
    """
    early = wall.replace(tzinfo=zone, fold=0).astimezone(UTC)
    late = wall.replace(tzinfo=zone, fold=1).astimezone(UTC)
    if late >= early:
        return late if last else early
    # Clocks leapt: the offset from before the leap leads past it, the one from after before it.
    before, after = late, early
    while after - before > _SECOND:
        middle = before + (after - before) // 2
        middle = middle.replace(microsecond=0)
        if middle.astimezone(zone).replace(tzinfo=None) < wall:
            before = middle
        else:
            after = middle
    return after
