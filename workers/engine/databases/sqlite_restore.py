"""Restores SQLite files: see `sqlite_load` and `sqlite_switch` for the two halves.

The new content and a copy of the old one lie beside the live file until the restore is settled, so
its disk must have room for both, and for the journal while they are exchanged.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from workers.engine.databases.base import SILENT, DatabaseSpec, unchecked
from workers.engine.databases.private import private_directory
from workers.engine.databases.scratch_names import scratch_name
from workers.engine.databases.sqlite import SQLiteDatabase
from workers.engine.databases.sqlite_load import load
from workers.engine.databases.sqlite_switch import Places, SQLiteSwitch
from workers.engine.errors import EngineError
from workers.engine.progress import Reporter

PAGE_BYTES = 4096


class SQLiteRestorer:
    """Restores to one SQLite file, `DatabaseSpec.name` its path. See `base.Restorer`."""

    def __init__(self, spec: DatabaseSpec, lenders: Sequence[DatabaseSpec] = ()) -> None:
        self._spec = spec
        self._live = Path(spec.name).absolute()

    def prepare(
        self,
        pieces: Iterable[bytes],
        *,
        label: str,
        tables: Collection[str] | None = None,
        scratch_directory: str,
        check: Callable[[], None] = unchecked,
        reporter: Reporter = SILENT,
    ) -> SQLiteSwitch:
        """See `Restorer.prepare`. `pieces` are the whole dump, also with `tables`."""
        places = self._places(label)
        if places.old.exists() or places.damaged.exists():
            raise EngineError(
                f"An earlier restore left {places.old.name} or {places.damaged.name}",
                hint="Settle that restore first: revert it, or discard what it replaced.",
                permanent=True,
                code="restore_unsettled",
            )
        places.new.unlink(missing_ok=True)
        self._make(places.new)
        page_bytes = _page_bytes(self._live)
        counts = load(places.new, pieces, page_bytes=page_bytes, check=check, reporter=reporter)
        try:
            if tables is None:
                with contextlib.closing(sqlite3.connect(places.new)) as connection:
                    connection.execute(f"CREATE TABLE {places.mark} (at)")
                return SQLiteSwitch(places, None, counts, check)
            _require_all(tables, counts)
        except BaseException:
            places.new.unlink(missing_ok=True)
            raise
        chosen = sorted(tables)
        return SQLiteSwitch(places, chosen, {name: counts[name] for name in chosen}, check)

    def make_database(self, *, check: Callable[[], None] = unchecked) -> None:
        """See `Restorer.make_database`: a file is made when something is put into it."""

    def from_record(
        self, record: Mapping[str, Any], *, check: Callable[[], None] = unchecked
    ) -> SQLiteSwitch:
        """See `Restorer.from_record`."""
        return SQLiteSwitch(
            Places(Path(record["live"]), record["label"]), record["chosen"], check=check
        )

    @contextlib.contextmanager
    def scratch(
        self,
        pieces: Iterable[bytes],
        *,
        label: str,
        scratch_directory: str,
        check: Callable[[], None] = unchecked,
        reporter: Reporter = SILENT,
    ) -> Iterator[SQLiteDatabase]:
        """See `Restorer.scratch`. The file lies in `scratch_directory`."""
        with private_directory(scratch_directory) as directory:
            path = directory / f"{label}.sqlite3"
            load(path, pieces, page_bytes=PAGE_BYTES, check=check, reporter=reporter)
            yield SQLiteDatabase(replace(self._spec, name=str(path)))

    def drop_leftovers(
        self, labels: Iterable[str], *, check: Callable[[], None] = unchecked
    ) -> None:
        """See `Restorer.drop_leftovers`. SQLite takes an exchange that was cut off back itself."""
        for label in labels:
            places = self._places(label)
            switch = SQLiteSwitch(places, None, check=check)
            if places.damaged.exists() and not places.new.exists():
                continue  # what was there is in that file alone
            switch.discard()

    def _places(self, label: str) -> Places:
        scratch_name("", label, limit=255)  # refuses what is no label
        return Places(self._live, label)

    def _make(self, path: Path) -> None:
        """Make an empty file that only its owner may read."""
        try:
            path.touch(mode=0o600, exist_ok=False)
        except OSError as error:
            raise EngineError(
                f"Nothing can be written beside the SQLite database {self._live}: {error.strerror}",
                hint="Let the worker's user write to the database's folder.",
                permanent=True,
                code="privileges_missing",
            ) from error


def _page_bytes(path: Path) -> int:
    """Return the live file's page size: in WAL mode it cannot take content of another one."""
    if path.exists():
        with (
            contextlib.suppress(sqlite3.DatabaseError),
            contextlib.closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as connection,
        ):
            [(size,)] = connection.execute("PRAGMA page_size")
            return int(size)
    return PAGE_BYTES


def _require_all(tables: Collection[str], counts: Mapping[str, int | None]) -> None:
    if missing := sorted(name for name in tables if counts.get(name) is None):
        raise EngineError(
            f"The dump has no tables {', '.join(missing[:5])}",
            hint="Views and virtual tables come back with whole restores only.",
            permanent=True,
            code="table_missing",
        )
