"""SQLite: a snapshot by the online backup API, checked, then written as SQL.

The live file is opened for reading only. Writers are held up only while a step of the copy runs,
or, where they write all the time, once for the whole copy.
"""

from __future__ import annotations

import contextlib
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

from workers.engine.databases.base import (
    DatabaseEstimate,
    DatabaseSpec,
    DumpFacts,
    TableEstimate,
    TableFacts,
    TableMark,
    table_facts,
)
from workers.engine.databases.private import private_directory
from workers.engine.databases.sqlite_text import SQLiteText
from workers.engine.errors import EngineError
from workers.engine.room import disk_full, is_full

STEP_BYTES = 32 << 20
RESTARTS = 3
BUSY_SECONDS = 20.0
CHECK_INSTRUCTIONS = 100_000  # virtual machine instructions between checks, some milliseconds


class SQLiteDatabase:
    """One SQLite file, `DatabaseSpec.name` its path. See `base.Database`."""

    def __init__(self, spec: DatabaseSpec) -> None:
        self._path = Path(spec.name)

    def estimate(self, *, check: Callable[[], None] = lambda: None) -> DatabaseEstimate:
        """See `Database.estimate`. Every table counts an equal share of the file's size.

        SQLite's catalogue has no sizes; only the sum is of use.
        """
        with self._open() as connection, checked(connection, check, self._path):
            names = connection.execute(
                "SELECT name, type, sql LIKE 'CREATE VIRTUAL%' FROM sqlite_master"
                " WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"
            ).fetchall()
            [(pages,)] = connection.execute("PRAGMA page_count")
            [(page_bytes,)] = connection.execute("PRAGMA page_size")
        real = sum(1 for _, kind, virtual in names if kind == "table" and not virtual)
        share = pages * page_bytes // max(1, real)
        tables = (
            TableEstimate(
                name=name,
                bytes_estimate=share if kind == "table" and not virtual else 0,
                rows_estimate=None,
                storage_engine="virtual table" if virtual else kind,
            )
            for name, kind, virtual in names
        )
        size = pages * page_bytes
        return DatabaseEstimate(sqlite3.sqlite_version, tuple(tables), scratch_bytes=size)

    @contextlib.contextmanager
    def dump(
        self, *, scratch_directory: str, check: Callable[[], None] = lambda: None
    ) -> Iterator[SQLiteDump]:
        """See `Database.dump`. The snapshot in `scratch_directory` is as large as the database."""
        with private_directory(scratch_directory) as directory:
            snapshot = directory / "snapshot.sqlite3"
            with self._open() as source, checked(source, check, self._path, directory):
                _copy(source, snapshot, check)
            with contextlib.closing(sqlite3.connect(snapshot)) as connection:
                with checked(connection, check, self._path):
                    prove(connection, self._path)
                yield SQLiteDump(connection, self._path, check)

    def checksums(
        self, *, scratch_directory: str, check: Callable[[], None] = lambda: None
    ) -> dict[str, TableFacts]:
        """See `Database.checksums`."""
        with self.dump(scratch_directory=scratch_directory, check=check) as dump:
            return table_facts(dump)

    def query(
        self, statement: str, *, check: Callable[[], None] = lambda: None
    ) -> list[tuple[str, ...]]:
        """See `Database.query`. NULL reads as the empty text."""
        with self._open() as connection, checked(connection, check, self._path):
            connection.text_factory = lambda data: data.decode("utf-8", "replace")
            rows = connection.execute(statement).fetchall()
        return [tuple("" if cell is None else str(cell) for cell in row) for row in rows]

    @contextlib.contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        # Asked first: SQLite says the same of a missing file and of one that is not to be read.
        try:
            with self._path.open("rb"):
                pass
        except OSError as error:
            raise EngineError(
                f"The SQLite database {self._path} cannot be read: {error.strerror}",
                hint="Check the path, and that the worker's user may read the file.",
                permanent=True,
                code="database_unknown"
                if isinstance(error, FileNotFoundError)
                else "privileges_missing",
            ) from error
        uri = f"{self._path.absolute().as_uri()}?mode=ro"
        with contextlib.closing(
            sqlite3.connect(uri, uri=True, timeout=BUSY_SECONDS, isolation_level=None)
        ) as connection:
            yield connection


class SQLiteDump:
    """A snapshot that is being written as SQL. See `base.Dump`."""

    def __init__(
        self, connection: sqlite3.Connection, path: Path, check: Callable[[], None]
    ) -> None:
        self._connection = connection
        self._path = path
        self._check = check
        self._bytes = 0
        self._tables: dict[str, int | None] | None = None
        self._checksums: dict[str, str] = {}

    def __iter__(self) -> Iterator[bytes | TableMark]:
        """See `Dump.__iter__`."""
        with checked(self._connection, self._check, self._path):
            text = SQLiteText(self._connection)
            for piece in text:
                self._check()
                if isinstance(piece, bytes):
                    self._bytes += len(piece)
                yield piece
        self._tables, self._checksums = text.rows, text.checksums

    def facts(self) -> DumpFacts:
        """See `Dump.facts`."""
        assert self._tables is not None, "the dump was not read to its end"
        return DumpFacts(
            tool="sqlite3",
            tool_version=sqlite3.sqlite_version,
            server_version=sqlite3.sqlite_version,
            bytes_total=self._bytes,
            tables=dict(self._tables),
            checksums=dict(self._checksums),
        )


