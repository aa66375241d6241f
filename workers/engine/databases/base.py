"""What every kind of database offers to a backup."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class DatabaseSpec:
    """Where a database is and who reads it. For SQLite, `name` is the path of its file."""

    engine: str
    name: str
    host: str = ""
    port: int | None = None
    socket: str = ""
    user: str = ""
    password: str = field(default="", repr=False)
    table_prefix: str = ""


@dataclass(frozen=True, slots=True)
class TableEstimate:
    """One table or view as the catalogue describes it; sizes in bytes, both only estimates."""

    name: str
    bytes_estimate: int
    rows_estimate: int | None
    storage_engine: str = ""


@dataclass(frozen=True, slots=True)
class DatabaseEstimate:
    """What a dump will hold, read from the catalogue before it begins.

    `scratch_bytes` is what the dump needs in its scratch folder while it runs.
    """

    server_version: str
    tables: tuple[TableEstimate, ...]
    warnings: tuple[str, ...] = ()
    scratch_bytes: int = 0

    @property
    def bytes_total(self) -> int:
        """The sum of all tables' estimates."""
        return sum(table.bytes_estimate for table in self.tables)


@dataclass(frozen=True, slots=True)
class TableMark:
    """Stands in a dump's stream where the statements of one table begin."""

    name: str


@dataclass(frozen=True, slots=True)
class DumpFacts:
    """What a finished dump holds. `rows` is None for a table whose rows could not be counted."""

    tool: str
    tool_version: str
    server_version: str
    bytes_total: int
    tables: Mapping[str, int | None]
    warnings: tuple[str, ...] = ()


class Dump(Protocol):
    """A running dump: iterate it to its end, then ask for its facts."""

    def __iter__(self) -> Iterator[bytes | TableMark]:
        """Yield the SQL text in pieces, a `TableMark` before the first piece of each table.

        Raises `EngineError` when the tool fails, when the server goes away, or when the text ends
        without its trailer, whatever the exit status said.
        """

    def facts(self) -> DumpFacts:
        """Return what was dumped; only after the iteration has ended without an error."""


class Database(Protocol):
    """One kind of database server. Implementations take a `DatabaseSpec`."""

    def estimate(self, *, check: Callable[[], None] = ...) -> DatabaseEstimate:
        """Read the catalogue: tables, sizes, versions, and what a person should be warned of.

        Raises `EngineError`: permanent for refused credentials or an unknown database, temporary
        when the server cannot be reached.
        """

    def dump(
        self, *, scratch_directory: str, check: Callable[[], None] = ...
    ) -> AbstractContextManager[Dump]:
        """Start a consistent dump that restores with the database's own client alone.

        `scratch_directory` exists, has mode 0700 and may hold option files or a snapshot until the
        context ends. `check` is called about twice a second and may raise.
        """

    def query(self, statement: str, *, check: Callable[[], None] = ...) -> list[tuple[str, ...]]:
        """Run one read-only statement and return its rows as text; for small answers only."""
