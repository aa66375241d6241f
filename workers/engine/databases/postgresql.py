"""PostgreSQL, dumped by its own `pg_dump` as plain SQL.

Owners, privileges and tablespaces are left out, so that the dump restores into a database of
another name and owner. `pg_dump` reads one snapshot and keeps out only changes of structure.
"""

from __future__ import annotations

import contextlib
import csv
import io
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from workers.engine.databases.base import (
    DatabaseEstimate,
    DatabaseSpec,
    DumpFacts,
    TableEstimate,
    TableFacts,
    TableMark,
    table_facts,
)
from workers.engine.databases.causes import (
    AWAY,
    BUSY,
    DAMAGED,
    DENIED,
    LOST,
    PLUGIN,
    REFUSED,
    UNKNOWN,
    explained,
)
from workers.engine.databases.postgresql_scan import PostgreSQLScan
from workers.engine.databases.private import (
    private_directory,
    readable,
    refuse_control_characters,
    write_private,
)
from workers.engine.errors import EngineError
from workers.engine.process import Process, ProcessFailed, find_program, run, spawn

CONNECT_SECONDS = 20
LOCK_WAIT_MILLISECONDS = 60_000
INSTALL = "Install postgresql-client, of the server's version or newer, on the node."

DUMP_ARGUMENTS = (
    "--format=plain",
    "--no-owner",
    "--no-privileges",
    "--no-tablespaces",
    "--no-password",
    # Behind somebody's ALTER TABLE it would wait for ever, and every reader behind it.
    f"--lock-wait-timeout={LOCK_WAIT_MILLISECONDS}",
)

# The client quotes no error codes while it signs in, so its words have to do, and these are
# English only where the server's lc_messages is. First match wins.
CAUSES = (
    (r"server version mismatch", PLUGIN),
    (r"SCRAM|authentication method .* not supported", PLUGIN),
    (r"password authentication failed|no password supplied|no pg_hba.conf entry", REFUSED),
    (r"authentication failed|role \".*\" does not exist|is not permitted to log in", REFUSED),
    (r"database \".*\" does not exist", UNKNOWN),
    (r"permission denied|row-level security|must be owner", DENIED),
    (r"invalid page|could not read block|missing chunk|invalid memory alloc", DAMAGED),
    (r"server closed the connection|terminating connection|SSL SYSCALL|connection not open", LOST),
    (r"lost synchronization|the database system is (?:starting|shutting)", LOST),
    (r"lock timeout|statement timeout|too many clients|remaining connection slots|deadlock", BUSY),
    (r"could not translate host|connection to server|could not connect", AWAY),
)

_TABLES = """
    SELECT CASE n.nspname WHEN 'public' THEN '' ELSE n.nspname || '.' END || c.relname, c.relkind,
           CASE c.relkind WHEN 'r' THEN pg_catalog.pg_table_size(c.oid) ELSE 0 END, c.reltuples
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'v', 'm') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
      AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.objid = c.oid AND d.deptype = 'e'
                      AND d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass)
    ORDER BY 1
"""
# The version, then what else decides how values read in a dump; pg_dump itself sets the rest.
_SERVER = (
    "SELECT current_setting('server_version'), concat_ws(' ', current_setting('server_encoding'),"
    " current_setting('TimeZone'), current_setting('bytea_output'), current_setting('lc_monetary'))"
)
_KINDS = {"r": "table", "v": "view", "m": "materialized view"}


@dataclass(frozen=True, slots=True)
class Access:
    """How the clients sign in: variables, none of them secret, and what must not be quoted."""

    environment: dict[str, str]
    secrets: tuple[str, ...]


class PostgreSQLDatabase:
    """One database of a PostgreSQL server. See `base.Database`.

    `DatabaseSpec.socket` is the folder of the server's socket, or the socket itself.
    """

    def __init__(self, spec: DatabaseSpec) -> None:
        self._spec = spec

    def estimate(self, *, check: Callable[[], None] = lambda: None) -> DatabaseEstimate:
        """See `Database.estimate`. Tables outside the schema "public" carry their schema's name."""
        [(version,)] = self.query("SHOW server_version", check=check)
        tables = (
            TableEstimate(
                name=name,
                bytes_estimate=int(size),
                # Since PostgreSQL 14, -1 stands for a table that was never analysed.
                rows_estimate=int(float(rows)) if kind == "r" and float(rows) >= 0 else None,
                storage_engine=_KINDS[kind],
            )
            for name, kind, size, rows in self.query(_TABLES, check=check)
        )
        return DatabaseEstimate(version, tuple(tables))

    @contextlib.contextmanager
    def dump(
        self, *, scratch_directory: str, check: Callable[[], None] = lambda: None
    ) -> Iterator[PostgreSQLDump]:
        """See `Database.dump`."""
        [(server_version, dialect)] = self.query(_SERVER, check=check)
        tool = find_program("pg_dump", hint=INSTALL)
        with (
            signed_in(self._spec, scratch_directory) as access,
            spawn(
                [tool, *DUMP_ARGUMENTS],
                environment=access.environment,
                secrets=access.secrets,
                check=check,
            ) as process,
        ):
            yield PostgreSQLDump(process, self._spec.name, server_version, dialect, tool)

    def checksums(
        self, *, scratch_directory: str, check: Callable[[], None] = lambda: None
    ) -> dict[str, TableFacts]:
        """See `Database.checksums`."""
        with self.dump(scratch_directory=scratch_directory, check=check) as dump:
            return table_facts(dump)

    def query(
        self, statement: str, *, check: Callable[[], None] = lambda: None
    ) -> list[tuple[str, ...]]:
        """See `Database.query`. NULL reads as the empty text; the session is read-only."""
        return ask(self._spec, statement, check=check)


