"""The status objects that streams show: many at once, in a number of queries that does not grow."""

from __future__ import annotations

import uuid
from collections.abc import Collection
from typing import Any

from django.db.models import OuterRef, Subquery

from backups.models import Job, Site
from backups.queries.status import backup_status, job_status

# A site's id shows its newest job, a job's id that job.
Watched = int | uuid.UUID


def watched_statuses(keys: Collection[Watched]) -> dict[Watched, dict[str, Any]]:
    """Return the status object of each site and job; what does not exist is left out."""
    site_ids = [key for key in keys if isinstance(key, int)]
    newest = Job.objects.filter(site=OuterRef("pk")).order_by("-queued_at", "-pk")
    sites = Site.objects.filter(pk__in=site_ids).select_related("node").defer("db_password")
    with_newest = list(sites.annotate(newest=Subquery(newest.values("pk")[:1])))
    job_ids = {key for key in keys if isinstance(key, uuid.UUID)}
    wanted = job_ids | {site.newest for site in with_newest if site.newest is not None}
    jobs = Job.objects.select_related("node", "site").defer("site__db_password")
    found = jobs.prefetch_related("stages").in_bulk(wanted)
    shown: dict[Watched, dict[str, Any]] = {
        site.pk: backup_status(site, found.get(site.newest)) for site in with_newest
    }
    return shown | {key: job_status(found[key].site, found[key]) for key in job_ids & found.keys()}
