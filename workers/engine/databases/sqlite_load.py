"""Loads the SQL text of a SQLite database into a new file, and proves the file."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from workers.engine.databases.sqlite import checked, prove
from workers.engine.databases.sqlite_text import TRAILER, quote_name
from workers.engine.errors import EngineError
from workers.engine.progress import Reporter

SCRIPT_BYTES = 1 << 20
CACHE_KIBIBYTES = 64 << 10  # else pages of indexes are written again and again
_CANDIDATES = 16


def load(
    path: Path,
    pieces: Iterable[bytes],
    *,
    page_bytes: int,
    check: Callable[[], None],
    reporter: Reporter,
) -> dict[str, int | None]:
    """Make the file `path`, synced to the disk; return its tables' rows, None for what has none.

    Raises `EngineError` where the text is not whole or the file does not pass SQLite's own check;
    the file is removed then.
    """
    try:
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
            # Until it is whole, nobody misses the file: nothing to keep safe from a power cut.
            connection.execute(f"PRAGMA page_size = {page_bytes}")
            connection.execute(f"PRAGMA cache_size = -{CACHE_KIBIBYTES}")
            connection.execute("PRAGMA journal_mode = OFF")
            connection.execute("PRAGMA synchronous = OFF")
            connection.set_authorizer(_authorize)
            with checked(connection, check, path, path.parent):
                _run(connection, pieces, reporter)
        with (
            contextlib.closing(sqlite3.connect(path)) as connection,
            checked(connection, check, path, path.parent),
        ):
            prove(connection, path)
            counts = _counts(connection)
        sync(path)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return counts


def sync(path: Path) -> None:
    """Have the file and its name on the disk."""
    for each, flags in ((path, os.O_RDONLY), (path.parent, os.O_RDONLY | os.O_DIRECTORY)):
        descriptor = os.open(each, flags | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _authorize(action: int, *_details: str | None) -> int:
    """Refuse what would reach other files, whoever wrote the text."""
    refused = action in {sqlite3.SQLITE_ATTACH, sqlite3.SQLITE_DETACH}
    return sqlite3.SQLITE_DENY if refused else sqlite3.SQLITE_OK


def _run(connection: sqlite3.Connection, pieces: Iterable[bytes], reporter: Reporter) -> None:
    end = b""
    begin = ""
    for script in _scripts(pieces, reporter):
        try:
            # Each script ends what the one before began.
            connection.executescript(begin + script.decode())
        except UnicodeDecodeError as error:
            raise EngineError(
                f"The dump holds text that is not UTF-8: {error}", permanent=True
            ) from error
        begin = "BEGIN;"
        end = (end + script)[-len(TRAILER) :]
    if end != TRAILER.encode() or connection.in_transaction:
        raise EngineError(
            "The dump ended without its last line, so part of it is missing",
            hint="Restore from another backup.",
            permanent=True,
            code="dump_incomplete",
        )


def _scripts(pieces: Iterable[bytes], reporter: Reporter) -> Iterator[bytes]:
    """Yield the text in pieces that end where a statement does."""
    held = bytearray()
    least = SCRIPT_BYTES
    for piece in pieces:
        held += piece
        if len(held) >= least:
            end = _last_end(held)
            least = SCRIPT_BYTES if end else len(held) * 2
            if end:
                yield bytes(held[:end])
                del held[:end]
        reporter.advance(len(piece))
    yield bytes(held)


def _last_end(text: bytearray) -> int:
    """Return where the last whole statement of `text` ends, 0 where none is found."""
    at = len(text)
    for _ in range(_CANDIDATES):
        at = text.rfind(b";\n", 0, at)
        if at == -1:
            return 0
        # SQLite itself knows what is within quotes, comments and triggers.
        if sqlite3.complete_statement(text[: at + 2].decode("utf-8", "replace")):
            return at + 2
    return 0


def _counts(connection: sqlite3.Connection) -> dict[str, int | None]:
    connection.text_factory = lambda data: data.decode("utf-8", "replace")
    found: dict[str, int | None] = {}
    for kind, name, is_virtual in connection.execute(
        "SELECT type, name, sql LIKE 'CREATE VIRTUAL%' FROM sqlite_master"
        " WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"
    ).fetchall():
        found[name] = None
        if kind == "table" and not is_virtual:
            [(rows,)] = connection.execute(f"SELECT count(*) FROM {quote_name(name)}")  # noqa: S608
            found[name] = rows
    return found
