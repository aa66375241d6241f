"""Exchanges the content of a SQLite file with that of another, under the live file's own locks.

The file keeps its name and its inode: a file that took its place would meet the -wal and -journal
of the old one, which connections that are still open write by name, and be damaged by them. So the
new content is written into it by SQLite's backup, as one transaction: whoever is connected waits,
then sees all of it; after a kill or a power cut SQLite rolls it back. With the content comes a
table of ours, the mark, which tells whether the exchange was done, whatever a site has written
since.

The old content is copied before, while nobody else may write. Only where other programs keep a
database in WAL mode open all the time, what they write between copy and exchange is not in the
copy.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workers.engine.databases.base import DatabaseSpec, unchecked
from workers.engine.databases.sqlite import BUSY_SECONDS, checked
from workers.engine.databases.sqlite_load import sync
from workers.engine.databases.sqlite_text import SQLiteText, quote_name
from workers.engine.errors import EngineError

EXCLUSIVE_SECONDS = 5.0
STEP_PAGES = 4096
_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_NO_DATABASE = {sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT}
_COMPANIONS = ("", "-wal", "-shm", "-journal")


@dataclass(frozen=True, slots=True)
class Places:
    """The live file, and the one that a dump was loaded into; the label tells restores apart."""

    live: Path
    label: str

    @property
    def new(self) -> Path:
        """The file that a dump was loaded into."""
        return self._beside("new")

    @property
    def old(self) -> Path:
        """The copy of what was there."""
        return self._beside("old")

    @property
    def damaged(self) -> Path:
        """What was there, where it is no database: moved away as it is."""
        return self._beside("damaged")

    @property
    def mark(self) -> str:
        """The quoted name of the table that tells that the content was exchanged."""
        return quote_name(f"hf_{self.label}_mark")

    def _beside(self, suffix: str) -> Path:
        return self.live.with_name(f"{self.live.name}.hf-{self.label}.{suffix}")


class SQLiteSwitch:
    """See `base.DatabaseSwitch`. With `chosen`, only these tables are exchanged."""

    def __init__(
        self,
        places: Places,
        chosen: list[str] | None,
        tables: Mapping[str, int | None] | None = None,
        check: Callable[[], None] = unchecked,
    ) -> None:
        self.tables: Mapping[str, int | None] = tables or {}
        self._places = places
        self._chosen = chosen
        self._check = check

    @property
    def loaded(self) -> DatabaseSpec | None:
        """See `DatabaseSwitch.loaded`."""
        return DatabaseSpec("sqlite", str(self._places.new))

    def record(self) -> Mapping[str, Any]:
        """See `Switch.record`."""
        places = self._places
        return {
            "engine": "sqlite",
            "live": str(places.live),
            "label": places.label,
            "chosen": self._chosen,
        }

    def switch(self) -> None:
        """See `Switch.switch`."""
        places = self._places
        if self._is_switched():
            return
        if not places.new.exists():
            raise EngineError(
                f"There is no file {places.new} with what is to be restored",
                hint="Start the restore again.",
                permanent=True,
                code="restore_lost",
            )
        if self._chosen is None:
            self._put_damaged_aside()
        existed = places.live.exists()
        with self._alone() as live:
            if existed:
                self._keep(live)
            if self._chosen is None:
                with self._opened(places.new) as new:
                    self._copy(new, live)
            else:
                self._exchange(live, self._chosen)
        sync(places.live)

    def revert(self) -> None:
        """See `Switch.revert`. With chosen tables, too, the whole file is as it was before."""
        places = self._places
        if self._is_switched():
            if places.old.exists():
                with self._opened(places.old) as old, self._alone() as live:
                    self._copy(old, live)
            else:
                _remove(places.live)
        if places.damaged.exists():
            _remove(places.live)
            for companion in reversed(_COMPANIONS):
                with contextlib.suppress(FileNotFoundError):
                    Path(f"{places.damaged}{companion}").replace(f"{places.live}{companion}")
        elif not places.old.exists() and _is_empty(places.live):
            _remove(places.live)  # begun, where no file was
        if places.live.exists():
            sync(places.live)

    def discard(self) -> None:
        """See `Switch.discard`."""
        places = self._places
        if self._is_switched():
            with self._opened(places.live) as live:
                live.execute(f"DROP TABLE IF EXISTS {places.mark}")
        self._remove_stale_journal()
        for path in (places.new, places.old, places.damaged, _part(places.old)):
            _remove(path)

    def _remove_stale_journal(self) -> None:
        """Remove the file of a journal that SQLite rolled back or emptied after a kill."""
        journal = Path(f"{self._places.live}-journal")
        if journal.exists() and self._places.live.exists():
            with self._opened(self._places.live) as live:
                live.execute("BEGIN EXCLUSIVE")  # rolls back what is to be; then nobody needs it
                journal.unlink(missing_ok=True)
                live.execute("COMMIT")

    def _is_switched(self) -> bool:
        if not self._places.live.exists():
            return False
        try:
            with self._opened(self._places.live) as live:
                try:
                    live.execute(f"SELECT 1 FROM {self._places.mark}")  # noqa: S608
                except sqlite3.OperationalError as error:
                    if "no such table" not in str(error):
                        raise
                    return False
                return True
        except EngineError as error:
            if error.code == "table_damaged":
                return False
            raise

    def _put_damaged_aside(self) -> None:
        """Move the live file away if it is no database: then its content cannot be copied."""
        places = self._places
        if not places.live.exists():
            return
        try:
            with contextlib.closing(sqlite3.connect(places.live)) as live:
                live.execute("SELECT count(*) FROM sqlite_master").fetchone()
        except sqlite3.DatabaseError as error:
            if getattr(error, "sqlite_errorcode", 0) & 0xFF not in _NO_DATABASE:
                return
            for companion in _COMPANIONS:
                with contextlib.suppress(FileNotFoundError):
                    Path(f"{places.live}{companion}").replace(f"{places.damaged}{companion}")
            shutil.copyfile(os.devnull, places.live)
            shutil.copystat(places.damaged, places.live)

    def _keep(self, live: sqlite3.Connection) -> None:
        """Copy what is there now; a copy of an exchange that was cut off is out of date."""
        places = self._places
        part = _part(places.old)
        _remove(part)
        part.touch(mode=0o600)
        with self._opened(part) as copy:
            copy.execute("PRAGMA synchronous = OFF")
            self._copy(live, copy)
        sync(part)
        part.replace(places.old)
        sync(places.old)

    def _copy(self, source: sqlite3.Connection, target: sqlite3.Connection) -> None:
        deadline = time.monotonic() + BUSY_SECONDS

        def progress(status: int, _remaining: int, _total: int) -> None:
            nonlocal deadline
            self._check()
            if status not in _BUSY:
                deadline = time.monotonic() + BUSY_SECONDS
            elif time.monotonic() > deadline:
                raise _busy(self._places.live)

        source.backup(target, pages=STEP_PAGES, progress=progress, sleep=0.05)

    def _exchange(self, live: sqlite3.Connection, chosen: list[str]) -> None:
        """Put the chosen tables in the place of the live ones, with their indexes and triggers."""
        places = self._places
        live.execute("ATTACH ? AS hf_new", (str(places.new),))
        live.execute("BEGIN IMMEDIATE")
        try:
            with self._opened(places.new) as new:
                for table in chosen:
                    for statement in _statements(new, table):
                        live.execute(statement)
            live.execute(f"CREATE TABLE {places.mark} (at)")
            live.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                live.execute("ROLLBACK")
            raise

    @contextlib.contextmanager
    def _opened(self, path: Path) -> Iterator[sqlite3.Connection]:
        with (
            contextlib.closing(
                sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None)
            ) as connection,
            checked(connection, self._check, path, path.parent),
        ):
            yield connection

    @contextlib.contextmanager
    def _alone(self) -> Iterator[sqlite3.Connection]:
        """Yield a connection to the live file while which nobody else may write, if that is so."""
        path = self._places.live
        with self._opened(path) as connection:
            connection.execute(f"PRAGMA busy_timeout = {EXCLUSIVE_SECONDS * 1000:.0f}")
            connection.execute("PRAGMA locking_mode = EXCLUSIVE")
            try:
                # Taken here, the lock is kept until the connection is closed.
                connection.execute("BEGIN EXCLUSIVE")
                connection.execute("COMMIT")
            except sqlite3.OperationalError as error:
                if getattr(error, "sqlite_errorcode", 0) & 0xFF not in _BUSY:
                    raise
            else:
                yield connection
                return
        with self._opened(path) as connection:
            yield connection


def _statements(new: sqlite3.Connection, table: str) -> Iterator[str]:
    """Yield what makes `table` of the attached file anew in the live one."""
    quoted = quote_name(table)
    columns = ",".join(SQLiteText(new).columns(table))
    yield f"DROP TABLE IF EXISTS main.{quoted}"
    [(definition,)] = new.execute(
        "SELECT sql FROM sqlite_master WHERE type = 'table' AND name = ?", (table,)
    )
    yield definition
    yield f"INSERT INTO main.{quoted}({columns}) SELECT {columns} FROM hf_new.{quoted} NOT INDEXED"  # noqa: S608
    others = new.execute(
        "SELECT sql FROM sqlite_master WHERE tbl_name = ? AND type IN ('index', 'trigger')"
        " AND sql IS NOT NULL ORDER BY rowid",
        (table,),
    ).fetchall()
    yield from (sql for (sql,) in others)
    if new.execute("SELECT 1 FROM sqlite_master WHERE name = 'sqlite_sequence'").fetchone():
        name = "'" + table.replace("'", "''") + "'"
        if new.execute("SELECT 1 FROM sqlite_sequence WHERE name = ?", (table,)).fetchone():
            yield f"DELETE FROM main.sqlite_sequence WHERE name = {name}"  # noqa: S608
            yield (
                "INSERT INTO main.sqlite_sequence(name, seq)"  # noqa: S608
                f" SELECT name, seq FROM hf_new.sqlite_sequence WHERE name = {name}"
            )


def _busy(path: Path) -> EngineError:
    return EngineError(
        f"Another program holds the SQLite database {path} locked",
        hint="End what works with it for long, or put the site into maintenance.",
        code="server_busy",
    )


def _part(path: Path) -> Path:
    return path.with_name(path.name + ".part")


def _is_empty(path: Path) -> bool:
    return path.exists() and path.stat().st_size == 0


def _remove(path: Path) -> None:
    for companion in _COMPANIONS:
        Path(f"{path}{companion}").unlink(missing_ok=True)
