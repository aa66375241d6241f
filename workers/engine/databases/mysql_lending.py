"""Lends a site's user the rights on scratch databases of exact names, and takes them back.

Many hosts let a site's user make no databases. Another account of the same server, which the node's
operator names, then grants that user everything on the one name, and nothing on any other. What the
user makes, loads, exchanges and drops is done as by users that need no help.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Sequence
from dataclasses import replace

from workers.engine.databases.base import DatabaseSpec
from workers.engine.databases.causes import DENIED
from workers.engine.databases.mysql_client import MySQLClient, connected, quote_name, quote_text
from workers.engine.errors import EngineError

# A database that every account may connect to, and that holds nothing of anybody.
MAINTENANCE = "information_schema"
# Two servers that agree in all of it are one: a host gives a port and a folder to one at a time.
_IDENTITY = "SELECT @@hostname, @@port, @@datadir, @@server_id, @@version"
WANTED = r"GRANT ALL PRIVILEGES ON `%\_hf\_%`.* TO the scratch account"


def is_denied(error: EngineError) -> bool:
    """Tell whether the server refused a statement for want of a right."""
    return "(42000)" in error.message or "denied" in error.message


def lend(client: MySQLClient, name: str, lenders: Sequence[DatabaseSpec]) -> bool:
    """Let the client's user do everything with the database `name`; False if nobody can.

    Raises a permanent `EngineError` where an account of the same server is not allowed to.
    """
    lender = _of_same_server(client, lenders)
    if lender is None:
        return False
    pattern = _pattern(client, name)
    try:
        _as_lender(lender, client, f"GRANT ALL PRIVILEGES ON {pattern}.* TO {_user_of(client)}")
    except EngineError as error:
        if not (error.permanent or is_denied(error)):
            raise
        raise EngineError(
            "The site's user may not make databases, and the scratch account may not let it make"
            f" {name}: {error.message}",
            hint=f"As an administrator: {WANTED} WITH GRANT OPTION.",
            permanent=True,
            code=DENIED.code,
        ) from error
    return True


def take_back(client: MySQLClient, names: Collection[str], lenders: Sequence[DatabaseSpec]) -> None:
    """Revoke what was lent on databases that are gone; nothing to take back is no error.

    Raises `EngineError` where that may succeed later. A right that nobody is left to take back is
    one on a name that no restore uses again.
    """
    if not lenders:
        return
    listed = ", ".join(quote_text(text) for name in names for text in (name, _escaped(name)))
    found = client.query(
        "SELECT DISTINCT TABLE_SCHEMA FROM information_schema.SCHEMA_PRIVILEGES"  # noqa: S608
        f" WHERE TABLE_SCHEMA IN ({listed})"
    )
    lender = _of_same_server(client, lenders) if found else None
    if lender is None:
        return
    user = _user_of(client)
    for (schema,) in found:
        try:
            _as_lender(
                lender, client, f"REVOKE ALL PRIVILEGES ON {quote_name(schema)}.* FROM {user}"
            )
        except EngineError as error:
            if not (error.permanent or is_denied(error)):
                raise


def _as_lender(lender: DatabaseSpec, client: MySQLClient, statement: str) -> None:
    with connected(replace(lender, name=MAINTENANCE), client.check) as other:
        other.execute(statement)


def _of_same_server(client: MySQLClient, lenders: Sequence[DatabaseSpec]) -> DatabaseSpec | None:
    """Return the first account whose server is the client's, asked by both connections."""
    own = client.query(_IDENTITY)
    for lender in lenders:
        # One that cannot be asked is another server, as far as anybody knows.
        with (
            contextlib.suppress(EngineError),
            connected(replace(lender, name=MAINTENANCE), client.check) as other,
        ):
            if other.query(_IDENTITY) == own:
                return lender
    return None


def _user_of(client: MySQLClient) -> str:
    """Return the account that the client is signed in as, as GRANT takes it."""
    [(account,)] = client.query("SELECT CURRENT_USER()")
    user, _at, host = account.rpartition("@")
    return f"{quote_name(user) if user else repr(user)}@{quote_name(host)}"


def _pattern(client: MySQLClient, name: str) -> str:
    """Return the name as it must stand in GRANT, where `_` and `%` match anything if not escaped.

    With `partial_revokes` MySQL takes names there as they are.
    """
    is_plain = client.query("SHOW VARIABLES LIKE 'partial_revokes'") == [("partial_revokes", "ON")]
    return quote_name(name if is_plain else _escaped(name))


def _escaped(name: str) -> str:
    return name.replace("\\", "\\\\").replace("_", "\\_").replace("%", "\\%")
