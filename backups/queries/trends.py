"""What the charts show: how backups went, day by day, and how they stand now. Days are UTC's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from django.db.models import (
    Avg,
    Case,
    Count,
    DurationField,
    ExpressionWrapper,
    F,
    IntegerField,
    Q,
    QuerySet,
    Value,
    When,
)
from django.db.models.functions import Now, TruncDate

from backups.models import Backup, BackupStatus, Job
from backups.states import JobState

# Upper bounds of the groups that ages fall into, and their names.
AGE_GROUPS: tuple[tuple[timedelta, str], ...] = (
    (timedelta(days=1), "1 day"),
    (timedelta(days=2), "2 days"),
    (timedelta(days=7), "1 week"),
    (timedelta(days=31), "1 month"),
)
OLDER, NEVER = "older", "never"


@dataclass(frozen=True, slots=True)
class DayOfJobs:
    """How the jobs that were queued on that day ended.

    `seconds` is how long those that completed took on average; None where none did.
    """

    day: date
    completed: int
    failed: int
    seconds: float | None


def days_until_today(number: int) -> list[date]:
    """Return that many days, today the last."""
    today = datetime.now(UTC).date()
    return [today - timedelta(days=back) for back in range(number - 1, -1, -1)]


def jobs_by_day(jobs: QuerySet[Job], days: Sequence[date]) -> list[DayOfJobs]:
    """Return the jobs' ends for each of the days."""
    ended = jobs.filter(state__in=(JobState.COMPLETED, JobState.FAILED))
    took = ExpressionWrapper(F("finished_at") - F("started_at"), output_field=DurationField())
    good = Q(state=JobState.COMPLETED)
    rows = (
        ended.filter(queued_at__gte=_midnight(days[0]))
        .order_by()
        .annotate(day=TruncDate("queued_at", tzinfo=UTC))
        .values("day")
        .annotate(
            completed=Count("pk", filter=good),
            failed=Count("pk", filter=~good),
            took=Avg(took, filter=good),
        )
    )
    found: dict[date, Any] = {row["day"]: row for row in rows}
    none: dict[str, Any] = {"completed": 0, "failed": 0, "took": None}
    return [_day_of_jobs(day, found.get(day, none)) for day in days]


def sizes_by_day(backups: QuerySet[Backup], days: Sequence[date]) -> list[float | None]:
    """Return how large good backups are on average, for each of the days; None where there is none.

    How long they took is asked of the jobs: to join these took six times as long.
    """
    rows = (
        backups.filter(status=BackupStatus.SUCCESS, created_at__gte=_midnight(days[0]))
        .order_by()
        .annotate(day=TruncDate("created_at", tzinfo=UTC))
        .values("day")
        .annotate(size=Avg("size_bytes"))
    )
    found: dict[date, float] = {row["day"]: row["size"] for row in rows}
    return [found.get(day) for day in days]


def ages_of_newest(sites: QuerySet[Any]) -> list[tuple[str, int]]:
    """Return how many of the sites have a newest good backup of which age, youngest first."""
    labels = [*(label for _, label in AGE_GROUPS), OLDER, NEVER]
    cases = [
        When(last_backup__gte=Now() - age, then=Value(index))
        for index, (age, _) in enumerate(AGE_GROUPS)
    ]
    group = Case(
        *cases,
        When(last_backup__isnull=False, then=Value(labels.index(OLDER))),
        default=Value(labels.index(NEVER)),
        output_field=IntegerField(),
    )
    rows = sites.order_by().annotate(group=group).values("group").annotate(number=Count("pk"))
    found = {row["group"]: row["number"] for row in rows}
    return [(label, found.get(index, 0)) for index, label in enumerate(labels)]


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def _day_of_jobs(day: date, row: dict[str, Any]) -> DayOfJobs:
    return DayOfJobs(day, row["completed"], row["failed"], _seconds(row["took"]))


def _seconds(took: timedelta | None) -> float | None:
    return None if took is None else max(0.0, took.total_seconds())
