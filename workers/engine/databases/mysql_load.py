"""Loads a dump of MySQL or MariaDB into a scratch database with the server's own client."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import replace

from workers.engine.databases.base import DatabaseSpec, TableMark, unchecked
from workers.engine.databases.causes import DENIED
from workers.engine.databases.feeding import feed, joined
from workers.engine.databases.mysql_client import (
    MySQLClient,
    connected,
    explain,
    quote_name,
    quote_text,
)
from workers.engine.databases.mysql_lending import is_denied, lend, take_back
from workers.engine.databases.mysql_scan import MySQLScan
from workers.engine.errors import EngineError
from workers.engine.process import ProcessFailed
from workers.engine.progress import Reporter

# What the head of a dump sets as well; parts of a dump may come without their head.
_PREAMBLE = (
    b"SET NAMES utf8mb4; SET TIME_ZONE='+00:00', UNIQUE_CHECKS=0, FOREIGN_KEY_CHECKS=0,"
    b" SQL_MODE='NO_AUTO_VALUE_ON_ZERO';\n"
)
# Where the last table's part ends and what belongs to the whole database begins.
_TAIL = re.compile(
    rb"\n(?:--\n-- Dumping (?:events|routines) for database |--\n-- Final view structure for view "
    rb"|/\*!40103 SET TIME_ZONE=@OLD_TIME_ZONE )"
)
_TAIL_BYTES = 64


def load(
    client: MySQLClient,
    name: str,
    pieces: Iterable[bytes],
    tables: Collection[str] | None,
    reporter: Reporter,
) -> MySQLScan:
    """Load a dump, or what it has of `tables`, into the database `name`; return what was seen."""
    scan = MySQLScan(sums=False)
    counted = _counted(pieces, reporter)
    text = _whole(counted, scan) if tables is None else _parts(counted, scan, frozenset(tables))
    there = MySQLClient(replace(client.spec, name=name), client.options, client.check)
    try:
        feed(
            there.client("--binary-mode", "--max-allowed-packet=1G", "--silent"),
            joined(_after_preamble(text)),
            environment=there.environment,
            secrets=there.secrets,
            check=there.check,
        )
    except ProcessFailed as failure:
        raise explain(failure, f"Loading the dump into database {name}") from failure
    return scan


@contextlib.contextmanager
def scratch_database(
    spec: DatabaseSpec,
    name: str,
    check: Callable[[], None],
    scratch_directory: str,
    lenders: Sequence[DatabaseSpec] = (),
) -> Iterator[MySQLClient]:
    """Make the empty database `name`, like the spec's own; drop it where the block raises.

    Yields a client for the spec's own database.
    """
    with connected(spec, check, scratch_directory) as client:
        create(client, name, lenders=lenders)
        try:
            yield client
        except BaseException:
            # The error matters more, and somebody who stops has no time: leftovers are dropped.
            with contextlib.suppress(EngineError), connected(spec, unchecked) as unhurried:
                unhurried.execute(f"DROP DATABASE IF EXISTS {quote_name(name)}")
                take_back(unhurried, [name], lenders)
            raise


def create(
    client: MySQLClient,
    name: str,
    *,
    anew: bool = True,
    lenders: Sequence[DatabaseSpec] = (),
) -> None:
    """Make the database `name` with the character set of the client's; `anew` drops one first.

    Where the client's user may not, one of `lenders` lets it.
    """
    [(charset, collation)] = client.query(
        "SELECT DEFAULT_CHARACTER_SET_NAME, DEFAULT_COLLATION_NAME"  # noqa: S608
        f" FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = {quote_text(client.spec.name)}"
    )
    drop = f"DROP DATABASE IF EXISTS {quote_name(name)};" if anew else ""
    statements = (
        f"{drop} CREATE DATABASE IF NOT EXISTS {quote_name(name)}"
        f" CHARACTER SET {charset} COLLATE {collation}"
    )
    try:
        client.execute(statements)
    except EngineError as error:
        if not is_denied(error):
            raise
        if not lend(client, name, lenders):
            raise _no_database(client, name) from error
        client.execute(statements)


def _no_database(client: MySQLClient, name: str) -> EngineError:
    pattern = (client.spec.name + "_hf_").replace("_", "\\_")
    return EngineError(
        f"The user may not make the scratch database {name}, without which nothing can be"
        " restored safely",
        hint=f"As an administrator: GRANT ALL PRIVILEGES ON `{pattern}%`.* TO the site's user. Or"
        " name an account that may lend that in HOLDFAST_SCRATCH_DATABASES on the node.",
        permanent=True,
        code=DENIED.code,
    )


def _after_preamble(text: Iterator[bytes]) -> Iterator[bytes]:
    yield _PREAMBLE
    yield from text


def _counted(pieces: Iterable[bytes], reporter: Reporter) -> Iterator[bytes]:
    for piece in pieces:
        yield piece
        reporter.advance(len(piece))


def _whole(pieces: Iterable[bytes], scan: MySQLScan) -> Iterator[bytes]:
    for piece in pieces:
        yield from (part for part in scan.feed(piece) if isinstance(part, bytes))
    yield from (part for part in scan.finish() if isinstance(part, bytes))


def _parts(pieces: Iterable[bytes], scan: MySQLScan, tables: Collection[str]) -> Iterator[bytes]:
    """Yield the head and the parts of `tables`: structure, rows, triggers."""
    cutter: _Cutter | None = None  # None where a table is passed over
    in_head = True
    for part in _marked(pieces, scan):
        if isinstance(part, TableMark):
            if cutter is not None:
                yield cutter.rest()
            in_head = False
            cutter = _Cutter() if part.name in tables else None
        elif in_head:
            yield part
        elif cutter is not None:
            yield cutter.feed(part)
    if cutter is not None:
        yield cutter.rest()


def _marked(pieces: Iterable[bytes], scan: MySQLScan) -> Iterator[bytes | TableMark]:
    for piece in pieces:
        yield from scan.feed(piece)
    yield from scan.rest()


class _Cutter:
    """Passes on one table's part of the text up to what follows the last table."""

    def __init__(self) -> None:
        self._held = b""
        self._ended = False

    def feed(self, part: bytes) -> bytes:
        if self._ended:
            return b""
        text = self._held + part
        if found := _TAIL.search(text):
            self._ended, self._held = True, b""
            return text[: found.start() + 1]
        self._held = text[-_TAIL_BYTES:]
        return text[:-_TAIL_BYTES]

    def rest(self) -> bytes:
        return self._held
