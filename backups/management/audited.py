"""Commands that write are in the audit trail, as whoever is signed in to the host."""

from __future__ import annotations

import os
import pwd
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from django.core.management.base import CommandError

from backups.actions.audit import Fact, record_entry
from backups.errors import DomainError
from backups.models import AuditOutcome, AuditSource
from backups.queries import AuditedObject


@contextmanager
def audited(action: str, what: Callable[[], AuditedObject]) -> Iterator[None]:
    """Write down how the block ended; `what` is asked afterwards, when a new row is there.

    What the block raises goes on.
    """
    try:
        yield
    except (CommandError, DomainError) as error:
        _record(action, what, AuditOutcome.REFUSED, str(error))
        raise
    except Exception as error:
        _record(action, what, AuditOutcome.FAILED, type(error).__name__)
        raise
    _record(action, what, AuditOutcome.SUCCESS)


def system_user() -> str:
    """Return the system's name of who runs this process; the environment could claim any."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


def _record(
    action: str, what: Callable[[], AuditedObject], outcome: AuditOutcome, detail: str = ""
) -> None:
    try:
        found = what()
    except Exception:
        # The database is away, or the row is: the entry is made all the same.
        found = AuditedObject(action.partition(".")[0])
    fact = Fact(
        action=action,
        source=AuditSource.COMMAND,
        outcome=outcome,
        what=found,
        actor_name=f"command:{system_user()}",
        detail=detail,
    )
    record_entry(fact)
