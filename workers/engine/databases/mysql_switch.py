"""Exchanges the tables of a MySQL or MariaDB database with those of a scratch database.

Three databases: the live one, the new one into which a dump was loaded, and the old one, which
takes what the live one had. One `RENAME TABLE` moves all tables, old and new; with them it moves a
table of ours, the ledger, from the new to the old database. So wherever somebody was cut off, the
place of the ledger says whether the tables were exchanged, and what it holds says what else is to
be done. In order:

1. the live database's views, triggers, routines and events are written into the ledger;
2. its triggers (which `RENAME` refuses to move) and views are dropped;
3. the tables are moved, by the one statement;
4. the new views, triggers, routines and events are made, from the ledger.

`revert` undoes 3 where it was done, then makes again what 2 dropped. Servers before MariaDB 10.6
and MySQL 8 may be killed amid a `RENAME` of many tables: both methods look at each table's place,
not at the ledger's alone, so they complete what was begun.

A client that was killed leaves the server at work on its last statement, maybe the `RENAME`. So
each session of ours takes a lock by name first, and looks at the state only when the last one has
ended.

A view that could not be read before (it lacks a table) cannot be made again by `revert`.

Whole restores: tables and views that the dump does not have go to the old database. Routines and
events that it does not have stay: it may lack them for want of a right. Some tables only: nothing
else is touched, but for their triggers.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from workers.engine.databases.base import DatabaseSpec, unchecked
from workers.engine.databases.mysql_client import MySQLClient, connected, quote_name, quote_text
from workers.engine.databases.mysql_inspect import broken_views
from workers.engine.databases.mysql_lending import take_back
from workers.engine.databases.mysql_load import create
from workers.engine.databases.mysql_objects import (
    CodeObject,
    create_statements,
    drop_statements,
    read_objects,
)
from workers.engine.errors import EngineError

LOCK_WAIT_SECONDS = 60
SESSION_WAIT_SECONDS = 120


@dataclass(frozen=True, slots=True)
class Places:
    """The names of the three databases and of the ledger."""

    live: str
    new: str
    old: str
    ledger: str

    @property
    def new_ledger(self) -> str:
        """The ledger's quoted name before the tables are exchanged."""
        return f"{quote_name(self.new)}.{quote_name(self.ledger)}"

    @property
    def old_ledger(self) -> str:
        """The ledger's quoted name after the tables were exchanged."""
        return f"{quote_name(self.old)}.{quote_name(self.ledger)}"


@dataclass(frozen=True, slots=True)
class _State:
    """Where each table is now, and what the ledger says."""

    live: frozenset[str]
    new: frozenset[str]
    old: frozenset[str]
    databases: frozenset[str]
    ledger: str  # its quoted name, "" where there is none
    incoming: tuple[str, ...]
    is_whole: bool
    new_code: list[CodeObject]
    old_code: list[CodeObject] | None  # None until it was written down

    def affected(self, code: CodeObject) -> bool:
        """Whether the exchange replaces `code` of the live database."""
        if code.kind == "TRIGGER":
            return self.is_whole or code.table in self.incoming
        if code.kind == "VIEW":
            return self.is_whole
        return any((code.kind, code.name) == (new.kind, new.name) for new in self.new_code)


