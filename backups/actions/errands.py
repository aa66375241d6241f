"""Questions to nodes whose answers the coordinator fetches later: it never stands still for one."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db.models import QuerySet
from django.db.models.functions import Now

from backups.actions import questions
from backups.actions.storable import storable
from backups.actions.transitions import seconds_from_now
from backups.errors import BrokerUnavailableError, NodeUnavailableError, NodeWorkError
from backups.models import Errand, ErrandKind, Node, Site

# A question that nobody took in ten minutes expires; a node that took it works on it for a while.
LOST_AFTER = timedelta(minutes=20)
SHORTEST_PAUSE, LONGEST_PAUSE = 60, 24 * 3600


@dataclass(frozen=True, slots=True)
class Order:
    """What a node is to be asked. `backups` are what the answer is about, as JSON."""

    key: str
    kind: ErrandKind
    node: Node
    query: str
    arguments: dict[str, Any]
    backups: Sequence[Mapping[str, Any]]
    site: Site | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an errand went: how many backups were seen to, and what was amiss.

    After an `error` it is left alone for a while, longer each time.
    """

    count: int = 0
    error: str = ""


def send(order: Order) -> bool:
    """Ask, unless an answer to the same is still to come; whether the question went out.

    A broker that does not answer may have the question all the same: then the answer is awaited
    like any other.
    """
    errand = row_of(order.key, order.kind, order.node, order.site)
    free = Errand.objects.filter(pk=errand.pk, task_id__isnull=True)
    backups = list(order.backups)
    values = {"node": order.node, "asked_at": Now(), "backups": backups}
    placeholder = uuid.uuid4()
    if not free.update(task_id=placeholder, **values):
        return False
    asked = Errand.objects.filter(pk=errand.pk, task_id=placeholder)
    try:
        task_id = questions.ask(node=order.node, query=order.query, arguments=order.arguments)
    except NodeUnavailableError as error:
        _close(asked, Outcome(error=error.message), errand.failures)
        return False
    except BrokerUnavailableError:
        return False
    return bool(asked.update(task_id=task_id))


def row_of(key: str, kind: ErrandKind, node: Node, site: Site | None = None) -> Errand:
    """Return the row that says how such an errand goes, made when it is the first time."""
    values = {"kind": kind, "node": node, "site": site}
    return Errand.objects.get_or_create(key=key, defaults=values)[0]


def fail(order_key: str, kind: ErrandKind, node: Node, site: Site | None, error: str) -> Errand:
    """Write down why nothing could even be asked; returns the row with its next time."""
    errand = row_of(order_key, kind, node, site)
    free = Errand.objects.filter(pk=errand.pk, task_id__isnull=True)
    _close(free, Outcome(error=error), errand.failures)
    return Errand.objects.get(pk=errand.pk)


def forgive(order_key: str) -> None:
    """Forget the failures of what there is no more to do about, unless an answer is to come."""
    failed = Errand.objects.filter(key=order_key, task_id__isnull=True, failures__gt=0)
    failed.update(failures=0, error="", not_before=None)


def awaited() -> QuerySet[Errand]:
    """Return the errands whose answer is to come, those that were asked first before others."""
    return Errand.objects.filter(task_id__isnull=False).order_by("asked_at", "pk")


def settle(
    errand: Errand,
    finish: Callable[[Errand, dict[str, Any]], Outcome],
    refuse: Callable[[Errand, NodeWorkError], Outcome],
) -> bool:
    """Take the answer, if it has come, and do what follows from it; whether the errand is over.

    `refuse` gets what the node answered when it could not do it. Whoever takes the answer first
    has it: what follows is done once, however many coordinators there are.
    """
    mine = Errand.objects.filter(pk=errand.pk, task_id=errand.task_id)
    try:
        body = questions.read_answer(task_id=str(errand.task_id))
    except NodeWorkError as error:
        return _take(mine) and _close_taken(errand, refuse(errand, error))
    if body is not None:
        return _take(mine) and _close_taken(errand, finish(errand, body))
    if not mine.filter(asked_at__lt=Now() - LOST_AFTER).exists():
        return False
    words = f"{errand.node} did not answer in {LOST_AFTER.seconds // 60} minutes"
    return bool(_close(mine, Outcome(error=words), errand.failures))


def pause_after(failures: int) -> int:
    """Return for how many seconds something is left alone that failed so often in a row."""
    return int(min(SHORTEST_PAUSE * 2 ** min(failures, 20), LONGEST_PAUSE))


def _take(mine: QuerySet[Errand]) -> bool:
    return mine.update(task_id=None) == 1


def _close_taken(errand: Errand, outcome: Outcome) -> bool:
    _close(Errand.objects.filter(pk=errand.pk, task_id__isnull=True), outcome, errand.failures)
    return True


def _close(errands: QuerySet[Errand], outcome: Outcome, failures: int) -> int:
    values: dict[str, Any] = {"error": storable(outcome.error), "task_id": None, "backups": []}
    if outcome.error:
        pause = pause_after(failures)
        values |= {"failures": failures + 1, "not_before": seconds_from_now(pause)}
    else:
        values |= {"failures": 0, "not_before": None, "done_at": Now()}
    if outcome.count or not outcome.error:
        values["done_count"] = outcome.count
    return errands.update(**values)
