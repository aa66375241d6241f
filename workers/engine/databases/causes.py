"""Why a database client failed, in the words that a person needs to act."""

from __future__ import annotations

from typing import NamedTuple

from workers.engine.errors import EngineError
from workers.engine.process import ProcessFailed


class Cause(NamedTuple):
    """What an error of the server or its client means for a backup."""

    code: str
    permanent: bool
    hint: str


REFUSED = Cause(
    "credentials_refused",
    True,
    "Check the user, the password and the host that the user may sign in from.",
)
UNKNOWN = Cause(
    "database_unknown",
    True,
    "Check the database's name; it may have been renamed or dropped.",
)
DENIED = Cause(
    "privileges_missing",
    True,
    "Grant the user the right to read everything in the database"
    " (MySQL: SELECT, SHOW VIEW, TRIGGER, EVENT; PostgreSQL: pg_read_all_data, BYPASSRLS).",
)
AWAY = Cause(
    "server_unreachable",
    False,
    "Check that the database server runs and answers at this host, port or socket.",
)
LOST = Cause(
    "connection_lost",
    False,
    "The server ended the connection or went away: look at its error log.",
)
BUSY = Cause("server_busy", False, "The server was too busy, or a lock was held for too long.")
CHANGED = Cause("schema_changed", False, "A table's structure changed during the dump: try again.")
DAMAGED = Cause(
    "table_damaged",
    True,
    "The named table cannot be read: have the server check and repair it, then back up again.",
)
PLUGIN = Cause(
    "client_too_old",
    True,
    "This client cannot speak to this server or user: install the server's own client, of the"
    " server's version or newer.",
)
PACKET = Cause(
    "row_too_large",
    True,
    "A row is larger than the server's max_allowed_packet: raise it on the server.",
)


def explained(failure: ProcessFailed, doing: str, cause: Cause | None) -> EngineError:
    """Return the error that says what failed while `doing` (as in "The dump of x").

    Without a known cause it is temporary: trying again is the safe guess for a backup.
    """
    message = f"{doing} failed: {failure.message}"
    if cause is None:
        return EngineError(message, code="database_failed")
    return EngineError(message, hint=cause.hint, permanent=cause.permanent, code=cause.code)
