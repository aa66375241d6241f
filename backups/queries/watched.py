"""The status objects that streams show: many at once, in a number of queries that does not grow."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from django.contrib.auth import get_user_model
from django.db.models import (
    Case,
    Count,
    OuterRef,
    QuerySet,
    Subquery,
    Value,
    When,
    Window,
)

from backups.models import Job, Node, Site, Stage
from backups.queries.standing import backup_jobs
from backups.queries.status import StageRow, backup_status, job_status
from backups.queries.visibility import jobs_visible_to
from backups.roles import Person, Role
from backups.states import ACTIVE, JobState

# What a status object is made of; what else these rows hold may be long, or secret.
_OF_SITE = ("name", "node")
_OF_JOB = (
    *("kind", "site", "node", "state", "reset_at", "stages_done", "progress", "worker"),
    *("warnings", "error_message", "error_hint", "started_at", "finished_at"),
    *("stop_requested_at", "parameters"),
)
# A page shows no more bars than these; the total says how many there are.
JOBS_SHOWN = 50


@dataclass(frozen=True, slots=True)
class Running:
    """The active jobs that a user may see, of all nodes or of one.

    The user is None for super admins: what all of them see is looked up once.
    """

    user_id: int | None
    node_id: int | None = None


# A site's id shows its newest job, a job's id that job.
Watched = int | uuid.UUID | Running


def running_for(user: Person, node_id: int | None = None) -> Running:
    """Return what shows the active jobs that the user may see."""
    return Running(None if user.role == Role.SUPER_ADMIN else user.pk, node_id)


def watched_statuses(keys: Collection[Watched]) -> dict[Watched, dict[str, Any]]:
    """Return what each key shows; what does not exist is left out.

    That is the status object of a site or a job, and `{"jobs": […], "total": n}` of `Running`,
    the furthest along first. Of the queries only those for who sees what grow, with the number of
    users who watch a `Running`.
    """
    site_ids = [key for key in keys if isinstance(key, int)]
    newest = backup_jobs().filter(site=OuterRef("pk")).order_by("-queued_at", "-pk")
    sites = Site.objects.filter(pk__in=site_ids).only(*_OF_SITE)
    with_newest = list(sites.annotate(newest=Subquery(newest.values("pk")[:1])))
    lists = _running({key for key in keys if isinstance(key, Running)})
    job_ids = {key for key in keys if isinstance(key, uuid.UUID)}
    wanted = job_ids | {site.newest for site in with_newest if site.newest is not None}
    in_lists: set[uuid.UUID] = set().union(*(listed for listed, _ in lists.values()))
    found = _with_sites(Job.objects.only(*_OF_JOB).in_bulk(wanted | in_lists), with_newest)
    stages = _stages(found.keys())
    shown: dict[Watched, dict[str, Any]] = {
        site.pk: backup_status(site, found.get(site.newest), stages[site.newest])
        for site in with_newest
    }
    of_jobs = {
        job_id: job_status(found[job_id].site, found[job_id], stages[job_id])
        for job_id in (job_ids | in_lists) & found.keys()
    }
    shown |= {key: of_jobs[key] for key in job_ids & of_jobs.keys()}
    for key, (listed, total) in lists.items():
        # One that was deleted a moment ago is of no interest.
        statuses = [of_jobs[job_id] for job_id in listed if job_id in of_jobs]
        shown[key] = {"jobs": statuses, "total": total}
    return shown


def _with_sites(jobs: dict[uuid.UUID, Job], known: list[Any]) -> dict[uuid.UUID, Job]:
    """Give jobs and known sites their node, and jobs their site; without those that have none now.

    One object for each node and site: a join would make one for each row.
    """
    sites: dict[int, Site] = {site.pk: site for site in known}
    missing = {job.site_id for job in jobs.values()} - sites.keys()
    sites |= Site.objects.only(*_OF_SITE).in_bulk(missing) if missing else {}
    jobs = {job_id: job for job_id, job in jobs.items() if job.site_id in sites}
    rows: list[Job | Site] = [*jobs.values(), *known]
    nodes = Node.objects.only("name").in_bulk({row.node_id for row in rows})
    for row in rows:
        row.node = nodes[row.node_id]
    for job in jobs.values():
        job.site = sites[job.site_id]
    return jobs


def _stages(jobs: Collection[uuid.UUID]) -> defaultdict[uuid.UUID | None, list[StageRow]]:
    stages: defaultdict[uuid.UUID | None, list[StageRow]] = defaultdict(list)
    rows = Stage.objects.filter(job__in=jobs).order_by().values_list("job", *StageRow._fields)
    for job_id, *columns in rows:
        stages[job_id].append(StageRow(*columns))
    return stages


def _running(keys: set[Running]) -> dict[Running, tuple[list[uuid.UUID], int]]:
    """Return for each key the jobs to show and how many there are; without users that are gone."""
    ids = {key.user_id for key in keys if key.user_id is not None}
    people = get_user_model()._default_manager.in_bulk(ids) if ids else {}
    visible: dict[Running, QuerySet[Job]] = {
        key: Job.objects.all() if key.user_id is None else jobs_visible_to(people[key.user_id])
        for key in keys
        if key.user_id is None or key.user_id in people
    }
    return {key: _furthest(jobs, key.node_id) for key, jobs in visible.items()}


def _furthest(jobs: QuerySet[Job], node_id: int | None) -> tuple[list[uuid.UUID], int]:
    active = jobs.filter(state__in=ACTIVE)
    active = active if node_id is None else active.filter(node=node_id)
    waits = Case(When(state=JobState.QUEUED, then=Value(1)), default=Value(0))
    # Those that wait stand as they will be admitted.
    ordered = active.order_by(waits, "-stages_done", "-progress", "-priority", "queued_at", "pk")
    rows = ordered.values_list("pk", Window(Count("pk")))[:JOBS_SHOWN]
    listed = list(rows)
    return [pk for pk, _ in listed], listed[0][1] if listed else 0
