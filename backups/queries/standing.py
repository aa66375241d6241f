"""How nodes, sites and jobs stand."""

from __future__ import annotations

from datetime import timedelta
from functools import reduce
from operator import add
from typing import Any

from django.conf import settings
from django.db.models import (
    BooleanField,
    Case,
    Count,
    Exists,
    ExpressionWrapper,
    OuterRef,
    Q,
    QuerySet,
    Subquery,
    Value,
    When,
)
from django.db.models.functions import Coalesce, Now

from backups.models import Job, JobEvent, Node, Site, Worker
from backups.states import ADMITTED, JobKind, JobState

# One heartbeat may be late and one lost.
MISSED_HEARTBEATS = 3

_STATE_SHOWN = Case(When(reset_at__isnull=False, then=Value(str(JobState.RESET))), default="state")


def worker_silence() -> timedelta:
    """Return how long a worker may be silent before it counts as dead."""
    return timedelta(seconds=MISSED_HEARTBEATS * settings.HOLDFAST_HEARTBEAT_SECONDS)


def live_workers() -> QuerySet[Worker]:
    """Return the workers whose heartbeat is fresh, by the database's clock, and that stay."""
    fresh = Now() - worker_silence()
    return Worker.objects.filter(last_seen_at__gt=fresh, is_leaving=False)


def nodes_with_live_workers() -> QuerySet[Node]:
    """Return the enabled nodes that somebody works on now."""
    alive = live_workers().filter(node=OuterRef("pk"))
    return Node.objects.filter(Exists(alive), is_enabled=True)


def nodes_open_for_stages() -> QuerySet[Node]:
    """Return the nodes that may begin a stage, whether or not somebody is there to do it."""
    return Node.objects.filter(is_enabled=True, is_draining=False)


def nodes_with_standing(nodes: QuerySet[Node]) -> QuerySet[Any]:
    """Add `worker_count`, `active_jobs`, `queued_jobs` and `is_online` to nodes."""
    alive = live_workers().filter(node=OuterRef("pk"))
    return nodes.annotate(
        is_online=Exists(alive),
        worker_count=_count(alive.values("node")),
        # A state at a time: for several together MariaDB reads every job of the node.
        active_jobs=reduce(add, (_count(_jobs_of_node(state)) for state in sorted(ADMITTED))),
        queued_jobs=_count(_jobs_of_node(JobState.QUEUED)),
    )


def sites_with_usage(sites: QuerySet[Site]) -> QuerySet[Site]:
    """Add `newest_state` and `db_password_set` to sites; what they use are columns of theirs.

    `newest_state` is that of the newest job, `reset` if it was reset after its end;
    `db_password_set` says whether there is one: the secret itself stays unread, so that one that
    no key opens any more breaks nothing here.
    """
    newest = backup_jobs().filter(site=OuterRef("pk")).order_by("-queued_at")
    with_secret = ~Q(db_password="")
    return (
        sites.select_related("node", "storage")
        .defer("db_password", "storage__secrets")
        .annotate(
            newest_state=Subquery(newest.values(shown=_STATE_SHOWN)[:1]),
            db_password_set=ExpressionWrapper(with_secret, output_field=BooleanField()),
        )
    )


def backup_jobs() -> QuerySet[Job]:
    """Return the jobs that make backups: only they say how a site stands."""
    return Job.objects.filter(kind=JobKind.BACKUP)


def newest_job(site: Site) -> Job | None:
    """Return the site's newest backup job with what its status needs, no secrets, or None."""
    jobs = backup_jobs().filter(site=site).order_by("-queued_at")
    wanted = jobs.select_related("node", "site").defer("site__db_password")
    return wanted.prefetch_related("stages").first()


def log_of(job: Job) -> QuerySet[JobEvent]:
    """Return the job's log, oldest line first."""
    return job.events.order_by("id")


def _jobs_of_node(state: JobState) -> QuerySet[Job, Any]:
    jobs = Job.objects.filter(node=OuterRef("pk"), state=state)
    return jobs.order_by().values("node")


def _count(rows: QuerySet[Any, Any]) -> Coalesce:
    return Coalesce(Subquery(rows.order_by().annotate(number=Count("pk")).values("number")), 0)