class PostgreSQLDump:
    """A running `pg_dump`. See `base.Dump`."""

    def __init__(
        self, process: Process, name: str, server_version: str, dialect: str, tool: str
    ) -> None:
        self._process = process
        self._name = name
        self._server_version = server_version
        self._dialect = dialect
        self._tool = tool
        self._scan = PostgreSQLScan()
        self._finished = False

    def __iter__(self) -> Iterator[bytes | TableMark]:
        """See `Dump.__iter__`."""
        try:
            for chunk in self._process.chunks():
                yield from self._scan.feed(chunk)
        except ProcessFailed as failure:
            raise explain(failure, f"The dump of database {self._name}") from failure
        yield from self._scan.finish()
        self._finished = True

    def facts(self) -> DumpFacts:
        """See `Dump.facts`."""
        assert self._finished, "the dump was not read to its end"
        said = self._process.stderr_tail()
        return DumpFacts(
            tool=Path(self._tool).name,
            tool_version=tool_version(self._tool),
            server_version=self._server_version,
            bytes_total=self._scan.bytes_total,
            tables=dict(self._scan.tables),
            warnings=(f"{self._process.program} said: {said}",) if said else (),
            checksums=dict(self._scan.checksums),
            dialect=self._dialect,
        )


def explain(failure: ProcessFailed, doing: str) -> EngineError:
    """Return what a client's failure means while it was `doing` (as in "The dump of x")."""
    causes = (cause for pattern, cause in CAUSES if re.search(pattern, failure.stderr))
    return explained(failure, doing, next(causes, None))


@lru_cache
def tool_version(tool: str) -> str:
    """Return the version of a client program, such as "15.18"."""
    said = run([tool, "--version"]).decode("utf-8", "replace").strip()
    found = re.search(r"\d+(?:\.\d+)+", said)
    return found[0] if found else said


def ask(
    spec: DatabaseSpec,
    statements: str,
    *,
    check: Callable[[], None],
    is_writing: bool = False,
    settings: str = "",
) -> list[tuple[str, ...]]:
    """Run statements one after another and return all rows as text; for small answers only.

    The session is read-only unless `is_writing`; `settings` are more options of it. Raises
    `EngineError` at the first statement that fails.
    """
    argv = [
        find_program("psql", hint=INSTALL),
        *("--no-psqlrc", "--quiet", "--no-password", "--tuples-only", "--csv"),
        "--set=ON_ERROR_STOP=1",
    ]
    options = settings if is_writing else f"{settings} -c default_transaction_read_only=on"
    session = {"PGOPTIONS": options.strip(), "PGCLIENTENCODING": "UTF8"}
    try:
        with signed_in(spec) as access, readable(f"{statements};\n") as stdin:
            answer = run(
                argv,
                environment=access.environment | session,
                secrets=access.secrets,
                check=check,
                stdin=stdin,
            )
    except ProcessFailed as failure:
        doing = "A change of" if is_writing else "A query of"
        raise explain(failure, f"{doing} database {spec.name}") from failure
    text = io.StringIO(answer.decode("utf-8", "replace"), newline="")
    # One column that is NULL is an empty line, which the reader takes for no cells at all.
    return [tuple(row) or ("",) for row in csv.reader(text)]


@contextlib.contextmanager
def signed_in(spec: DatabaseSpec, scratch_directory: str | None = None) -> Iterator[Access]:
    """Yield how clients sign in; the password's file (mode 0600) is removed at the end."""
    refuse_control_characters("password", spec.password, "\0\n\r")
    for label, value in (("user", spec.user), ("name", spec.name)):
        refuse_control_characters(label, value)
    with private_directory(scratch_directory) as directory:
        password_file = directory / "pgpass"
        escaped = spec.password.replace("\\", "\\\\").replace(":", "\\:")
        write_private(password_file, f"*:*:*:*:{escaped}\n")
        # Not as arguments, where a name such as "a=b" would be taken for a connection string.
        environment = {
            "PGPASSFILE": str(password_file),
            "PGDATABASE": spec.name,
            "PGCONNECT_TIMEOUT": str(CONNECT_SECONDS),
            "PGHOST": spec.host,
            "PGPORT": "" if spec.port is None else str(spec.port),
            "PGUSER": spec.user,
        }
        if spec.socket:
            environment |= _socket(Path(spec.socket))
        yield Access({k: v for k, v in environment.items() if v}, (spec.password,))


def _socket(path: Path) -> dict[str, str]:
    if path.name.startswith(".s.PGSQL."):
        return {"PGHOST": str(path.parent), "PGPORT": path.name.removeprefix(".s.PGSQL.")}
    return {"PGHOST": str(path)}
