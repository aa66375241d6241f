"""Removing old backups: claimed first, then their objects, and only then their rows.

A node that reaches the storage is asked to look whether all that stays is there, and to delete
after that. The coordinator fetches the answer later. From the claim on nothing may begin to use a
backup, and only an answer that says it was left alone takes the claim back: one that never came
may mean that the object is gone, so the same is asked again. That goes for what a person deleted
as well, whatever became of the request (`backups.begin_deletion`).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import InterfaceError, OperationalError, transaction
from django.db.models import Q, QuerySet
from django.db.models.functions import Now

from backups.actions import errands
from backups.actions.audit import Fact, record_entry
from backups.actions.deadlocks import again_after_deadlock
from backups.actions.errands import Order, Outcome
from backups.actions.findings import note_findings
from backups.actions.questions import BAD_ANSWER
from backups.actions.transitions import seconds_from_now
from backups.actions.usage import usage_kept
from backups.errors import NodeWorkError
from backups.models import (
    AuditOutcome,
    AuditSource,
    Backup,
    Errand,
    ErrandKind,
    Node,
    Site,
)
from backups.queries import (
    audited_object,
    node_of_backup,
    node_that_reaches,
    nodes_with_live_workers,
)
from backups.queries.checks import recorded
from backups.queries.retention import Judged, RetentionPlan, keys_used, retention_plan
from backups.registry import NODE_BOUND_STORES

logger = logging.getLogger(__name__)

# Of one round of the coordinator, and of one question: nodes answer scans in between.
SITES_AT_ONCE, BACKUPS_AT_ONCE, MOST_LOOKED_AT = 10, 20, 60
# A broker that hangs makes each question take seconds, and the leadership has to be renewed.
MOST_SECONDS = 3.0
EVERY_SECONDS = 24 * 3600
# What the asked node cannot see itself was looked at by another one no longer ago.
FRESH = timedelta(days=2)
LOCKED = "object_locked"


def start_due_prunings() -> int:
    """Look at the sites whose turn it is, and ask for what is to go; return how many were asked.

    Where retention is off, what was begun is ended all the same.
    """
    sites = Site.objects.filter(_is_due()).select_related("node").defer("db_password")
    only_begun = not settings.HOLDFAST_RETENTION
    if only_begun:
        sites = sites.filter(pk__in=_begun().values("site"))
    started, until = 0, time.monotonic() + MOST_SECONDS
    for site in sites.order_by("retention_due_at", "pk")[:SITES_AT_ONCE]:
        if time.monotonic() > until:
            break
        try:
            started += _claim_turn(site) and prune_site(site, only_begun=only_begun)
        except (OperationalError, InterfaceError):
            raise  # the database is away, for the others as well
        except Exception:
            logger.exception("what is to go of %s could not be decided", site.name)
    return started


def prune_site(site: Site, *, only_begun: bool = False) -> bool:
    """Have what no rule keeps removed, a part of it at a time; whether a node was asked.

    `only_begun` is of what somebody deleted or an earlier answer left open. Why nobody was asked,
    if there is something to go, is on the site's errand.
    """
    if errands.awaited().filter(key=_key(site)).exists():
        return False
    plan = retention_plan(site)
    if not only_begun:
        _forget_failures(plan)
    going = [one for one in plan.going if one.backup.object_key
             and (one.decision.backup.is_going or not only_begun)]  # fmt: skip
    if not going:
        errands.forgive(_key(site))
        _next_turn(site, EVERY_SECONDS)
        return False
    node, batch = _together(going[:MOST_LOOKED_AT])
    staying = [one.backup for one in plan.kept if one.decision.backup.is_there
               and not one.decision.backup.is_broken]  # fmt: skip
    if reason := _unseen(staying, node):
        _postpone(site, node, reason)
        return False
    return _ask(site, node, batch[:BACKUPS_AT_ONCE], staying)


def finish(errand: Errand, answer: Mapping[str, Any]) -> Outcome:
    """Remove the rows whose objects are gone, and give back those that were left alone.

    What was claimed before this question may be gone by an earlier one, whose answer was lost: that
    it was left alone this time gives it back only if the storage says that it is there, or if the
    node found nothing at all.
    """
    asked = {one["id"]: one for one in errand.backups}
    problems = {int(key): words for key, words in answer["problems"].items()}
    deleted = set(answer["deleted"])
    removed = [key for key in deleted if key in asked and _remove(asked[key])]
    failed = {int(key): why for key, why in answer["failed"].items()}
    refused = {key for key, why in failed.items() if why["permanent"]}
    _give_back(refused | problems.keys() & asked.keys() | _fresh(errand) - deleted - failed.keys())
    note_findings(problems)
    for key, why in failed.items():
        if why["code"] == LOCKED:
            _note_lock(key, why.get("locked_until"))
    errors = [why["error"] for why in failed.values() if why["code"] != LOCKED]
    if problems:
        errors.append(_words_for(problems))
    assert errand.site is not None
    outcome = Outcome(len(removed), " ".join(dict.fromkeys(errors)))
    _next_turn(errand.site, errands.pause_after(errand.failures) if errors else 0)
    logger.info("removed %d old backups of %s", len(removed), errand.site.name)
    return outcome


def refuse(errand: Errand, error: NodeWorkError) -> Outcome:
    """Give the backups back that a node could not even look at."""
    if error.code != BAD_ANSWER:
        _give_back(_fresh(errand))
    assert errand.site is not None
    _next_turn(errand.site, errands.pause_after(errand.failures))
    return Outcome(error=error.message)


def _key(site: Site) -> str:
    return f"{ErrandKind.PRUNE}:{site.pk}"


def _claim_turn(site: Site) -> bool:
    """Move the site's turn on, if it still is: another coordinator may have been quicker.

    An hour from now, in case that nothing comes of it; what does sets the next one.
    """
    due = Site.objects.filter(_is_due(), pk=site.pk)
    return due.update(retention_due_at=seconds_from_now(3600)) == 1


def _is_due() -> Q:
    return Q(retention_due_at__isnull=True) | Q(retention_due_at__lte=Now())


def _next_turn(site: Site, seconds: int) -> None:
    Site.objects.filter(pk=site.pk).update(retention_due_at=seconds_from_now(seconds))


def _postpone(site: Site, node: Node, reason: str) -> None:
    errand = errands.fail(_key(site), ErrandKind.PRUNE, node, site, reason)
    _next_turn(site, errands.pause_after(errand.failures))


def _begun() -> QuerySet[Backup]:
    return Backup.objects.filter(removing_since__isnull=False)


def _together(going: Sequence[Judged]) -> tuple[Node, list[Judged]]:
    """Return a node, and those that it can remove from one storage: the newest that anybody can.

    What lies on a host that is away must not keep others waiting.
    """
    nodes = {one.backup.pk: node_that_reaches(one.backup) for one in going}
    alive = set(nodes_with_live_workers().values_list("pk", flat=True))
    reached = (one.backup for one in going if nodes[one.backup.pk].pk in alive)
    first = next(reached, going[0].backup)
    node = nodes[first.pk]
    near = (one for one in going if nodes[one.backup.pk] == node)
    return node, [one for one in near if one.backup.storage_id == first.storage_id]


def _sees(node: Node, backup: Backup) -> bool:
    return backup.storage.type not in NODE_BOUND_STORES or node_of_backup(backup) == node


def _unseen(staying: Sequence[Backup], node: Node) -> str:
    """Return why nothing may go yet: something that stays is where the node cannot look.

    A site that was moved has old bundles in a folder of its old node. The daily check of the
    other node stands in for a look of this one.
    """
    oldest = datetime.now(UTC) - FRESH
    for backup in staying:
        if not _sees(node, backup) and (backup.checked_at is None or backup.checked_at < oldest):
            return (
                f"{backup} stays, but nobody has looked lately whether it is there: "
                f"{node_of_backup(backup)} has to be running."
            )
    return ""


def _ask(site: Site, node: Node, batch: Sequence[Judged], staying: Sequence[Backup]) -> bool:
    claimed = _claim([one.backup.pk for one in batch])
    taken = [one for one in batch if one.backup.pk in claimed]
    if not taken:
        _next_turn(site, errands.SHORTEST_PAUSE)
        return False
    order = Order(
        key=_key(site),
        kind=ErrandKind.PRUNE,
        node=node,
        site=site,
        query="prune_objects",
        arguments={
            "storage_id": taken[0].backup.storage_id,
            "kept": [recorded(backup) for backup in staying if _sees(node, backup)],
            "going": [{"id": one.backup.pk, "key": one.backup.object_key} for one in taken],
        },
        backups=[
            {"id": one.backup.pk, "reason": one.decision.reasons[0],
             "is_fresh": claimed[one.backup.pk]}
            for one in taken
        ],
    )  # fmt: skip
    if errands.send(order):
        return True
    if not errands.awaited().filter(key=order.key).exists():
        # Nobody was asked: no worker of the node is alive.
        _give_back(key for key, is_fresh in claimed.items() if is_fresh)
        errand = Errand.objects.get(key=order.key)
        _next_turn(site, errands.pause_after(errand.failures))
    return False


@again_after_deadlock
def _claim(keys: Collection[int]) -> dict[int, bool]:
    """Mark the backups that nobody pinned or began to use since; from now on nobody can.

    Returns for each of them whether it was not marked before.
    """
    with transaction.atomic():
        rows = list(Backup.objects.select_for_update().filter(pk__in=keys).order_by("pk"))
        used = keys_used([row.pk for row in rows])
        free = {
            row.pk: row.removing_since is None
            for row in rows
            if row.pinned_at is None and row.pk not in used
        }
        unclaimed = Backup.objects.filter(pk__in=free, removing_since__isnull=True)
        unclaimed.update(removing_since=Now())
    return free


def _fresh(errand: Errand) -> set[int]:
    """Return what was claimed for just this question."""
    return {one["id"] for one in errand.backups if one.get("is_fresh", True)}


def _give_back(keys: Any) -> None:  # noqa: ANN401
    Backup.objects.filter(pk__in=list(keys)).update(removing_since=None)


@again_after_deadlock
def _remove(asked: Mapping[str, Any]) -> bool:
    """Remove a backup's row, and write down that it was; False if it is gone already."""
    backup = Backup.objects.filter(pk=asked["id"]).first()
    if backup is None:
        return False
    what = audited_object("backup", backup.pk)
    with usage_kept(backup.site_id):
        removed, _ = Backup.objects.filter(pk=backup.pk).delete()
    if removed and backup.object_key:
        record_entry(
            Fact(
                action="backup.prune",
                source=AuditSource.COORDINATOR,
                outcome=AuditOutcome.SUCCESS,
                what=what,
                actor_name="coordinator",
                detail=f"{backup.object_key}, {backup.size_bytes} bytes: {asked['reason']}",
            )
        )
    return bool(removed)


def _forget_failures(plan: RetentionPlan) -> None:
    """Remove the rows of old failures: there is no object, so nobody has to be asked."""
    for one in plan.going:
        if not one.backup.object_key:
            _remove({"id": one.backup.pk})


def _note_lock(key: int, locked_until: str | None) -> None:
    """Remember until when the storage refuses: retention leaves the backup alone until then."""
    until = datetime.fromisoformat(locked_until) if locked_until else None
    moment = until or datetime.now(UTC) + timedelta(days=1)
    Backup.objects.filter(pk=key).update(locked_until=moment)


def _words_for(problems: Mapping[int, str]) -> str:
    names = Backup.objects.filter(pk__in=problems.keys()).values_list("object_key", flat=True)
    first = next(iter(problems.values()))
    return (
        f"Nothing was removed, since not all that stays is as recorded: {', '.join(names[:3])}: "
        f"{first}"
    )
