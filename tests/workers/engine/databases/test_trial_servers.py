"""Dumps are loaded for trial with an account that knows nothing of the site."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.contracts.database_subjects import CONTENT, ROWS, MySQLSubject, PostgreSQLSubject
from tests.contracts.restore_subjects import dumped, left
from tests.servers.mariadb import MariaDBServer
from tests.servers.postgres import PostgresServer
from tests.workers.engine.databases.test_mysql import ADVERSARIAL
from workers.engine.databases import open_trial_server
from workers.engine.databases.base import DatabaseSpec
from workers.engine.databases.mysql_trial import without_definers
from workers.engine.errors import EngineError, StopRequested

OWN = r"GRANT ALL PRIVILEGES ON `holdfast\_hf\_%`.* TO trial@'%'"


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    path = tmp_path / "scratch"
    path.mkdir(mode=0o700)
    return path


@pytest.fixture
def mysql_trial(mariadb_server: MariaDBServer) -> DatabaseSpec:
    mariadb_server.execute(f"CREATE OR REPLACE USER trial@'%' IDENTIFIED BY 'p'; {OWN}")
    server = mariadb_server
    return DatabaseSpec("mysql", "", server.host, server.port, user="trial", password="p")


@pytest.fixture
def postgresql_trial(postgres_server: PostgresServer) -> DatabaseSpec:
    postgres_server.execute(
        "DO $$ BEGIN CREATE ROLE trial LOGIN CREATEDB PASSWORD 'p';"
        " EXCEPTION WHEN duplicate_object THEN ALTER ROLE trial CREATEDB; END $$"
    )
    server = postgres_server
    return DatabaseSpec("postgresql", "", server.host, server.port, user="trial", password="p")


@pytest.mark.parametrize("engine", ["mysql", "postgresql"])
def test_all_of_a_dump_is_there_to_look_at_and_nothing_afterwards(
    request: pytest.FixtureRequest, engine: str, scratch: Path
) -> None:
    trial: DatabaseSpec = request.getfixturevalue(f"{engine}_trial")
    subject: MySQLSubject | PostgreSQLSubject
    if engine == "mysql":
        subject = MySQLSubject(request.getfixturevalue("mariadb_server"))
    else:
        subject = PostgreSQLSubject(request.getfixturevalue("postgres_server"))
    site = subject.create(CONTENT)
    text, facts = dumped(site, scratch)
    subject.server.execute("DELETE FROM posts", site.name)
    server = open_trial_server(trial)
    pieces = [text[at : at + 500] for at in range(0, len(text), 500)]
    with server.scratch(pieces, label="a1", scratch_directory=str(scratch)) as database:
        with database.dump(scratch_directory=str(scratch)) as dump:
            for _piece in dump:
                pass
        found = dump.facts()
    assert {name: found.tables[name] for name in ROWS} == ROWS
    assert found.checksums == facts.checksums
    assert found.dialect == facts.dialect
    assert left(subject, site) == []
    assert not list(scratch.iterdir())


def test_a_database_in_another_encoding_comes_back_in_it(
    postgres_server: PostgresServer, postgresql_trial: DatabaseSpec, scratch: Path
) -> None:
    postgres_server.execute("CREATE DATABASE latin TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'")
    try:
        postgres_server.execute("CREATE TABLE t (a text); INSERT INTO t VALUES (chr(252))", "latin")
        server = postgres_server
        spec = DatabaseSpec(
            "postgresql", "latin", server.host, server.port, user=server.user,
            password=server.password,
        )  # fmt: skip
        text, facts = dumped(spec, scratch)
        trial = open_trial_server(postgresql_trial)
        with trial.scratch([text], label="l1", scratch_directory=str(scratch)) as database:
            sums = database.checksums(scratch_directory=str(scratch))
        assert {name: table.checksum for name, table in sums.items()} == facts.checksums
        assert facts.dialect.startswith("LATIN1 ")
    finally:
        postgres_server.execute("DROP DATABASE latin")


def test_leftovers_of_dead_attempts_go_and_others_stay(
    mariadb_server: MariaDBServer, mysql_trial: DatabaseSpec
) -> None:
    for label in ("m1", "m2", "m3"):
        mariadb_server.execute(f"CREATE DATABASE holdfast_hf_{label}")
    server = open_trial_server(mysql_trial)
    for _ in range(2):
        server.drop_leftovers(["m1", "m2"])
    server.drop_leftovers([])
    found = mariadb_server.execute("SHOW DATABASES LIKE 'holdfast\\_hf\\_m%'").split()
    assert found == ["holdfast_hf_m3"]
    mariadb_server.execute("DROP DATABASE holdfast_hf_m3")


def test_nothing_is_left_when_a_trial_is_stopped(
    mariadb_server: MariaDBServer, mysql_trial: DatabaseSpec, scratch: Path
) -> None:
    subject = MySQLSubject(mariadb_server)
    spec = subject.create(CONTENT)
    text, _ = dumped(spec, scratch)
    with (
        pytest.raises(StopRequested),
        open_trial_server(mysql_trial).scratch([text], label="s1", scratch_directory=str(scratch)),
    ):
        assert left(subject, spec) == ["holdfast_hf_s1"]
        raise StopRequested
    assert left(subject, spec) == []


def test_what_belongs_to_others_is_loaded_without_the_right_to_be_them(
    mariadb_server: MariaDBServer, mysql_trial: DatabaseSpec, scratch: Path
) -> None:
    subject = MySQLSubject(mariadb_server)
    spec = subject.create(ADVERSARIAL)
    text, facts = dumped(spec, scratch)
    assert text.count(b"DEFINER=`root`@") > 4
    server = open_trial_server(mysql_trial)
    pieces = [text[at : at + 333] for at in range(0, len(text), 333)]
    with server.scratch(pieces, label="o1", scratch_directory=str(scratch)) as database:
        found = database.checksums(scratch_directory=str(scratch))
        definers = database.query(
            "SELECT DISTINCT DEFINER FROM information_schema.TRIGGERS"
            " WHERE TRIGGER_SCHEMA = DATABASE()"
        )
    assert {name: each.checksum for name, each in found.items()} == facts.checksums
    assert definers == [("trial@%",)]
    assert left(subject, spec) == []


LINES = (
    b"CREATE DEFINER=`r``oot`@`%` PROCEDURE p()\n"
    b"/*!50003 CREATE*/ /*!50017 DEFINER=`a`@`b`*/ /*!50003 TRIGGER t\n"
    b"/*!50013 DEFINER=`a`@`b` SQL SECURITY DEFINER */\n"
    b"/*!50106 CREATE*/ /*!50117 DEFINER=`a`@`b`*/ /*!50106 EVENT e\n"
)
ROW = b"(1,'" + b"x" * 5000 + b"CREATE DEFINER=`a`@`b` PROCEDURE p()'),\n(2,'DEFINER=`a`@`b`');\n"


@given(st.integers(1, 6000))
def test_only_lines_that_say_whose_something_is_change(size: int) -> None:
    text = LINES + ROW + LINES
    pieces = [text[at : at + size] for at in range(0, len(text), size)]
    ours = re.sub(rb"`[^ ]*@`[^`]*`", b"CURRENT_USER", LINES)
    assert ours.count(b"CURRENT_USER") == 4
    assert b"".join(without_definers(pieces)) == ours + ROW + ours


def test_an_account_that_may_not_is_told_what_it_needs(
    mariadb_server: MariaDBServer, mysql_trial: DatabaseSpec, scratch: Path
) -> None:
    mariadb_server.execute("CREATE OR REPLACE USER trial@'%' IDENTIFIED BY 'p'")
    server = open_trial_server(mysql_trial)
    with (
        pytest.raises(EngineError, match="scratch account may not") as failure,
        server.scratch([b""], label="d1", scratch_directory=str(scratch)),
    ):
        pass
    assert (failure.value.code, failure.value.permanent) == ("privileges_missing", True)
    assert r"`%\_hf\_%`" in failure.value.hint


def test_postgresql_says_that_the_account_needs_createdb(
    postgres_server: PostgresServer, postgresql_trial: DatabaseSpec, scratch: Path
) -> None:
    postgres_server.execute("ALTER ROLE trial NOCREATEDB")
    with (
        pytest.raises(EngineError, match="may not make the database") as failure,
        open_trial_server(postgresql_trial).scratch(
            [b"SELECT 1;\n"], label="n1", scratch_directory=str(scratch)
        ),
    ):
        pass
    assert failure.value.code == "privileges_missing"
    assert "CREATEDB" in failure.value.hint
