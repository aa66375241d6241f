"""MySQL and MariaDB, dumped by the server's own client tool.

What the dump holds: every table, view, trigger, routine and event of one database, without the
statement that makes the database, so that it restores into any. All InnoDB tables are read in one
snapshot (`--single-transaction`) and nothing is locked; tables of engines without transactions are
each whole, but not of the same moment, which is reported. DEFINER clauses are kept: restoring them
needs the right to set them (or an administrator).
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path

from workers.engine.databases.base import (
    DatabaseEstimate,
    DatabaseSpec,
    DumpFacts,
    TableFacts,
    TableMark,
    table_facts,
)
from workers.engine.databases.mysql_client import connected, explain
from workers.engine.databases.mysql_inspect import Inspection, inspect
from workers.engine.databases.mysql_scan import MySQLScan
from workers.engine.process import Process, ProcessFailed, find_program, run, spawn

DUMP_ARGUMENTS = (
    "--single-transaction",
    "--skip-lock-tables",
    "--quick",
    "--triggers",
    "--hex-blob",
    "--default-character-set=utf8mb4",
    "--max-allowed-packet=1G",
)

# Passed where the tool's help names them: Oracle's needs them (statistics that MariaDB servers
# lack, the PROCESS privilege for tablespaces, GTIDs that a restore elsewhere must not set).
OPTIONAL_ARGUMENTS = {
    "--no-tablespaces": "--no-tablespaces",
    "--set-gtid-purged": "--set-gtid-purged=OFF",
    "--column-statistics": "--column-statistics=0",
}

_VERSION = re.compile(r"(\d+\.\d+\.\d+(?:-MariaDB)?)")


class MySQLDatabase:
    """One database of a MySQL or MariaDB server. See `base.Database`."""

    def __init__(self, spec: DatabaseSpec) -> None:
        self._spec = spec

    def estimate(self, *, check: Callable[[], None] = lambda: None) -> DatabaseEstimate:
        """See `Database.estimate`. Views are listed with storage engine "VIEW" and no rows."""
        with connected(self._spec, check) as client:
            found = inspect(client)
        return DatabaseEstimate(found.server_version, found.tables, tuple(found.warnings))

    @contextlib.contextmanager
    def dump(
        self, *, scratch_directory: str, check: Callable[[], None] = lambda: None
    ) -> Iterator[MySQLDump]:
        """See `Database.dump`."""
        with connected(self._spec, check, scratch_directory) as client:
            found = inspect(client)
            is_mariadb = "MariaDB" in found.server_version
            names = ("mariadb-dump", "mysqldump") if is_mariadb else ("mysqldump", "mariadb-dump")
            tool = find_program(*names, hint="Install mariadb-client or mysql-client on the node.")
            if ("MariaDB" in tool_version(tool)) != is_mariadb:
                found.warnings.append(
                    f"The server is {found.server_version}, but the only dump tool on this node is"
                    f" {Path(tool).name} {tool_version(tool)}: install the server's own client."
                )
            ignored = (f"--ignore-table={self._spec.name}.{view}" for view in found.broken_views)
            argv = [
                *(tool, *client.arguments, *DUMP_ARGUMENTS, *optional_arguments(tool)),
                *(*found.arguments, *ignored, "--", self._spec.name),
            ]
            with spawn(
                argv, environment=client.environment, secrets=client.secrets, check=check
            ) as process:
                yield MySQLDump(process, self._spec, found, tool)

    def checksums(
        self, *, scratch_directory: str, check: Callable[[], None] = lambda: None
    ) -> dict[str, TableFacts]:
        """See `Database.checksums`."""
        with self.dump(scratch_directory=scratch_directory, check=check) as dump:
            return table_facts(dump)

    def query(
        self, statement: str, *, check: Callable[[], None] = lambda: None
    ) -> list[tuple[str, ...]]:
        """See `Database.query`. NULL reads as "NULL"; the session is read-only."""
        with connected(self._spec, check) as client:
            return client.query(statement)


class MySQLDump:
    """A running `mariadb-dump` or `mysqldump`. See `base.Dump`."""

    def __init__(self, process: Process, spec: DatabaseSpec, found: Inspection, tool: str) -> None:
        self._process = process
        self._spec = spec
        self._found = found
        self._tool = tool
        self._scan = MySQLScan()
        self._facts: DumpFacts | None = None

    def __iter__(self) -> Iterator[bytes | TableMark]:
        """See `Dump.__iter__`."""
        try:
            for chunk in self._process.chunks():
                yield from self._scan.feed(chunk)
        except ProcessFailed as failure:
            raise explain(failure, f"The dump of database {self._spec.name}") from failure
        yield from self._scan.finish(_kept_as_comment(self._found.broken_views))
        self._facts = self._gathered()

    def facts(self) -> DumpFacts:
        """See `Dump.facts`."""
        assert self._facts is not None, "the dump was not read to its end"
        return self._facts

    def _gathered(self) -> DumpFacts:
        warnings = list(self._found.warnings)
        warnings += [
            f"Table {name} has a row of {size >> 20} MiB as SQL: to restore it, start client and"
            " server with a max_allowed_packet above that."
            for name, size in self._scan.large_rows.items()
        ]
        if said := self._process.stderr_tail():
            warnings.append(f"{self._process.program} said: {said}")
        return DumpFacts(
            tool=Path(self._tool).name,
            tool_version=tool_version(self._tool),
            server_version=self._found.server_version,
            bytes_total=self._scan.bytes_total,
            tables=self._scan.tables | dict.fromkeys(self._found.broken_views),
            warnings=tuple(warnings),
            checksums=dict(self._scan.checksums),
        )


@lru_cache
def tool_version(tool: str) -> str:
    """Return the version of a client program, such as "10.11.19-MariaDB" or "8.0.36"."""
    said = run([tool, "--no-defaults", "--version"]).decode("utf-8", "replace").strip()
    found = _VERSION.search(said)
    return found[1] if found else said


@lru_cache
def optional_arguments(tool: str) -> tuple[str, ...]:
    """Return those of `OPTIONAL_ARGUMENTS` that this program understands."""
    said = run([tool, "--no-defaults", "--help"]).decode("utf-8", "replace")
    return tuple(
        argument
        for option, argument in OPTIONAL_ARGUMENTS.items()
        if re.search(rf"{re.escape(option)}\b", said)
    )


def _kept_as_comment(views: dict[str, str]) -> bytes:
    """Return SQL comments that keep the definitions of `views`; as statements they would fail."""
    text = "".join(
        f"--\n-- View {name!r} could not be read at its source; as the catalogue has it:\n"
        + "".join(f"-- {line}\n" for line in definition.splitlines())
        + "--\n\n"
        for name, definition in views.items()
    )
    return text.encode("utf-8", "replace")