class _Restarted(Exception):
    """Another process wrote to the source so often that the copy began again and again."""


def _copy(source: sqlite3.Connection, snapshot: Path, check: Callable[[], None]) -> None:
    """Copy the database as it is at one moment into `snapshot`."""
    [(journal,)] = source.execute("PRAGMA journal_mode")
    [(page_bytes,)] = source.execute("PRAGMA page_size")
    if journal == "wal":
        # Readers and writers do not meet here, so the whole copy may see one moment.
        source.execute("BEGIN")
        source.execute("SELECT 1 FROM sqlite_master").fetchone()
    try:
        _backup(source, snapshot, max(1, STEP_BYTES // page_bytes), check)
    except _Restarted:
        snapshot.unlink()
        _backup(source, snapshot, -1, check)
    if source.in_transaction:
        source.execute("ROLLBACK")


def _backup(
    source: sqlite3.Connection, snapshot: Path, pages: int, check: Callable[[], None]
) -> None:
    """Copy in steps of `pages` (-1: all at once); SQLite begins again when another writes between.

    Raises `_Restarted` when it did so more than `RESTARTS` times.
    """
    restarts, left = 0, -1

    def progress(_status: int, remaining: int, _total: int) -> None:
        nonlocal restarts, left
        check()
        restarts += remaining > left >= 0
        left = remaining
        if restarts > RESTARTS and pages > 0:
            raise _Restarted

    with contextlib.closing(sqlite3.connect(snapshot)) as target:
        # The snapshot is written once and thrown away: nothing to keep safe from a power cut.
        target.execute("PRAGMA synchronous = OFF")
        target.execute("PRAGMA journal_mode = OFF")
        source.backup(target, pages=pages, progress=progress, sleep=0.05)


def prove(connection: sqlite3.Connection, path: Path) -> None:
    """Raise a permanent `EngineError` when the database is damaged."""
    found = [str(row[0]) for row in connection.execute("PRAGMA integrity_check(10)")]
    if found != ["ok"]:
        raise EngineError(
            f"The SQLite database {path} is damaged: {'; '.join(found)[:1000]}",
            hint="Save it with the shell's .recover, or restore it from an earlier backup.",
            permanent=True,
            code="table_damaged",
        )


# By the primary result code, the lowest byte: https://www.sqlite.org/rescode.html
_CODES = {
    5: ("server_busy", False, "Another program holds the database locked."),
    6: ("server_busy", False, "Another program holds the database locked."),
    8: (
        "database_needs_recovery",
        False,
        "A program crashed while writing: let the site open its database once, then try again.",
    ),
    10: ("database_failed", False, "Reading or writing failed: look at the node's disks."),
    11: ("table_damaged", True, "Save it with the shell's .recover, or restore a backup."),
    14: ("privileges_missing", True, "Let the worker's user read the file and enter its folder."),
    23: (
        "dump_refused",
        True,
        "A statement in it reaches for other files, as no backup does: restore another one, and "
        "find out who wrote this one.",
    ),
    26: ("table_damaged", True, "The file is not a SQLite database: check the path."),
}


def _raise(error: sqlite3.Error, path: Path) -> NoReturn:
    primary = getattr(error, "sqlite_errorcode", 0) & 0xFF
    code, permanent, hint = _CODES.get(primary, ("database_failed", False, ""))
    message = f"Reading the SQLite database {path} failed: {error}"
    raise EngineError(message, hint=hint, permanent=permanent, code=code) from error


@contextlib.contextmanager
def checked(
    connection: sqlite3.Connection,
    check: Callable[[], None],
    path: Path,
    scratch: Path | None = None,
) -> Iterator[None]:
    """Call `check` while statements run, and turn SQLite's errors into ours.

    What runs writes to `scratch` only, or to SQLite's own folder for what it sorts.
    """
    raised: list[BaseException] = []

    def handler() -> int:
        # What a handler raises is lost in SQLite: kept here, and raised once SQLite has stopped.
        try:
            check()
        except BaseException as error:
            raised.append(error)
            return 1
        return 0

    connection.set_progress_handler(handler, CHECK_INSTRUCTIONS)
    try:
        yield
    except sqlite3.Error as error:
        if raised:
            raise raised[0] from None
        if is_full(error):
            raise disk_full(scratch or Path(tempfile.gettempdir()), error) from error
        _raise(error, path)
    finally:
        connection.set_progress_handler(None, 0)
