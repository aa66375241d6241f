"""One subject per database engine: how the contract suite makes, restores and compares them."""

from __future__ import annotations

import hashlib
import sqlite3
import subprocess
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from tests.servers import free_port
from tests.servers.mariadb import MariaDBServer
from tests.servers.postgres import PostgresServer
from workers.engine.databases.base import DatabaseSpec

CONTENT = """
CREATE TABLE posts (id INTEGER PRIMARY KEY, title VARCHAR(200), body TEXT);
INSERT INTO posts VALUES (1, 'Grüße 🎉', 'one'), (2, NULL, 'it''s (two)'), (3, '', 'x');
CREATE TABLE blank (id INTEGER);
CREATE TABLE options (name VARCHAR(50) PRIMARY KEY, value TEXT);
INSERT INTO options VALUES ('siteurl', 'https://example.test');
CREATE VIEW titles AS SELECT id, title FROM posts;
"""
ROWS = {"posts": 3, "blank": 0, "options": 1, "titles": None}


class Subject(Protocol):
    """An engine with somewhere to make databases."""

    def create(self, sql: str = "") -> DatabaseSpec:
        """Make a database that holds what `sql` says."""

    def restore(self, dump: bytes) -> DatabaseSpec:
        """Feed `dump` to the engine's own client alone, into a new database."""

    def fingerprint(self, spec: DatabaseSpec) -> dict[str, str]:
        """Map each table to a checksum of its content, each view to its definition."""

    def fill(self, spec: DatabaseSpec, megabytes: int) -> None:
        """Add a table `filler` of about that size to the database."""

    def refused(self, spec: DatabaseSpec) -> dict[str, DatabaseSpec]:
        """Map error codes to specs that must be refused with them, for good."""


class MySQLSubject:
    """MariaDB by the `mariadb` client."""

    def __init__(self, server: MariaDBServer) -> None:
        self.server = server

    def create(self, sql: str = "") -> DatabaseSpec:
        name = self.server.create_database()
        if sql:
            self.server.execute(sql, name)
        server = self.server
        return DatabaseSpec(
            "mysql", name, server.host, server.port, user=server.user, password=server.password
        )

    def restore(self, dump: bytes) -> DatabaseSpec:
        spec = self.create()
        self.server.execute(dump, spec.name)
        return spec

    def fingerprint(self, spec: DatabaseSpec) -> dict[str, str]:
        def rows(sql: str) -> list[list[str]]:
            return [line.split("\t") for line in self.server.execute(sql, spec.name).splitlines()]

        found = {}
        names = [name for name, kind in rows("SHOW FULL TABLES") if kind == "BASE TABLE"]
        if names:
            listed = ",".join(f"`{name}`" for name in names)
            for name, checksum in rows(f"CHECKSUM TABLE {listed} EXTENDED"):
                found[name.removeprefix(f"{spec.name}.")] = checksum
        for name, text in rows(
            "SELECT TABLE_NAME, REPLACE(VIEW_DEFINITION, CONCAT('`', DATABASE(), '`.'), '')"
            " FROM information_schema.VIEWS WHERE TABLE_SCHEMA = DATABASE()"
        ):
            found[name] = text
        return found

    def fill(self, spec: DatabaseSpec, megabytes: int) -> None:
        self.server.execute(
            "CREATE TABLE filler (id INT PRIMARY KEY, body TEXT);"
            "INSERT INTO filler SELECT seq, REPEAT(MD5(seq), 32)"
            f" FROM seq_1_to_{megabytes * 1000};"
            "ANALYZE TABLE filler",
            spec.name,
        )

    def refused(self, spec: DatabaseSpec) -> dict[str, DatabaseSpec]:
        return {
            "credentials_refused": replace(spec, password="not the password"),
            "database_unknown": replace(spec, name="no_such_database"),
        }


