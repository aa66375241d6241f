"""What every kind of database offers to a backup and to a restore."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol

from workers.engine.progress import Reporter, SilentReporter
from workers.engine.restore.switching import Switch


@dataclass(frozen=True, slots=True)
class DatabaseSpec:
    """Where a database is and who reads it. For SQLite, `name` is the path of its file.

    One without a `name` is a scratch server: whoever loads for trial makes a database of its own.
    """

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
class TableFacts:
    """What one table holds: its rows, None where not countable, and a checksum (see `LineSum`)."""

    rows: int | None
    checksum: str


@dataclass(frozen=True, slots=True)
class DumpFacts:
    """What a finished dump holds. `tables` has None for a table whose rows could not be counted.

    `checksums` has the checksum of each table's rows, as the dump's text has them; `dialect` what
    beside the versions of server and tool decides how that text reads.
    """

    tool: str
    tool_version: str
    server_version: str
    bytes_total: int
    tables: Mapping[str, int | None]
    warnings: tuple[str, ...] = ()
    checksums: Mapping[str, str] = field(default_factory=dict)
    dialect: str = ""


class Dump(Protocol):
    """A running dump: iterate it to its end, then ask for its facts."""

    def __iter__(self) -> Iterator[bytes | TableMark]:
        """Yield the SQL text in pieces, a `TableMark` before the first piece of each table.

        Raises `EngineError` when the tool fails, when the server goes away, or when the text ends
        without its trailer, whatever the exit status said.
        """

    def facts(self) -> DumpFacts:
        """Return what was dumped; only after the iteration has ended without an error."""


def table_facts(dump: Dump) -> dict[str, TableFacts]:
    """Read a dump to its end, keep nothing of its text, and return what each table holds."""
    for _piece in dump:
        pass
    facts = dump.facts()
    return {
        name: TableFacts(facts.tables.get(name), checksum)
        for name, checksum in facts.checksums.items()
    }


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

    def checksums(
        self, *, scratch_directory: str, check: Callable[[], None] = ...
    ) -> dict[str, TableFacts]:
        """Dump to nowhere and return what each table holds; views are left out.

        The sums are those which `DumpFacts.checksums` of a backup has, taken from the same text in
        the same way: so a backup's are of its own snapshot, whatever a live site writes meanwhile,
        and cost no second reading of the tables.
        """


class DatabaseSwitch(Switch, Protocol):
    """A dump that was loaded beside the live database. See `Switch`.

    `tables` maps what came to its number of rows, None for views and where it is not countable;
    it is empty where the switch was made again from its record. `loaded` is the database that it
    was loaded into, before `switch`; None where only rows were.
    """

    tables: Mapping[str, int | None]

    @property
    def loaded(self) -> DatabaseSpec | None:
        """Where what was loaded can be looked at, and changed, until it is switched."""


class TrialServer(Protocol):
    """A place to load a dump into and to look at it. Implementations take a `DatabaseSpec`.

    `label` tells the scratch databases of one attempt from all others: up to 16 small letters and
    digits. `pieces` is the text of a dump as `Database.dump` gave it, cut anywhere.
    """

    def scratch(
        self,
        pieces: Iterable[bytes],
        *,
        label: str,
        scratch_directory: str,
        check: Callable[[], None] = ...,
        reporter: Reporter = ...,
    ) -> AbstractContextManager[Database]:
        """Load the dump into a scratch database of its own, which is dropped at the end."""

    def drop_leftovers(self, labels: Iterable[str], *, check: Callable[[], None] = ...) -> None:
        """Remove the scratch databases of attempts that died; those of `labels` alone.

        What had begun to be switched and was not completed is taken back first.
        """


class Restorer(TrialServer, Protocol):
    """One kind of database server, to restore to. See `TrialServer`.

    Implementations take a `DatabaseSpec` and `lenders`: accounts that may lend the spec's user what
    it lacks to make scratch databases, where they are of the same server.
    """

    def prepare(
        self,
        pieces: Iterable[bytes],
        *,
        label: str,
        tables: Collection[str] | None = None,
        scratch_directory: str,
        check: Callable[[], None] = ...,
        reporter: Reporter = ...,
    ) -> DatabaseSwitch:
        """Load the dump beside the live database, which is not touched.

        With `tables`, only these are exchanged later. `reporter.advance` counts the bytes of text.
        Raises `EngineError`, after removing what was loaded: a statement failed, the text ended
        without its last line, a table of `tables` is not in it, or a right is missing.
        """

    def make_database(self, *, check: Callable[[], None] = ...) -> None:
        """Make the database if it is not there, empty: for a copy, or where it was lost."""

    def from_record(
        self, record: Mapping[str, Any], *, check: Callable[[], None] = ...
    ) -> DatabaseSwitch:
        """Return the switch whose `record` this is, in whatever state it is now."""


def unchecked() -> None:
    """The `check` of whoever asks for none."""


SILENT = SilentReporter()
