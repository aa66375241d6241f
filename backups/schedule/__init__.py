"""When a site's next backup is due. Pure: moments come in and go out, and they are UTC.

A schedule is read on the clock of a time zone, moved by the site's spread, and put off to the end
of a blackout. `Plan` is all of it together.
"""

from backups.schedule.blackouts import (
    Blackout,
    blackout_end,
    read_blackouts,
    validate_blackouts,
)
from backups.schedule.cron import read_cron
from backups.schedule.frequencies import (
    LONGEST_GAPS,
    ScheduleFrequency,
    next_run,
    read_days,
    read_time,
)
from backups.schedule.plan import Plan, Run, spread_of
from backups.schedule.words import blackout_words, schedule_words
from backups.schedule.zones import ZONE_NAMES, moment_of, read_zone, validate_zone

__all__ = [
    "LONGEST_GAPS",
    "ZONE_NAMES",
    "Blackout",
    "Plan",
    "Run",
    "ScheduleFrequency",
    "blackout_end",
    "blackout_words",
    "moment_of",
    "next_run",
    "read_blackouts",
    "read_cron",
    "read_days",
    "read_time",
    "read_zone",
    "schedule_words",
    "spread_of",
    "validate_blackouts",
    "validate_zone",
]
