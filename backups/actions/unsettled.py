"""Sites whose last restore was cut off, and that their node has not brought into one state yet."""

from __future__ import annotations

from django.db.models import QuerySet

from backups.actions.transitions import record
from backups.models import EventLevel, Job, Node
from backups.states import TERMINAL, JobKind

KIND = "waits_for_settling"
# Of a restore that is done: only what it replaced is still to be removed.
REPLACED_STAYS = "replaced_not_removed"


def without_unsettled(queued: QuerySet[Job], node: Node) -> QuerySet[Job]:
    """Leave out the jobs that have to wait until such a site is whole again, and tell them so.

    A backup would hold what is half old and half new, and a restore would be in the way of the one
    that is completed or taken back. The node's agent does that as soon as it is there. Proofs do
    not look at the site.
    """
    cut_off = node.jobs.filter(kind=JobKind.RESTORE, cleanup_pending=True, state__in=TERMINAL)
    cut_off = cut_off.exclude(error_code=REPLACED_STAYS)
    sites = set(cut_off.values_list("site_id", flat=True))
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
