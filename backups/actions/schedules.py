"""What a site's schedule is, and the backups that are started by it."""

from __future__ import annotations

import logging
from datetime import datetime, time
from typing import Any

from django.db import InterfaceError, OperationalError, transaction
from django.db.models.functions import Now

from backups import queries
from backups.actions.deadlocks import again_after_deadlock
from backups.actions.jobs import start_backup
from backups.errors import DomainError, InvalidFieldError
from backups.models import Site
from backups.schedule import next_run, read_days, read_time

logger = logging.getLogger(__name__)

TRIGGER = "schedule"
# Of one round of the coordinator: it has other things to do, and its leadership to renew.
SITES_AT_ONCE = 50


@again_after_deadlock
def set_schedule(*, site: Site, frequency: str, **changes: Any) -> None:  # noqa: ANN401
    """Change when the site is backed up by itself, and how many copies are to be kept.

    `changes` may hold `schedule_time`, `schedule_days` and `retention_copies`; what is left out
    stays as it is. Raises `InvalidFieldError` for a time or days that cannot be.
    """
    with transaction.atomic():
        # The lock keeps two who change it at once from making one next run of both.
        sites = Site.objects.select_for_update().defer("db_password").annotate(now=Now())
        row: Any = sites.get(pk=site.pk)
        at = _read_time(changes.get("schedule_time", row.schedule_time))
        days = _read_days(frequency, changes.get("schedule_days", row.schedule_days))
        wanted: dict[str, Any] = {
            "schedule_frequency": frequency,
            "schedule_time": f"{at:%H:%M}",
            "schedule_days": ",".join(map(str, days)),
        }
        # Saying once more what holds already must not skip a run that is due.
        if row.next_run_at is None or any(getattr(row, k) != v for k, v in wanted.items()):
            wanted["next_run_at"] = next_run(frequency, at, days, after=row.now)
        wanted["retention_copies"] = changes.get("retention_copies", row.retention_copies)
        Site.objects.filter(pk=site.pk).update(**wanted)


def start_due_backups() -> int:
    """Start the backups that are due; return how many were.

    However many coordinators ask, each run is started once. One that was missed while none was
    there is made up for once, however often it was missed.
    """
    started = 0
    for site in queries.sites_due()[:SITES_AT_ONCE]:
        try:
            started += _start_if_due(site)
        except (OperationalError, InterfaceError):
            raise  # the database is away, for the others as well
        except Exception:
            logger.exception("the scheduled backup of %s could not be started", site.name)
    return started


@again_after_deadlock
def _start_if_due(site: Any) -> bool:  # noqa: ANN401
    """Claim the run and start the backup, both or neither.

    What is refused (a backup that runs already, a disabled node, no room) is skipped: the site's
    turn comes again at its next time.
    """
    following = _following_run(site)
    with transaction.atomic():
        if not _claim(site, following):
            return False
        try:
            job = start_backup(site=site, trigger=TRIGGER)
        except DomainError as refusal:
            logger.warning(
                "the scheduled backup of %s is left out, next time %s: %s",
                site.name,
                following,
                refusal.message,
            )
            return False
    logger.info("the scheduled backup of %s is job %s", site.name, job.pk)
    return True


def _claim(site: Any, following: datetime | None) -> bool:  # noqa: ANN401
    """Move the run that is due on, if it still is and the schedule still says so.

    Whoever was quicker has moved it beyond the database's now.
    """
    names = ("schedule_frequency", "schedule_time", "schedule_days")
    seen = {name: getattr(site, name) for name in names}
    due = Site.objects.filter(pk=site.pk, next_run_at__lte=Now(), **seen)
    return due.update(next_run_at=following) == 1


def _following_run(site: Any) -> datetime | None:  # noqa: ANN401
    """Return the run after this one; None if the row holds a schedule that cannot be read."""
    frequency = site.schedule_frequency
    try:
        at, days = read_time(site.schedule_time), read_days(frequency, site.schedule_days)
    except ValueError as error:
        logger.error("the schedule of %s cannot be used: %s Set it anew.", site.name, error)
        return None
    return next_run(frequency, at, days, after=site.now)


def _read_time(text: str) -> time:
    try:
        return read_time(text)
    except ValueError as error:
        raise InvalidFieldError("schedule_time", str(error)) from error


def _read_days(frequency: str, text: str) -> tuple[int, ...]:
    try:
        return read_days(frequency, text)
    except ValueError as error:
        raise InvalidFieldError("schedule_days", str(error)) from error