class PostgreSQLSubject:
    """PostgreSQL by `psql`."""

    def __init__(self, server: PostgresServer) -> None:
        self.server = server

    def create(self, sql: str = "") -> DatabaseSpec:
        name = self.server.create_database()
        if sql:
            self.server.execute(sql, name)
        server = self.server
        return DatabaseSpec(
            "postgresql", name, server.host, server.port, user=server.user, password=server.password
        )

    def restore(self, dump: bytes) -> DatabaseSpec:
        spec = self.create()
        self.server.execute(dump, spec.name)
        return spec

    def fingerprint(self, spec: DatabaseSpec) -> dict[str, str]:
        tables = self.server.execute(
            "SELECT oid::regclass FROM pg_class WHERE relkind IN ('r', 'v', 'm')"
            " AND relnamespace::regnamespace::text !~ '^pg_|^information_schema'",
            spec.name,
        ).splitlines()
        # In one statement: a client for each would cost more than what it asks for.
        each = " UNION ALL ".join(
            f"SELECT {number}, concat(count(*), ' ',"
            f" md5(string_agg(md5(t::text), '' ORDER BY t::text))) FROM {table} t"
            for number, table in enumerate(tables)
        )
        listed = f"SELECT found FROM ({each}) AS each (number, found) ORDER BY number"
        found = self.server.execute(listed, spec.name).splitlines() if tables else []
        return dict(zip(tables, found, strict=True))

    def fill(self, spec: DatabaseSpec, megabytes: int) -> None:
        self.server.execute(
            "CREATE TABLE filler (id INT PRIMARY KEY, body TEXT);"
            "INSERT INTO filler SELECT n, repeat(md5(n::text), 32)"
            f" FROM generate_series(1, {megabytes * 1000}) n",
            spec.name,
        )

    def refused(self, spec: DatabaseSpec) -> dict[str, DatabaseSpec]:
        return {
            "credentials_refused": replace(spec, password="not the password"),
            "database_unknown": replace(spec, name="no_such_database"),
            "credentials_unusable": replace(spec, password="two\nlines"),
        }


class SQLiteSubject:
    """SQLite by the `sqlite3` shell."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._count = 0

    def create(self, sql: str = "") -> DatabaseSpec:
        self._count += 1
        path = self.directory / f"{self._count}.sqlite3"
        with closing(sqlite3.connect(path)) as connection:
            connection.executescript(f"{sql};VACUUM")
        return DatabaseSpec("sqlite", str(path))

    def restore(self, dump: bytes) -> DatabaseSpec:
        spec = self.create()
        answer = subprocess.run(
            ["sqlite3", "-bail", spec.name], input=dump, capture_output=True, check=False
        )
        assert answer.returncode == 0, answer.stderr
        assert not answer.stderr
        return spec

    def fingerprint(self, spec: DatabaseSpec) -> dict[str, str]:
        with closing(sqlite3.connect(spec.name)) as connection:
            connection.text_factory = bytes
            names = connection.execute("SELECT name FROM sqlite_master WHERE type != 'index'")
            found = {}
            for name in sorted(bytes(row[0]).decode() for row in names):
                found[name] = _content(connection, name)
            return found

    def fill(self, spec: DatabaseSpec, megabytes: int) -> None:
        with closing(sqlite3.connect(spec.name)) as connection:
            connection.executescript(
                "CREATE TABLE filler (id INTEGER PRIMARY KEY, body TEXT);"
                "INSERT INTO filler WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n"
                f" WHERE i < {megabytes * 1000}) SELECT i, hex(randomblob(512)) FROM n;"
            )

    def refused(self, spec: DatabaseSpec) -> dict[str, DatabaseSpec]:
        text = self.directory / "text.sqlite3"
        text.write_text("this is no database, " * 1000)
        return {
            "database_unknown": replace(spec, name=str(self.directory / "absent")),
            "table_damaged": replace(spec, name=str(text)),
        }


def _content(connection: sqlite3.Connection, name: str) -> str:
    quoted = '"' + name.replace('"', '""') + '"'
    try:
        cursor = connection.execute(f"SELECT * FROM {quoted}")
    except sqlite3.OperationalError as error:
        return str(error)  # a trigger, or a module that is not here: the definition is compared
    columns = [f'"{column[0]}"' for column in cursor.description]
    kinds = ",".join(f"typeof({column})" for column in columns)
    rows = connection.execute(f"SELECT *, {kinds} FROM {quoted}").fetchall()
    return f"{len(rows)} {hashlib.sha256(repr(rows).encode()).hexdigest()}"


SUBJECTS: dict[str, Callable[..., Subject]] = {
    "mysql": MySQLSubject,
    "postgresql": PostgreSQLSubject,
    "sqlite": SQLiteSubject,
}
PLACES = {"mysql": "mariadb_server", "postgresql": "postgres_server", "sqlite": "tmp_path"}


def unreachable(spec: DatabaseSpec) -> DatabaseSpec:
    """Return the same database at a port where nobody listens."""
    return replace(spec, port=free_port())
