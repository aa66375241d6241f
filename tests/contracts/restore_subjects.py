"""What the restore suite needs of each engine beside `database_subjects`."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.contracts.database_subjects import (
    PLACES,
    SUBJECTS,
    MySQLSubject,
    PostgreSQLSubject,
    SQLiteSubject,
    Subject,
)
from tests.workers.engine.databases import test_mysql, test_postgresql, test_sqlite
from workers.engine.databases import open_database
from workers.engine.databases.base import DatabaseSpec, DumpFacts


@dataclass(frozen=True)
class Case:
    """SQL of one engine: a database that is hard to restore, and what a site may do to it since."""

    adversarial: str
    damage: str
    chosen: tuple[str, ...]  # tables that the damage changes, and that need no other table


CASES = {
    "mysql": Case(
        test_mysql.ADVERSARIAL,
        "DROP TABLE emoji; UPDATE dates SET a = '2020-01-01'; DELETE FROM generated LIMIT 1;"
        "DROP TRIGGER logs; DROP VIEW good; DROP VIEW again; DROP PROCEDURE count_all;"
        "CREATE PROCEDURE count_all() SELECT 1; CREATE VIEW late_view AS SELECT 1 AS x;"
        "CREATE TABLE late (a INT); INSERT INTO late VALUES (1);"
        "CREATE TRIGGER late_trigger BEFORE INSERT ON generated FOR EACH ROW SET @a = 1;"
        "CREATE TRIGGER later_trigger BEFORE INSERT ON late FOR EACH ROW SET @a = 1;"
        "ALTER EVENT nightly ON SCHEDULE EVERY 2 DAY; INSERT INTO old VALUES (3)",
        ("emoji", "dates", "generated", "old"),
    ),
    "postgresql": Case(
        test_postgresql.ADVERSARIAL,
        "DROP TABLE texts; UPDATE typed SET p = 7; CREATE TABLE late (a int);"
        "INSERT INTO late VALUES (1); DELETE FROM numbers; DROP VIEW seen;"
        "CREATE VIEW late_view AS SELECT 1 AS x; UPDATE odd SET b = NULL;"
        "CREATE TABLE refers (id int REFERENCES typed); INSERT INTO refers VALUES (1);"
        'DELETE FROM "other one"."Ta""ble.x (y)"; SELECT lo_unlink(4242)',
        ("typed", "numbers", "odd", "none", 'other one.Ta"ble.x (y)'),
    ),
    "sqlite": Case(
        test_sqlite.ADVERSARIAL,
        "DROP TABLE spaced; DELETE FROM plain; CREATE TABLE late (a); INSERT INTO late VALUES (1);"
        "DROP INDEX computed_index; UPDATE computed SET d = 9; DELETE FROM counted;"
        "DELETE FROM search WHERE title = 'two'; DROP VIEW seen; PRAGMA user_version = 9;",
        ("spaced", "plain", "computed", "counted"),
    ),
}


def subject_of(request: pytest.FixtureRequest, engine: str, *, own: bool = False) -> Subject:
    """Return an engine's subject; `own` is on a server of this test alone."""
    place = PLACES[engine]
    return SUBJECTS[engine](request.getfixturevalue(f"own_{place}" if own else place))


def write(subject: Subject, spec: DatabaseSpec, sql: str) -> None:
    """Run statements in a database."""
    if isinstance(subject, SQLiteSubject):
        with closing(sqlite3.connect(spec.name)) as connection:
            connection.executescript(sql)
    else:
        assert isinstance(subject, MySQLSubject | PostgreSQLSubject)
        subject.server.execute(sql, spec.name)


def dumped(spec: DatabaseSpec, scratch: Path) -> tuple[bytes, DumpFacts]:
    """Return the text and the facts of a dump."""
    with open_database(spec).dump(scratch_directory=str(scratch)) as dump:
        text = b"".join(piece for piece in dump if isinstance(piece, bytes))
    return text, dump.facts()


def everything(subject: Subject, spec: DatabaseSpec) -> dict[str, object]:
    """Return all that a database holds: rows, definitions, code, settings."""
    if isinstance(subject, SQLiteSubject):
        return test_sqlite.content(Path(spec.name))
    found: dict[str, object] = dict(subject.fingerprint(spec))
    if isinstance(subject, MySQLSubject):
        found |= _mysql_code(subject, spec)
        # A table's checksum is of its bytes, and a sequence has numbers set aside in memory.
        found.pop("counter", None)
    else:
        assert isinstance(subject, PostgreSQLSubject)
        found["objects, large ones, database"] = subject.server.execute(
            "SELECT pg_describe_object(classid, objid, 0) FROM pg_depend"
            " WHERE classid <> 'pg_largeobject'::regclass AND refclassid = 'pg_namespace'::regclass"
            " AND refobjid::regnamespace::text !~ '^pg_|^information' ORDER BY 1;"
            "SELECT * FROM pg_largeobject;"
            "SELECT datallowconn, datacl::text[] @> ARRAY['=Tc/postgres'], datcollate,"
            " shobj_description(oid, 'pg_database') FROM pg_database"
            " WHERE datname = current_database(); SHOW work_mem; SHOW search_path",
            spec.name,
        )
    return found


def _mysql_code(subject: MySQLSubject, spec: DatabaseSpec) -> dict[str, object]:
    listed = subject.server.execute(
        "SELECT IF(TABLE_TYPE = 'VIEW', 'VIEW', 'TABLE'), TABLE_NAME"
        " FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE();"
        "SELECT ROUTINE_TYPE, ROUTINE_NAME FROM information_schema.ROUTINES"
        " WHERE ROUTINE_SCHEMA = DATABASE();"
        "SELECT 'EVENT', EVENT_NAME FROM information_schema.EVENTS"
        " WHERE EVENT_SCHEMA = DATABASE();"
        "SELECT 'TRIGGER', TRIGGER_NAME FROM information_schema.TRIGGERS"
        " WHERE TRIGGER_SCHEMA = DATABASE()",
        spec.name,
    )
    pairs = sorted(tuple(line.split("\t")) for line in listed.splitlines())
    shown = subject.server.execute(
        ";".join(f"SHOW CREATE {kind} `{name}`" for kind, name in pairs), spec.name
    ).splitlines()
    # When a trigger was made stands last.
    return {
        f"{kind} {name}": text.rsplit("\t", 1)[0] if kind == "TRIGGER" else text
        for (kind, name), text in zip(pairs, shown, strict=True)
    }


def left(subject: Subject, spec: DatabaseSpec) -> list[str]:
    """Return what of a restore is still there beside the database."""
    if isinstance(subject, SQLiteSubject):
        path = Path(spec.name)
        marks = [name for name in test_sqlite.content(path) if name.startswith("hf_")]
        own = {path.name, f"{path.name}-wal", f"{path.name}-shm"}
        return marks + [
            name
            for name in os.listdir(path.parent)
            if name.startswith(path.name) and name not in own
        ]
    assert isinstance(subject, MySQLSubject | PostgreSQLSubject)
    if isinstance(subject, MySQLSubject):
        return subject.server.execute("SHOW DATABASES LIKE '%\\_hf\\_%'").split()
    return subject.server.execute(
        "SELECT datname FROM pg_database WHERE datname ~ '_hf_'"
        " UNION ALL SELECT nspname FROM pg_namespace WHERE nspname ~ '_hf_'",
        spec.name,
    ).split()
