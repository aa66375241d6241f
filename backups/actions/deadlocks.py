"""Beginning again what the database ended to let another transaction through."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from django.db import OperationalError, connection

logger = logging.getLogger(__name__)

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

ATTEMPTS = 5
# MariaDB error codes ER_LOCK_DEADLOCK and ER_LOCK_WAIT_TIMEOUT; PostgreSQL's SQLSTATEs
# deadlock_detected and serialization_failure.
_CODES = frozenset({1213, 1205, "40P01", "40001"})


def again_after_deadlock(act: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Have `act` tried again when its transaction was the one that lost a deadlock.

    InnoDB may lock the entries of several indexes for one UPDATE, in an order that is its own, so
    that even single statements can wait for each other; its manual tells to be ready to issue a
    transaction again ("How to Minimize and Handle Deadlocks"). Within somebody else's transaction
    nothing is tried again: that one has been rolled back as well.
    """

    @wraps(act)
    def act_again(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return act(*args, **kwargs)
            except OperationalError as error:
                if attempt == ATTEMPTS or connection.in_atomic_block or not lost_to_another(error):
                    raise
                logger.info("%s begins again after a deadlock", act.__name__)
        raise AssertionError("the last attempt returns or raises")

    return act_again


def lost_to_another(error: Exception) -> bool:
    """Return whether the database ended this transaction to let another one through."""
    if not isinstance(error, OperationalError):
        return False
    cause = error.__cause__
    code = getattr(cause, "sqlstate", None) or (cause.args[0] if cause and cause.args else None)
    return code in _CODES
