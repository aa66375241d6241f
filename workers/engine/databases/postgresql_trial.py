"""Loads dumps of PostgreSQL for trial, on a server that none of our sites need be on."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import chain

from workers.engine.databases.base import SILENT, DatabaseSpec, unchecked
from workers.engine.databases.causes import DENIED
from workers.engine.databases.postgresql import PostgreSQLDatabase
from workers.engine.databases.postgresql_load import load
from workers.engine.databases.postgresql_switch import Maintenance, quote_text
from workers.engine.databases.scratch_names import OWN_NAME, scratch_name
from workers.engine.databases.sqlite_text import quote_name
from workers.engine.errors import EngineError
from workers.engine.progress import Reporter

NAME_BYTES = 63
# A dump says in its head what encoding it is in, which is that of the database that it is of.
_ENCODING = re.compile(rb"^SET client_encoding = '(\w+)';", re.MULTILINE)
_HEAD_BYTES = 4096


class PostgreSQLTrialServer:
    """A PostgreSQL server with an account for trials. See `base.TrialServer`."""

    def __init__(self, spec: DatabaseSpec) -> None:
        self._spec = replace(spec, name=OWN_NAME)

    @contextlib.contextmanager
    def scratch(
        self,
        pieces: Iterable[bytes],
        *,
        label: str,
        scratch_directory: str,
        check: Callable[[], None] = unchecked,
        reporter: Reporter = SILENT,
    ) -> Iterator[PostgreSQLDatabase]:
        """See `TrialServer.scratch`."""
        spec = replace(self._spec, name=_name(label))
        encoding, text = _with_encoding(iter(pieces))
        self._create(spec.name, encoding, check)
        try:
            load(spec, text, check=check, reporter=reporter, scratch_directory=scratch_directory)
            yield PostgreSQLDatabase(spec)
        except BaseException:
            with contextlib.suppress(EngineError):
                Maintenance(self._spec).drop(spec.name)
            raise
        Maintenance(self._spec).drop(spec.name)

    def drop_leftovers(
        self, labels: Iterable[str], *, check: Callable[[], None] = unchecked
    ) -> None:
        """See `TrialServer.drop_leftovers`: nothing here is ever switched."""
        server = Maintenance(self._spec, check)
        for label in labels:
            server.drop(_name(label))

    def _create(self, name: str, encoding: str, check: Callable[[], None]) -> None:
        server = Maintenance(self._spec, check)
        server.drop(name)
        # The server's own locale goes with its own encoding only, C with every one.
        [(usual,)] = server.ask(
            "SELECT pg_encoding_to_char(encoding) FROM pg_database WHERE datname = 'template1'",
            is_writing=False,
        )
        options = "" if encoding in ("", usual) else f" ENCODING {quote_text(encoding)} LOCALE 'C'"
        try:
            server.ask(f"CREATE DATABASE {quote_name(name)} TEMPLATE template0{options}")
        except EngineError as error:
            if error.code != DENIED.code:
                raise
            raise EngineError(
                f"The scratch account may not make the database {name}",
                hint="As an administrator: ALTER ROLE the scratch account CREATEDB.",
                permanent=True,
                code=DENIED.code,
            ) from error


def _name(label: str) -> str:
    return scratch_name(OWN_NAME, label, limit=NAME_BYTES)


def _with_encoding(pieces: Iterator[bytes]) -> tuple[str, Iterator[bytes]]:
    """Return the encoding that the dump's head names, "" for none, and the whole dump again."""
    head = b""
    for piece in pieces:
        head += piece
        if len(head) >= _HEAD_BYTES:
            break
    found = _ENCODING.search(head)
    return found[1].decode() if found else "", chain([head], pieces)
