"""What the coordinator sees to in the storages, a little in each round."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from django.db import InterfaceError, OperationalError

from backups.actions import checks, errands, prunings
from backups.actions.errands import Outcome
from backups.errors import NodeWorkError
from backups.models import Errand, ErrandKind

logger = logging.getLogger(__name__)

ANSWERS_AT_ONCE = 50

Finish = Callable[[Errand, dict[str, Any]], Outcome]
Refuse = Callable[[Errand, NodeWorkError], Outcome]
_HANDLERS: dict[str, tuple[Finish, Refuse]] = {
    ErrandKind.PRUNE: (prunings.finish, prunings.refuse),
    ErrandKind.CHECK: (checks.finish, checks.refuse),
}


def keep_house() -> int:
    """Take the answers that have come, and ask for what is due; return how many were taken."""
    taken = take_answers()
    prunings.start_due_prunings()
    checks.start_due_checks()
    return taken


def take_answers() -> int:
    """Do what follows from the nodes' answers that have come; return how many there were."""
    taken = 0
    waiting = errands.awaited().select_related("site", "node").defer("site__db_password")
    for errand in waiting[:ANSWERS_AT_ONCE]:
        try:
            taken += take_answer(errand)
        except (OperationalError, InterfaceError):
            raise  # the database is away, for the others as well
        except Exception:
            logger.exception("the answer to %s could not be used", errand.key)
    return taken


def take_answer(errand: Errand) -> bool:
    """Do what follows from the answer, if it has come; whether the errand is over."""
    return errands.settle(errand, *_HANDLERS[errand.kind])
