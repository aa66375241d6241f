"""Sites whose last restore was cut off, and that their node has not brought into one state yet."""

from __future__ import annotations

from django.db.models import QuerySet

from backups.actions.transitions import record
from backups.models import EventLevel, Job, Node
from backups.states import TERMINAL, JobKind

KIND = "waits_for_settling"
# Of a restore that is done: only what it replaced is still to be removed.
REPLACED_STAYS = "replaced_not_removed"
IN_PLACE = "in_place"
# Until these are done, fetching and checking, a restore has not come near the site.
UNTOUCHED_STAGES = 2


def without_unsettled(queued: QuerySet[Job], node: Node) -> QuerySet[Job]:
    """Leave out the jobs that have to wait until such a site is whole again, and tell them so.

    A backup would hold what is half old and half new, and a restore would be in the way of the one
    that is completed or taken back. The node's agent does that as soon as it is there. Proofs do
    not look at the site.
    """
    cut_off = node.jobs.filter(kind=JobKind.RESTORE, cleanup_pending=True, state__in=TERMINAL)
    cut_off = cut_off.filter(stages_done__gte=UNTOUCHED_STAGES).exclude(error_code=REPLACED_STAYS)
    found = cut_off.values_list("site_id", "parameters")
    sites = {site for site, asked in found if asked["target"] == IN_PLACE and not asked["dry_run"]}
    if not sites:
        return queued
    waiting = queued.filter(site__in=sites).exclude(kind=JobKind.VERIFY)
    for job in waiting.exclude(events__kind=KIND):
        record(
            job.pk,
            epoch=job.epoch,
            kind=KIND,
            level=EventLevel.WARNING,
            message=f"Waits until {node} has settled a restore of this site that was cut off",
        )
    return queued.exclude(pk__in=list(waiting.values_list("pk", flat=True)))
