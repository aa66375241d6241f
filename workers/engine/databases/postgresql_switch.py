"""Exchanges a PostgreSQL database with the one into which a dump was loaded.

A dump holds more than tables: extensions, large objects, types, settings of whole databases. So it
is loaded into a database of its own, and both are renamed in one transaction, which the server
keeps or forgets as a whole. Databases are known by their number, which no renaming changes: so it
can always be told how far an exchange came.

A database cannot be renamed while somebody is connected. So connections are forbidden and ended
just before, and the sites' own find the new database when they connect again.

A client that was killed may leave the server at work on its last statement. So each session takes
a lock first, and looks at the names only when the last one has ended.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from workers.engine.databases.base import DatabaseSpec, unchecked
from workers.engine.databases.postgresql import ask
from workers.engine.databases.sqlite_text import quote_name
from workers.engine.errors import EngineError

TRIES = 3
MAINTENANCE_DATABASES = ("postgres", "template1")


@dataclass(frozen=True, slots=True)
class Places:
    """The three names, and the numbers of the live database and of the loaded one."""

    live: str
    new: str
    old: str
    live_number: int
    new_number: int


class Maintenance:
    """Statements about databases, run from another one than those that they are about."""

    def __init__(self, spec: DatabaseSpec, check: Callable[[], None] = unchecked) -> None:
        self._spec = spec
        self._check = check
        self._from = ""
        self._lock = lock_statement(spec.name)

    def ask(self, statements: str, *, is_writing: bool = True) -> list[tuple[str, ...]]:
        """See `postgresql.ask`."""
        if not self._from:
            self._from = self._reachable()
        spec = replace(self._spec, name=self._from)
        return ask(spec, f"{self._lock};\n{statements}", check=self._check, is_writing=is_writing)

    def numbers(self) -> dict[int, str]:
        """Return the names of all databases by their numbers."""
        rows = self.ask("SELECT oid, datname FROM pg_database", is_writing=False)
        return {int(number): name for number, name in rows}

    def drop(self, name: str) -> None:
        """Drop a database as far as it is there, whoever is connected to it."""
        self.ask(f"DROP DATABASE IF EXISTS {quote_name(name)} WITH (FORCE)")

    def allow_connections(self, name: str, *, allowed: bool = True) -> None:
        """Let new connections to a database in, or refuse them."""
        word = "true" if allowed else "false"
        self.ask(f"ALTER DATABASE {quote_name(name)} WITH ALLOW_CONNECTIONS {word}")

    def end_connections(self, *names: str) -> None:
        """End the connections to databases, as far as the user may."""
        listed = ", ".join(quote_text(name) for name in names)
        self.ask(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity a"  # noqa: S608
            f" WHERE datname IN ({listed}) AND pid <> pg_backend_pid() AND usesysid IS NOT NULL"
            " AND pg_has_role(current_user, usesysid, 'MEMBER')"
        )

    def _reachable(self) -> str:
        for name in MAINTENANCE_DATABASES[:-1]:
            with contextlib.suppress(EngineError):
                ask(replace(self._spec, name=name), "SELECT 1", check=self._check)
                return name
        return MAINTENANCE_DATABASES[-1]


class PostgreSQLSwitch:
    """See `base.DatabaseSwitch`; for whole databases."""

    def __init__(
        self,
        spec: DatabaseSpec,
        places: Places,
        tables: Mapping[str, int | None] | None = None,
        check: Callable[[], None] = unchecked,
    ) -> None:
        self.tables: Mapping[str, int | None] = tables or {}
        self._spec = spec
        self._places = places
        self._server = Maintenance(spec, check)

    @property
    def loaded(self) -> DatabaseSpec | None:
        """See `DatabaseSwitch.loaded`."""
        return replace(self._spec, name=self._places.new)

    def record(self) -> Mapping[str, Any]:
        """See `Switch.record`."""
        return {"engine": "postgresql", "what": "database", **asdict(self._places)}

    def switch(self) -> None:
        """See `Switch.switch`."""
        places, names = self._places, self._server.numbers()
        if names.get(places.new_number) == places.live:
            return
        if places.new_number not in names or places.live_number not in names:
            raise EngineError(
                f"There is no database {places.new} with what is to be restored, or no"
                f" {places.live} that it is to replace",
                hint="Start the restore again.",
                permanent=True,
                code="restore_lost",
            )
        try:
            self._exchange(places.live, places.old, places.new)
        except BaseException:
            with contextlib.suppress(EngineError):
                self.revert()
            raise

    def revert(self) -> None:
        """See `Switch.revert`."""
        places, names = self._places, self._server.numbers()
        if names.get(places.live_number) == places.old:
            self._exchange(places.live, places.new, places.old)
        elif names.get(places.live_number) == places.live:
            self._server.allow_connections(places.live)

    def discard(self) -> None:
        """See `Switch.discard`."""
        places, names = self._places, self._server.numbers()
        ours = {places.live_number, places.new_number}
        if not any(names.get(number) == places.live for number in ours):
            raise EngineError(
                f"Neither the old nor the new database is called {places.live}",
                hint="Switch again, or revert, before discarding.",
                code="restore_unsettled",
            )
        for number in ours:
            if names.get(number) in {places.new, places.old}:
                self._server.drop(names[number])

    def _exchange(self, live: str, aside: str, coming: str) -> None:
        """Rename `live` to `aside` and `coming` to `live`, in one transaction."""
        first, second, third = (quote_name(name) for name in (live, aside, coming))
        renames = (
            f"BEGIN; ALTER DATABASE {first} RENAME TO {second};"
            f" ALTER DATABASE {third} RENAME TO {first};"
            f" ALTER DATABASE {first} WITH ALLOW_CONNECTIONS true; COMMIT"
        )
        self._server.allow_connections(live, allowed=False)
        for left in reversed(range(TRIES)):
            self._server.end_connections(live, coming)
            try:
                self._server.ask(renames)
                return
            except EngineError:
                if not left:
                    raise


def lock_statement(name: str) -> str:
    """Return a statement without an answer that waits until no other session of ours is there."""
    key = f"hashtextextended({quote_text('holdfast ' + name)}, 0)"
    # Nothing is NULL here: so there is a lock, and no row.
    return f"SET lock_timeout = '120s'; SELECT 1 WHERE (SELECT pg_advisory_lock({key})) IS NULL"


def quote_text(value: str) -> str:
    """Return text as it must stand in a statement, whatever the session's settings are."""
    escaped = value.replace("\\", "\\\\").replace("'", "''")
    return f" E'{escaped}'"
