"""Figures of the whole installation for monitoring, whoever may see what of it.

A fixed number of queries however large it is. Ages are by the database's clock.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db.models import (
    Count,
    DurationField,
    ExpressionWrapper,
    F,
    Max,
    Q,
    Sum,
)
from django.db.models.functions import Now

from backups.models import (
    Errand,
    ErrandKind,
    Job,
    Leadership,
    Node,
    Site,
    Stage,
    Storage,
    Worker,
)
from backups.queries.checks import EVERY, stored_backups
from backups.queries.standing import nodes_with_live_workers
from backups.states import ACTIVE, JobState, StageState

STAGE_WINDOW = timedelta(hours=24)
# Each is looked at once a day: one look may be late.
UNCHECKED_AFTER = 2 * EVERY


@dataclass(frozen=True, slots=True)
class StageFigures:
    """What one kind of stage took, of the jobs of the last day; durations in seconds."""

    name: str
    count: int
    seconds_sum: float
    seconds_max: float
    bytes_sum: int
    bytes_max: int


@dataclass(frozen=True, slots=True)
class SiteAge:
    """How old a site's newest good backup is, and its last proof, in seconds; None without one.

    `restore_seconds` is what the trial restore took; `amiss` how many of its backups are not as
    they were recorded.
    """

    site_id: int
    name: str
    node: str
    seconds: float | None
    proof_seconds: float | None = None
    restore_seconds: float | None = None
    amiss: int = 0


def jobs_by_state() -> dict[str, int]:
    """Return how many jobs there are in each state."""
    found = Job.objects.order_by().values_list("state").annotate(Count("pk"))
    return {state.value: 0 for state in JobState} | dict(found)


def jobs_on_nodes() -> list[tuple[str, str, int]]:
    """Return node, state and number of the jobs that are active."""
    active = Job.objects.filter(state__in=ACTIVE).order_by()
    return list(active.values_list("node__name", "state").annotate(Count("pk")))


def jobs_without_worker() -> int:
    """Return how many active jobs wait on nodes that nobody works on now."""
    active = Job.objects.filter(state__in=ACTIVE)
    return active.exclude(node__in=nodes_with_live_workers().values("pk")).count()


def stage_figures() -> list[StageFigures]:
    """Return what the finished stages took of the jobs that were queued in the last 24 hours.

    By the jobs' index on `queued_at`: stages themselves are never searched.
    """
    recent = Stage.objects.filter(
        job__queued_at__gt=Now() - STAGE_WINDOW,
        state=StageState.COMPLETED,
        started_at__isnull=False,
        finished_at__isnull=False,
    )
    took = ExpressionWrapper(F("finished_at") - F("started_at"), output_field=DurationField())
    rows = (
        recent.order_by()
        .values("name")
        .annotate(
            count=Count("pk"),
            took_sum=Sum(took),
            took_max=Max(took),
            bytes_sum=Sum("bytes_processed"),
            bytes_max=Max("bytes_processed"),
        )
    )
    return [
        StageFigures(
            row["name"],
            row["count"],
            row["took_sum"].total_seconds(),
            row["took_max"].total_seconds(),
            int(row["bytes_sum"]),
            row["bytes_max"],
        )
        for row in rows
    ]


def site_ages() -> Iterator[SiteAge]:
    """Yield each site with the ages of its newest good backup and of its last proof."""
    rows = Site.objects.order_by().annotate(age=_age("last_backup"), proof=_age("proven_at"))
    wanted = ("pk", "name", "node__name", "age", "proof", "proven_seconds", "backups_amiss")
    for pk, name, node, age, proof, took, amiss in rows.values_list(*wanted).iterator():
        yield SiteAge(pk, name, node, _seconds(age), _seconds(proof), took, amiss)


def backups_unchecked() -> int:
    """Return how many stored backups nobody has looked at for so long that a look is missing."""
    old = Q(checked_at__isnull=True) | Q(checked_at__lt=Now() - UNCHECKED_AFTER)
    return stored_backups().filter(old).count()


def failing_prunings() -> list[dict[str, Any]]:
    """Return `site_id site__name node__name failures` of sites whose old backups do not go."""
    failing = Errand.objects.filter(kind=ErrandKind.PRUNE, failures__gt=0, site__isnull=False)
    wanted = ("site_id", "site__name", "node__name", "failures")
    return [dict(row) for row in failing.order_by("pk").values(*wanted)]


def nodes() -> list[dict[str, Any]]:
    """Return `name slots disk_percent is_enabled is_draining seconds` of each node.

    `seconds` is since its last sign of life, None if it never gave one.
    """
    fields = ("name", "slots", "disk_percent", "is_enabled", "is_draining")
    return _with_age(Node.objects.order_by("name"), "last_seen_at", *fields)


def workers() -> list[dict[str, Any]]:
    """Return `name node__name concurrency seconds` of each worker."""
    rows = Worker.objects.order_by("name")
    return _with_age(rows, "last_seen_at", "name", "node__name", "concurrency")


def storages() -> list[dict[str, Any]]:
    """Return `name type test_error seconds` of each storage; the last is since its newest test."""
    rows = Storage.objects.order_by("name")
    return _with_age(rows, "tested_at", "name", "type", "test_error")


def coordinator_leads() -> bool:
    """Return whether a coordinator holds the lead now."""
    return Leadership.objects.filter(expires_at__gt=Now()).exists()


def _with_age(rows: Any, since: str, *fields: str) -> list[dict[str, Any]]:  # noqa: ANN401
    found = rows.annotate(age=_age(since)).values(*fields, "age")
    return [{**row, "seconds": _seconds(row["age"])} for row in found]


def _age(field: str) -> ExpressionWrapper[Any]:
    return ExpressionWrapper(Now() - F(field), output_field=DurationField())


def _seconds(age: timedelta | None) -> float | None:
    """Return an age in seconds; clocks that differ a little must not make it negative."""
    return None if age is None else max(0.0, age.total_seconds())
