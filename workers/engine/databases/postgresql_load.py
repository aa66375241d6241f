"""Loads a dump of PostgreSQL with the server's own client."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache

from workers.engine.databases.base import DatabaseSpec
from workers.engine.databases.feeding import feed, joined
from workers.engine.databases.postgresql import INSTALL, explain, signed_in
from workers.engine.databases.postgresql_scan import PostgreSQLScan
from workers.engine.process import ProcessFailed, find_program, run
from workers.engine.progress import Reporter

# Newer dumps forbid the client's own commands while they are read, by a key that they hold. We
# forbid them by a key of our own: who wrote the dump must not be able to run programs here.
_RESTRICT = re.compile(rb"(\A(?:--[^\n]*\n|\n)*)\\restrict \w+\n")
_UNRESTRICT = re.compile(rb"\\unrestrict \w+\s*\Z")
_HEAD_BYTES = 4096


def load(
    spec: DatabaseSpec,
    pieces: Iterable[bytes],
    *,
    check: Callable[[], None],
    reporter: Reporter,
    scratch_directory: str,
) -> PostgreSQLScan:
    """Load a whole dump into the spec's database, which is empty; return what was seen."""
    scan = PostgreSQLScan(sums=False)
    text = _unrestricted(_scanned(counted(pieces, reporter), scan))
    run_client(spec, text, check=check, scratch_directory=scratch_directory)
    return scan


def run_client(
    spec: DatabaseSpec, text: Iterable[bytes], *, check: Callable[[], None], scratch_directory: str
) -> None:
    """Feed `text` to the client, which stops at the first error and obeys no commands in it."""
    tool = find_program("psql", hint=INSTALL)
    # Without waiting for the disk at each statement: the exchange waits, and with it all before.
    session = {"PGOPTIONS": "-c synchronous_commit=off"}
    argv = [tool, "--no-psqlrc", "--quiet", "--no-password", "--set=ON_ERROR_STOP=1"]
    try:
        with signed_in(spec, scratch_directory) as access:
            feed(
                [*argv, "--output=/dev/null"],
                joined(_restricted(text, tool)),
                environment=access.environment | session,
                secrets=access.secrets,
                check=check,
            )
    except ProcessFailed as failure:
        raise explain(failure, f"Loading the dump into database {spec.name}") from failure


def counted(pieces: Iterable[bytes], reporter: Reporter) -> Iterator[bytes]:
    """Yield `pieces`, and count their bytes as done."""
    for piece in pieces:
        yield piece
        reporter.advance(len(piece))


@lru_cache
def _knows_restrict(tool: str) -> bool:
    return b"\\restrict" in run([tool, "--help=commands"])


def _restricted(text: Iterable[bytes], tool: str) -> Iterator[bytes]:
    key = secrets.token_hex(16).encode() if _knows_restrict(tool) else b""
    if key:
        yield b"\\restrict " + key + b"\n"
    yield from text
    if key:
        yield b"\n\\unrestrict " + key + b"\n"


def _scanned(pieces: Iterable[bytes], scan: PostgreSQLScan) -> Iterator[bytes]:
    for piece in pieces:
        yield from (part for part in scan.feed(piece) if isinstance(part, bytes))
    *parts, last = [part for part in scan.finish() if isinstance(part, bytes)]
    yield from parts
    yield _UNRESTRICT.sub(b"", last)


def _unrestricted(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Yield `pieces` without the dump's own \\restrict, which stands in its head."""
    head = b""
    for piece in pieces:
        head += piece
        if len(head) >= _HEAD_BYTES:
            break
    yield _RESTRICT.sub(rb"\1", head, count=1)
    yield from pieces