class MySQLSwitch:
    """See `base.DatabaseSwitch`."""

    def __init__(
        self,
        spec: DatabaseSpec,
        places: Places,
        tables: Mapping[str, int | None] | None = None,
        check: Callable[[], None] = unchecked,
        lenders: Sequence[DatabaseSpec] = (),
    ) -> None:
        self.tables: Mapping[str, int | None] = tables or {}
        self._spec = spec
        self._places = places
        self._check = check
        self._lenders = lenders

    @property
    def loaded(self) -> DatabaseSpec | None:
        """See `DatabaseSwitch.loaded`."""
        return replace(self._spec, name=self._places.new)

    def record(self) -> Mapping[str, Any]:
        """See `Switch.record`."""
        return {"engine": "mysql", **asdict(self._places)}

    def switch(self) -> None:
        """See `Switch.switch`."""
        places = self._places
        with connected(self._spec, self._check) as client:
            state = self._state(client)
            if not state.ledger:
                raise EngineError(
                    f"There is no database {places.new} with what is to be restored",
                    hint="Start the restore again.",
                    permanent=True,
                    code="restore_lost",
                )
            if state.ledger == places.new_ledger:
                state = self._write_down(client, state)
                assert state.old_code is not None
                replaced = [code for code in state.old_code if code.kind in {"TRIGGER", "VIEW"}]
                self._execute(
                    client, drop_statements(replaced) + self._renames(self._forward(state))
                )
            replaced = [code for code in state.old_code or () if code.kind in {"TRIGGER", "VIEW"}]
            self._execute(client, drop_statements(replaced) + create_statements(state.new_code))

    def revert(self) -> None:
        """See `Switch.revert`. Tables that somebody has made since `switch` stay."""
        with connected(self._spec, self._check) as client:
            state = self._state(client)
            if state.old_code is None:
                return
            self._execute(client, drop_statements(state.new_code))
            if moves := list(self._backward(state)):
                self._execute(client, self._renames(moves))
            self._execute(client, create_statements(state.old_code))
            forget = f"DELETE FROM {self._places.new_ledger} WHERE part = 'old'"  # noqa: S608
            self._execute(client, forget)

    def discard(self) -> None:
        """See `Switch.discard`."""
        places = self._places
        with connected(self._spec, self._check) as client:
            state = self._state(client)
            if state.ledger == places.old_ledger:
                unsettled = [table for table in state.incoming if table in state.new]
                order = (places.new, places.old)
            else:
                unsettled = sorted(state.old)
                order = (places.old, places.new)
            # Without a ledger one of the two is half dropped, the other was before.
            if unsettled and (state.ledger or places.new in state.databases):
                raise EngineError(
                    f"Tables of database {places.live} are still in {places.new} or {places.old}:"
                    f" {', '.join(unsettled[:5])}",
                    hint="Switch again, or revert, before discarding.",
                    code="restore_unsettled",
                )
            for name in order:
                if name in state.databases:
                    self._execute(client, f"DROP DATABASE IF EXISTS {quote_name(name)}")
            take_back(client, order, self._lenders)

    def is_switched(self) -> bool:
        """Whether the live tables are those of the dump."""
        with connected(self._spec, self._check) as client:
            return self._state(client).ledger == self._places.old_ledger

    def open_ledger(self, client: MySQLClient, tables: list[str], *, is_whole: bool) -> None:
        """Write down what is to come, and take out of the new database what must not be moved."""
        there = MySQLClient(
            replace(client.spec, name=self._places.new), client.options, self._check
        )
        kinds = ("FUNCTION", "PROCEDURE", "VIEW", "TRIGGER", "EVENT") if is_whole else ("TRIGGER",)
        code = read_objects(there, kinds=kinds)
        document = {"tables": tables, "whole": is_whole, "code": [asdict(each) for each in code]}
        client.execute(
            f"CREATE TABLE {self._places.new_ledger} (part VARCHAR(3) PRIMARY KEY,"
            " document LONGTEXT) ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4;"
            + self._insert("new", document)
        )
        there.execute(drop_statements(each for each in code if each.kind in {"TRIGGER", "EVENT"}))

    def _execute(self, client: MySQLClient, statements: str) -> None:
        client.execute(f"DO {self._lock()};\n{statements}")

    def _lock(self) -> str:
        return f"GET_LOCK({quote_text(self._places.new)}, {SESSION_WAIT_SECONDS})"

    def _insert(self, part: str, document: object) -> str:
        text = quote_text(json.dumps(document))
        return f"INSERT INTO {self._places.new_ledger} VALUES ('{part}', {text})"  # noqa: S608

    def _write_down(self, client: MySQLClient, state: _State) -> _State:
        """Keep in the ledger what of the live database's code the exchange replaces."""
        if state.old_code is None:
            code = [each for each in read_objects(client) if state.affected(each)]
            broken = broken_views(client, [each.name for each in code if each.kind == "VIEW"])
            code = [each for each in code if each.kind != "VIEW" or each.name not in broken]
            create(client, self._places.old, anew=False, lenders=self._lenders)
            self._execute(client, self._insert("old", {"code": [asdict(each) for each in code]}))
            state = replace(state, old_code=code)
        return state

    def _forward(self, state: _State) -> Iterator[tuple[str, str, str]]:
        places = self._places
        for table in state.incoming:
            if table in state.new:
                if table in state.live:
                    yield table, places.live, places.old
                yield table, places.new, places.live
        if state.is_whole:
            for table in sorted(state.live - set(state.incoming)):
                yield table, places.live, places.old
        yield places.ledger, places.new, places.old

    def _backward(self, state: _State) -> Iterator[tuple[str, str, str]]:
        places = self._places
        for table in state.incoming:
            if table in state.live and table not in state.new:
                yield table, places.live, places.new
        for table in sorted(state.old):
            yield table, places.old, places.live
        if state.ledger == places.old_ledger:
            yield places.ledger, places.old, places.new

    def _renames(self, moves: Iterator[tuple[str, str, str]] | list[tuple[str, str, str]]) -> str:
        parts = (
            f"{quote_name(source)}.{quote_name(table)} TO {quote_name(target)}.{quote_name(table)}"
            for table, source, target in moves
        )
        return f"SET SESSION lock_wait_timeout = {LOCK_WAIT_SECONDS};\nRENAME TABLE " + ", ".join(
            parts
        )

    def _state(self, client: MySQLClient) -> _State:
        places = self._places
        names = [places.live, places.new, places.old]
        listed = ", ".join(quote_text(name) for name in names)
        found: dict[str, set[str]] = {name: set() for name in names}
        (locked,), *tables = client.query(
            f"SELECT {self._lock()};"  # noqa: S608
            "SELECT TABLE_SCHEMA, TABLE_NAME FROM information_schema.TABLES"
            f" WHERE TABLE_SCHEMA IN ({listed}) AND TABLE_TYPE NOT LIKE '%VIEW'"
        )
        if locked != "1":
            raise EngineError(
                f"The server is still at work on a restore of database {places.live}",
                hint="Look at the server's processes: something holds the tables locked.",
                code="server_busy",
            )
        for schema, table in tables:
            found[schema].add(table)
        rows = client.query(
            f"SELECT SCHEMA_NAME FROM information_schema.SCHEMATA WHERE SCHEMA_NAME IN ({listed})"  # noqa: S608
        )
        ledger = ""
        if places.ledger in found[places.old]:
            ledger = places.old_ledger
        elif places.ledger in found[places.new]:
            ledger = places.new_ledger
        documents: dict[str, dict[str, Any]] = {}
        if ledger:
            said = client.query(f"SELECT part, document FROM {ledger}")  # noqa: S608
            documents = {part: json.loads(document) for part, document in said}
        new, old = documents.get("new", {}), documents.get("old")
        return _State(
            live=frozenset(found[places.live]),
            new=frozenset(found[places.new] - {places.ledger}),
            old=frozenset(found[places.old] - {places.ledger}),
            databases=frozenset(name for (name,) in rows),
            ledger=ledger if new else "",
            incoming=tuple(new.get("tables", ())),
            is_whole=bool(new.get("whole")),
            new_code=_code(new),
            old_code=None if old is None else _code(old),
        )


def _code(document: Mapping[str, Any]) -> list[CodeObject]:
    return [
        CodeObject(**{**each, "columns": tuple(each["columns"])})
        for each in document.get("code", ())
    ]
