"""Loads dumps of MySQL or MariaDB for trial, on a server that none of our sites need be on."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from workers.engine.databases.base import SILENT, DatabaseSpec, unchecked
from workers.engine.databases.causes import DENIED
from workers.engine.databases.mysql import MySQLDatabase
from workers.engine.databases.mysql_client import MySQLClient, connected, quote_name
from workers.engine.databases.mysql_lending import MAINTENANCE, WANTED, is_denied
from workers.engine.databases.mysql_load import load
from workers.engine.databases.mysql_objects import drop_statements, read_objects
from workers.engine.databases.scratch_names import OWN_NAME, scratch_name
from workers.engine.errors import EngineError
from workers.engine.progress import Reporter

NAME_BYTES = 64
# Views, triggers, routines and events say at the beginning of a line whose they are. In rows line
# breaks are escaped, so none of theirs begins a line.
_QUOTED = rb"`(?:[^`\n]|``)*`"
_DEFINER = re.compile(
    rb"(?<=\n)((?:/\*!50003 CREATE\*/ |/\*!50106 CREATE\*/ )?(?:/\*!50013 |/\*!50017 |/\*!50117 "
    rb"|CREATE (?:OR REPLACE )?)DEFINER=)" + _QUOTED + b"@" + _QUOTED
)
# Longer than the beginning of any such line.
_LINE_BYTES = 4096


class MySQLTrialServer:
    """A MySQL or MariaDB server with an account for trials. See `base.TrialServer`."""

    def __init__(self, spec: DatabaseSpec) -> None:
        self._spec = replace(spec, name=MAINTENANCE)

    @contextlib.contextmanager
    def scratch(
        self,
        pieces: Iterable[bytes],
        *,
        label: str,
        scratch_directory: str,
        check: Callable[[], None] = unchecked,
        reporter: Reporter = SILENT,
    ) -> Iterator[MySQLDatabase]:
        """See `TrialServer.scratch`."""
        name = _name(label)
        with connected(self._spec, check, scratch_directory) as client:
            _require_names_as_they_are(client)
            try:
                with _allowed():
                    client.execute(f"{_drop(name)}; CREATE DATABASE {quote_name(name)}"
                                   " CHARACTER SET utf8mb4")  # fmt: skip
                    load_for_trial(client, name, without_definers(pieces), reporter)
                yield MySQLDatabase(replace(self._spec, name=name))
            except BaseException:
                with contextlib.suppress(EngineError):
                    self._drop(name)
                raise
        self._drop(name)

    def drop_leftovers(
        self, labels: Iterable[str], *, check: Callable[[], None] = unchecked
    ) -> None:
        """See `TrialServer.drop_leftovers`: nothing here is ever switched."""
        names = [_name(label) for label in labels]
        if names:
            with connected(self._spec, check) as client:
                client.execute("; ".join(map(_drop, names)))

    def _drop(self, name: str) -> None:
        with connected(self._spec, unchecked) as client:
            client.execute(_drop(name))


def load_for_trial(
    client: MySQLClient, name: str, pieces: Iterable[bytes], reporter: Reporter
) -> None:
    """Load a whole dump into the database `name`, and take out what would act by itself."""
    load(client, name, pieces, None, reporter)
    there = MySQLClient(replace(client.spec, name=name), client.options, client.check)
    there.execute(drop_statements(read_objects(there, kinds=("EVENT",))) or "DO 0")


def without_definers(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Yield a dump whose views, triggers, routines and events are of whoever loads it.

    Else the account would need the right to make them for others: on a server that holds more than
    scratch databases that is the right to run anything as anybody.
    """
    before, held = b"\n", b""
    for piece in pieces:
        text = held + piece
        cut = text.rfind(b"\n") + 1
        if len(text) - cut > _LINE_BYTES:
            cut = len(text)
        text, held = text[:cut], text[cut:]
        if text:
            yield _ours(before, text)
            before = text[-1:]
    if held:
        yield _ours(before, held)


def _ours(before: bytes, text: bytes) -> bytes:
    if b"DEFINER=" not in text:
        return text
    return _DEFINER.sub(rb"\1CURRENT_USER", before + text)[1:]


def _name(label: str) -> str:
    return scratch_name(OWN_NAME, label, limit=NAME_BYTES)


def _drop(name: str) -> str:
    return f"DROP DATABASE IF EXISTS {quote_name(name)}"


@contextlib.contextmanager
def _allowed() -> Iterator[None]:
    """Say of whatever the account may not do how it is allowed to."""
    try:
        yield
    except EngineError as error:
        if not is_denied(error):
            raise
        raise EngineError(
            f"The scratch account may not do what a trial needs: {error.message}",
            hint=f"As an administrator: {WANTED}.",
            permanent=True,
            code=DENIED.code,
        ) from error


def _require_names_as_they_are(client: MySQLClient) -> None:
    """Raise where tables would get other names than they were backed up under."""
    [(kind,)] = client.query("SELECT @@lower_case_table_names")
    if kind != "0":
        raise EngineError(
            f"The scratch server changes the names of tables (lower_case_table_names is {kind})",
            hint="Give HOLDFAST_SCRATCH_DATABASES a server where it is 0.",
            permanent=True,
            code="scratch_server_unfit",
        )
