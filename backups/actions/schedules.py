"""What a site's schedule is, and the backups that are started by it."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from django.db import InterfaceError, OperationalError, transaction
from django.db.models.functions import Now

from backups import queries
from backups.actions.deadlocks import again_after_deadlock
from backups.actions.jobs import SCHEDULE, start_backup
from backups.actions.replanning import longest_gap_kept, next_run_columns
from backups.errors import (
    BackupAlreadyRunningError,
    DomainError,
    InUseError,
    InvalidFieldError,
    NodeDisabledError,
    NoRoomError,
)
from backups.models import Job, Site
from backups.models.node import MAX_WINDOW_MINUTES
from backups.schedule import Run, ScheduleFrequency, read_cron, read_days, read_time, read_zone
from backups.states import JobKind, JobState

logger = logging.getLogger(__name__)

# Of one round of the coordinator: it has other things to do, and its leadership to renew.
SITES_AT_ONCE = 50
# What passes by itself: such a run waits, and is tried again after a while. Anything else needs a
# person (a quota that is used up, a storage that is missing), who would be surprised by a backup at
# noon once that is done: such a run is left out.
PASSING = (BackupAlreadyRunningError, NodeDisabledError, NoRoomError, InUseError)
RETRY_AFTER = timedelta(seconds=60)
LONGEST_NOTE = 500
# What decides when a site comes next; its node has a say as well.
SCHEDULE_FIELDS = ("schedule_frequency", "schedule_time", "schedule_days", "schedule_cron",
                   "time_zone", "schedule_window_minutes")  # fmt: skip


@again_after_deadlock
def set_schedule(*, site: Site, frequency: str, **changes: Any) -> None:  # noqa: ANN401
    """Change when the site is backed up by itself, and how many copies are to be kept.

    `changes` may hold the other `SCHEDULE_FIELDS` and `retention_copies`; what is left out stays as
    it is. Raises `InvalidFieldError` for a time, days, a cron expression, a zone or a window that
    cannot be.
    """
    with transaction.atomic():
        # The lock keeps two who change it at once from making one next run of both.
        sites = Site.objects.select_for_update().defer("db_password").annotate(now=Now())
        row: Any = sites.get(pk=site.pk)
        given = {name: changes.get(name, getattr(row, name)) for name in SCHEDULE_FIELDS}
        wanted: dict[str, Any] = checked_schedule({**given, "schedule_frequency": frequency})
        is_new = any(getattr(row, name) != value for name, value in wanted.items())
        for name, value in wanted.items():
            setattr(row, name, value)
        plan = queries.plan_of(row)
        wanted["schedule_longest_gap"] = longest_gap_kept(plan)
        # Saying once more what holds already must not skip a run that is due.
        if is_new or row.next_run_at is None:
            wanted |= next_run_columns(plan.next_run(after=row.now))
            wanted |= {"schedule_retry_at": None, "schedule_note": ""}
        copies = changes.get("retention_copies", row.retention_copies)
        if copies != row.retention_copies:
            wanted |= {"retention_copies": copies, "retention_due_at": Now()}
        Site.objects.filter(pk=site.pk).update(**wanted)


def checked_schedule(given: dict[str, Any]) -> dict[str, Any]:
    """Return `SCHEDULE_FIELDS` as they are stored; raises `InvalidFieldError` for what cannot be.

    Days and an expression are stored empty where the frequency has none.
    """
    frequency = given["schedule_frequency"]
    at = _read("schedule_time", read_time, given["schedule_time"])
    days = _read("schedule_days", lambda text: read_days(frequency, text), given["schedule_days"])
    is_cron = frequency == ScheduleFrequency.CRON
    cron = _read("schedule_cron", read_cron, given["schedule_cron"]) if is_cron else ""
    _read("time_zone", read_zone, given["time_zone"])
    window = given["schedule_window_minutes"]
    if window is not None and not 0 <= window <= MAX_WINDOW_MINUTES:
        message = f"Give a number of minutes from 0 to {MAX_WINDOW_MINUTES}, or none."
        raise InvalidFieldError("schedule_window_minutes", message)
    return {
        "schedule_frequency": frequency,
        "schedule_time": f"{at:%H:%M}",
        "schedule_days": ",".join(map(str, days)),
        "schedule_cron": cron,
        "time_zone": given["time_zone"],
        "schedule_window_minutes": window,
    }


def start_due_backups() -> int:
    """Start the backups that are due; return how many were.

    However many coordinators ask, each run is started once. One that was missed while none was
    there, or while it could not start, is made up for once, however often it was missed.
    """
    started = 0
    due = list(queries.sites_due()[:SITES_AT_ONCE])
    # Coordinators that see the same sites begin with different ones.
    random.shuffle(due)
    for site in due:
        try:
            started += _start_if_due(site)
        except (OperationalError, InterfaceError):
            raise  # the database is away, for the others as well
        except Exception:
            logger.exception("the scheduled backup of %s could not be started", site.name)
            _put_off(site)
    return started


@again_after_deadlock
def _start_if_due(site: Any) -> bool:  # noqa: ANN401
    """Claim the run and start the backup, both or neither."""
    following = _following_run(site)
    with transaction.atomic():
        if not _claim(site, following):
            return False
        try:
            job = start_backup(site=site, trigger=SCHEDULE)
        except DomainError as refusal:
            _note_refusal(site, following, refusal)
            return False
    logger.info("the scheduled backup of %s is job %s", site.name, job.pk)
    return True


def _claim(site: Any, following: Run | None) -> bool:  # noqa: ANN401
    """Move the run on, if it is still due, nobody paused it, and the schedule still says so.

    Whoever was quicker has moved it beyond the database's now, or put it off.
    """
    seen = {name: getattr(site, name) for name in SCHEDULE_FIELDS}
    # Not a later one either, which whoever was quicker has left due.
    same = {"pk": site.pk, "next_run_at__lte": site.next_run_at, **seen}
    due = Site.objects.filter(queries.IS_DUE, **same)
    columns = next_run_columns(following)
    return due.update(schedule_retry_at=None, schedule_note="", **columns) == 1


def _put_off(site: Any) -> None:  # noqa: ANN401
    """Try a run again in a while that nobody knows what is wrong with: others wait behind it."""
    note = f"The run of {queries.shown_moment(site.next_run_at)} waits: internal error, which the "
    note += "coordinator's log has."
    due = Site.objects.filter(queries.IS_DUE, pk=site.pk)
    due.update(schedule_retry_at=site.now + RETRY_AFTER, schedule_note=note)


def _note_refusal(site: Any, following: Run | None, refusal: DomainError) -> None:  # noqa: ANN401
    """Let the run wait if what is in its way passes by itself, else leave it out; say which."""
    run = f"The run of {queries.shown_moment(site.next_run_at)}"
    if isinstance(refusal, BackupAlreadyRunningError) and _is_covered(site):
        logger.info("the scheduled backup of %s is the one that waits already", site.name)
        return
    if isinstance(refusal, PASSING):
        values = {
            "next_run_at": site.next_run_at,
            "next_named_at": site.next_named_at,
            "schedule_retry_at": site.now + RETRY_AFTER,
        }
        note = f"{run} waits: {refusal.message}"
        # Once, not every minute.
        level = logging.WARNING if site.schedule_retry_at is None else logging.DEBUG
        logger.log(level, "the scheduled backup of %s waits: %s", site.name, refusal.message)
    else:
        values, note = {}, f"{run} was left out: {refusal.message}"
        words = "the scheduled backup of %s is left out, next time %s: %s"
        logger.warning(words, site.name, following and following.start, refusal.message)
    Site.objects.filter(pk=site.pk).update(schedule_note=note[:LONGEST_NOTE], **values)


def _is_covered(site: Site) -> bool:
    """Return whether a backup of the site is queued that has read nothing yet.

    What it will hold is as new as what this run would; a second one right after it is of no use.
    """
    waiting = (JobState.QUEUED, JobState.DISPATCHED)
    jobs = Job.objects.filter(active_site=site, kind=JobKind.BACKUP, stages_done=0)
    return jobs.filter(state__in=waiting).exists()


def _following_run(site: Any) -> Run | None:  # noqa: ANN401
    """Return the run after this one; None if the row holds a schedule that cannot be read."""
    try:
        plan = queries.plan_of(site)
        return plan.next_run(after=site.now, past=_named(site))
    except ValueError as error:
        logger.error("the schedule of %s cannot be used: %s Set it anew.", site.name, error)
        return None


def _named(site: Site) -> datetime | None:
    """Return the moment that the schedule named for the run that is due.

    A row of before that was kept had no spread. None where somebody moved the run by hand.
    """
    if site.next_named_at is None or site.next_run_at is None:
        return site.next_run_at
    return site.next_named_at if site.next_named_at <= site.next_run_at else None


def _read(field: str, read: Callable[[str], Any], text: str) -> Any:  # noqa: ANN401
    try:
        return read(text)
    except ValueError as error:
        raise InvalidFieldError(field, str(error)) from error
