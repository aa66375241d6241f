"""What a person names on the command line; each error lists what there is."""

from __future__ import annotations

import re
import uuid

from django.core.management.base import CommandError
from django.db.models import QuerySet

from backups.actions.restores import CHECKPOINT_TRIGGER
from backups.models import Backup, BackupStatus, Job, Site

# Shorter beginnings of an id fit too many jobs to be meant.
SHORTEST_BEGINNING = 6


def find_site(wanted: str) -> Site:
    """Return the site with that id or name; raises `CommandError` unless there is exactly one."""
    sites = Site.objects.select_related("node")
    named = list(sites.filter(name=wanted))
    if not named and wanted.isdigit():
        named = list(sites.filter(pk=int(wanted)))
    if len(named) == 1:
        return named[0]
    if named:
        ids = ", ".join(f"{site.pk} on {site.node.name}" for site in named)
        raise CommandError(f"Several sites are called {wanted}; give one's id: {ids}.")
    known = ", ".join(Site.objects.values_list("name", flat=True)[:20]) or "none yet"
    raise CommandError(f"There is no site {wanted} (known: {known}).")


def find_backup(site: Site, wanted: str) -> Backup:
    """Return the site's newest good backup ("latest"), or the one with that id, whoever's it is.

    A checkpoint is what a site was just before a restore, thus most likely what somebody wants to
    be rid of: that one has to be named.
    """
    rows = Backup.objects.select_related("storage", "site__node", "job__node")
    good = rows.filter(status=BackupStatus.SUCCESS)
    if wanted.isdigit():
        found = good.filter(pk=int(wanted)).first()
    else:
        whole = good.filter(is_suspect=False, check_problem="", removing_since__isnull=True)
        newest = whole.filter(site=site).exclude(job__trigger=CHECKPOINT_TRIGGER)
        found = newest.first() if wanted == "latest" else None
    if found is None:
        recent = good.filter(site=site)[:5]
        known = ", ".join(f"{one.pk} ({one.created_at:%Y-%m-%d %H:%M})" for one in recent)
        raise CommandError(f"There is no good backup {wanted} (of {site.name}: {known or 'none'}).")
    return found


def find_job(wanted: str) -> Job:
    """Return the job with that id or beginning of one, or the newest of the site of that name.

    Raises `CommandError` unless there is exactly one.
    """
    jobs = Job.objects.select_related("site__node", "node").order_by("-queued_at")
    found = list(_named_jobs(jobs, wanted)[:2])
    if len(found) == 1:
        return found[0]
    if found:
        raise CommandError(f"Several jobs begin with {wanted}; give more of the id.")
    if not Site.objects.filter(name=wanted).exists():
        raise CommandError(f"There is no job {wanted}. See: manage.py job list")
    job = jobs.filter(site=find_site(wanted)).first()
    if job is None:
        raise CommandError(f"{wanted} has no job yet. Start one: manage.py backup {wanted}")
    return job


def _named_jobs(jobs: QuerySet[Job], wanted: str) -> QuerySet[Job]:
    try:
        return jobs.filter(pk=uuid.UUID(wanted))
    except ValueError:
        is_beginning = re.fullmatch(r"[0-9a-fA-F-]+", wanted) and len(wanted) >= SHORTEST_BEGINNING
        return jobs.filter(pk__startswith=wanted.lower()) if is_beginning else jobs.none()
