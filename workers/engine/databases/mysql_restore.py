"""Restores to MySQL and MariaDB: see `mysql_load` and `mysql_switch` for the two halves.

The user must be allowed to make databases named `<name>_hf_…` (hosts with panels grant that by a
pattern), or another account lends it that right (`mysql_lending`). Without it a restore is refused,
with the statement that grants it: to load beside
the live tables, into the same database, each name within the dump would have to be rewritten, in
foreign keys and triggers too, and the constraints' names would collide with the live ones.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from workers.engine.databases.base import SILENT, DatabaseSpec, unchecked
from workers.engine.databases.mysql import MySQLDatabase
from workers.engine.databases.mysql_client import MySQLClient, connected, quote_name, quote_text
from workers.engine.databases.mysql_load import load, scratch_database
from workers.engine.databases.mysql_switch import MySQLSwitch, Places
from workers.engine.databases.mysql_trial import NAME_BYTES, load_for_trial
from workers.engine.databases.scratch_names import scratch_name
from workers.engine.errors import EngineError
from workers.engine.progress import Reporter


class MySQLRestorer:
    """Restores to one database of a MySQL or MariaDB server. See `base.Restorer`."""

    def __init__(self, spec: DatabaseSpec, lenders: Sequence[DatabaseSpec] = ()) -> None:
        self._spec = spec
        self._lenders = lenders

    def prepare(
        self,
        pieces: Iterable[bytes],
        *,
        label: str,
        tables: Collection[str] | None = None,
        scratch_directory: str,
        check: Callable[[], None] = unchecked,
        reporter: Reporter = SILENT,
    ) -> MySQLSwitch:
        """See `Restorer.prepare`.

        With `tables`, `pieces` may be the dump's head and these tables' parts alone. Then a foreign
        key between one of them and a table that stays is refused.
        """
        places = self._places(label)
        with connected(self._spec, check) as client:
            self._refuse_unsettled(client, places)
        with scratch_database(
            self._spec, places.new, check, scratch_directory, self._lenders
        ) as client:
            scan = load(client, places.new, pieces, tables, reporter)
            came = _tables(client, places.new)
            if tables is not None:
                _require_all(tables, came)
                _refuse_foreign_keys(client, (places.live, places.new), tables)
                came = [name for name in came if name in tables]
            counts = _counts(scan.tables, came, tables)
            switch = self._switch(places, counts, check)
            switch.open_ledger(client, came, is_whole=tables is None)
        return switch

    def make_database(self, *, check: Callable[[], None] = unchecked) -> None:
        """See `Restorer.make_database`."""
        with connected(replace(self._spec, name="information_schema"), check) as client:
            name = quote_name(self._spec.name)
            client.execute(f"CREATE DATABASE IF NOT EXISTS {name} CHARACTER SET utf8mb4")

    def from_record(
        self, record: Mapping[str, Any], *, check: Callable[[], None] = unchecked
    ) -> MySQLSwitch:
        """See `Restorer.from_record`."""
        names = ("live", "new", "old", "ledger")
        return self._switch(Places(**{name: record[name] for name in names}), None, check)

    @contextlib.contextmanager
    def scratch(
        self,
        pieces: Iterable[bytes],
        *,
        label: str,
        scratch_directory: str,
        check: Callable[[], None] = unchecked,
        reporter: Reporter = SILENT,
    ) -> Iterator[MySQLDatabase]:
        """See `Restorer.scratch`."""
        places = self._places(label)
        spec = replace(self._spec, name=places.new)
        with scratch_database(self._spec, places.new, check, scratch_directory) as client:
            load_for_trial(client, places.new, pieces, reporter)
            yield MySQLDatabase(spec)
        with connected(self._spec, unchecked) as client:
            client.execute(f"DROP DATABASE IF EXISTS {quote_name(places.new)}")

    def drop_leftovers(
        self, labels: Iterable[str], *, check: Callable[[], None] = unchecked
    ) -> None:
        """See `Restorer.drop_leftovers`."""
        for label in labels:
            switch = self._switch(self._places(label), None, check)
            if not switch.is_switched():
                switch.revert()
            switch.discard()

    def _switch(
        self,
        places: Places,
        tables: Mapping[str, int | None] | None,
        check: Callable[[], None],
    ) -> MySQLSwitch:
        return MySQLSwitch(self._spec, places, tables, check, self._lenders)

    def _places(self, label: str) -> Places:
        name = self._spec.name
        return Places(
            live=name,
            new=scratch_name(name, label, limit=NAME_BYTES),
            old=scratch_name(name, label, "_old", limit=NAME_BYTES),
            ledger=f"hf_{label}_ledger",
        )

    def _refuse_unsettled(self, client: MySQLClient, places: Places) -> None:
        if client.query(
            "SELECT 1 FROM information_schema.SCHEMATA"  # noqa: S608
            f" WHERE SCHEMA_NAME = {quote_text(places.old)}"
        ):
            raise EngineError(
                f"An earlier restore left the database {places.old}, which may hold live tables",
                hint="Settle that restore first, by switching or reverting it.",
                permanent=True,
                code="restore_unsettled",
            )


def _tables(client: MySQLClient, database: str) -> list[str]:
    rows = client.query(
        "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_TYPE NOT LIKE '%VIEW'"  # noqa: S608
        f" AND TABLE_SCHEMA = {quote_text(database)} ORDER BY TABLE_NAME"
    )
    return [name for (name,) in rows]


def _counts(
    seen: Mapping[str, int | None], came: list[str], tables: Collection[str] | None
) -> dict[str, int | None]:
    """Return the rows of the tables that came; the dump's views as well for a whole one."""
    names = set(came)
    lost = [name for name, rows in seen.items() if rows is not None and name not in names]
    if lost and tables is None:
        raise EngineError(
            f"The server lacks tables that the dump has: {', '.join(sorted(lost)[:5])}",
            code="restore_incomplete",
        )
    return {name: rows for name, rows in seen.items() if tables is None or name in names}


def _require_all(tables: Collection[str], came: list[str]) -> None:
    if missing := sorted(set(tables) - set(came)):
        raise EngineError(
            f"The dump has no tables {', '.join(missing[:5])}",
            hint="Choose among the tables that the backup lists; views come with whole restores.",
            permanent=True,
            code="table_missing",
        )


def _refuse_foreign_keys(
    client: MySQLClient, databases: tuple[str, ...], tables: Collection[str]
) -> None:
    """Raise where a foreign key leads from or to a table that is not exchanged with the other."""
    listed = ", ".join(quote_text(name) for name in databases)
    rows = client.query(
        "SELECT TABLE_NAME, REFERENCED_TABLE_NAME"  # noqa: S608
        " FROM information_schema.REFERENTIAL_CONSTRAINTS"
        f" WHERE CONSTRAINT_SCHEMA IN ({listed})"
    )
    for child, parent in rows:
        if (child in tables) != (parent in tables):
            raise EngineError(
                f"A foreign key of table {child} refers to table {parent}, and only one of the two"
                " is to be restored",
                hint="Restore both, or the whole database.",
                permanent=True,
                code="tables_belong_together",
            )
