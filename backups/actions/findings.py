"""What a look at stored objects showed: written to their rows, and told when it is news."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from typing import Any

from django.db.models.functions import Now

from backups.actions.audit import Fact, record_entry
from backups.actions.deadlocks import again_after_deadlock
from backups.actions.storable import storable
from backups.actions.usage import usage_kept
from backups.models import AuditOutcome, AuditSource, Backup
from backups.queries import audited_object

logger = logging.getLogger(__name__)

PROBLEM_CHARACTERS = 300  # of the column
# A folder whose disk is away has thousands: an entry names so many of a site's.
MOST_NAMED = 3
AMISS, WELL_AGAIN = "backup.amiss", "backup.well_again"


@dataclass(frozen=True, slots=True)
class News:
    """A backup that was found to be other than it was known to be; "" is as it was recorded."""

    key: int
    site_id: int
    name: str
    problem: str


def note_findings(
    found: Mapping[int, str], *, source: AuditSource = AuditSource.COORDINATOR
) -> None:
    """Write down what is amiss with each backup, "" for nothing, and that it was looked at.

    What is amiss counts as no copy any more. What is new goes to the log and the audit trail.
    Nothing is written of one that is being removed: its object may have gone since it was asked
    for.
    """
    problems = {key: storable(words)[:PROBLEM_CHARACTERS] for key, words in found.items()}
    rows = Backup.objects.filter(pk__in=problems, removing_since__isnull=True)
    rows = rows.order_by("site_id", "pk")
    news = [
        News(pk, site_id, key, problems[pk])
        for pk, site_id, key, before in rows.values_list(
            "pk", "site_id", "object_key", "check_problem"
        )
        if before != problems[pk]
    ]
    for site_id, of_site in groupby(news, attrgetter("site_id")):
        changed = list(of_site)
        _write(site_id, changed)
        _tell([one for one in changed if one.problem], AMISS, source)
        _tell([one for one in changed if not one.problem], WELL_AGAIN, source)
    rows.order_by().update(checked_at=Now())


@again_after_deadlock
def _write(site_id: int, news: list[News]) -> None:
    with usage_kept(site_id):
        for one in news:
            Backup.objects.filter(pk=one.key).update(check_problem=one.problem)


def _tell(news: list[News], action: str, source: AuditSource) -> None:
    """Say it once for all backups of a site: thousands at once are one cause."""
    if not news:
        return
    is_amiss = action == AMISS
    count = "A backup is" if len(news) == 1 else f"{len(news)} backups are"
    named = "; ".join(f"{one.name}: {one.problem}" if is_amiss else one.name
                      for one in news[:MOST_NAMED])  # fmt: skip
    detail = f"{count} {'not as recorded' if is_amiss else 'as recorded again'}: {named}"
    lone = len(news) == 1
    what = (
        audited_object("backup", news[0].key) if lone else audited_object("site", news[0].site_id)
    )
    log: Any = logger.warning if is_amiss else logger.info
    log("of %s: %s", what.label, detail)
    record_entry(
        Fact(
            action=action,
            source=source,
            outcome=AuditOutcome.FAILED if is_amiss else AuditOutcome.SUCCESS,
            what=what,
            actor_name=source.value,
            detail=detail,
        )
    )
