from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.contracts.database_subjects import (
    CONTENT,
    MySQLSubject,
    PostgreSQLSubject,
    SQLiteSubject,
)
from tests.contracts.restore_subjects import dumped, left, write
from tests.servers.mariadb import MariaDBServer
from tests.servers.postgres import PostgresServer
from workers.engine.databases import open_restorer
from workers.engine.databases.base import DatabaseSpec
from workers.engine.databases.line_sum import LineSum
from workers.engine.databases.scratch_names import scratch_name
from workers.engine.errors import EngineError

BEGINNING = b"INSERT INTO `t` VALUES\n"


def statements(rows: list[bytes], each: int) -> bytes:
    """Return rows as a dump has them, so many in each statement."""
    text = b""
    for at in range(0, len(rows), each):
        text += BEGINNING + b",\n".join(rows[at : at + each]) + b";\n"
    return text


def summed(text: bytes, size: int) -> str:
    line_sum = LineSum(statements=True)
    for at in range(0, len(text), size):
        line_sum.feed(text[at : at + size])
    return line_sum.text()


@given(st.permutations(range(20)), st.integers(1, 20), st.integers(1, 90))
def test_a_sum_does_not_depend_on_the_order_and_the_pieces(
    order: list[int], each: int, size: int
) -> None:
    rows = [b"(%d,'x);')" % number for number in range(20)]
    expected = summed(statements(rows, 7), 1 << 20)
    assert summed(statements([rows[at] for at in order], each), size) == expected
    for changed in (rows[1:], [*rows, rows[0]], [b"(0,NULL)", *rows[1:]], [b"(0,'')", *rows[1:]]):
        assert summed(statements(changed, each), size) != expected


def test_scratch_names_are_short_enough_and_tell_long_names_apart() -> None:
    assert scratch_name("wp", "a1", limit=64) == "wp_hf_a1"
    one, two = (scratch_name("ü" * 40 + end, "a1", "_old", limit=64) for end in "ab")
    assert one != two
    for name in (one, two):
        assert len(name.encode()) <= 64
        assert name.endswith("_hf_a1_old")


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    path = tmp_path / "scratch"
    path.mkdir(mode=0o700)
    return path


def test_mysql_says_which_grant_is_missing_when_no_database_can_be_made(
    mariadb_server: MariaDBServer, scratch: Path
) -> None:
    subject = MySQLSubject(mariadb_server)
    spec = subject.create(CONTENT)
    text, _ = dumped(spec, scratch)
    mariadb_server.execute(
        "CREATE OR REPLACE USER tenant@'%' IDENTIFIED BY 'p';"
        f"GRANT ALL ON {spec.name}.* TO tenant@'%'"
    )
    tenant = replace(spec, user="tenant", password="p")
    with pytest.raises(EngineError, match=f"{spec.name}_hf_t1") as failure:
        open_restorer(tenant).prepare([text], label="t1", scratch_directory=str(scratch))
    assert failure.value.code == "privileges_missing"
    assert failure.value.permanent
    pattern = f"{spec.name}_hf_".replace("_", r"\_")
    assert f"`{pattern}%`" in failure.value.hint
    # And with that grant it works.
    mariadb_server.execute(f"GRANT ALL PRIVILEGES ON `{pattern}%`.* TO tenant@'%'")
    mariadb_server.execute(f"DELETE FROM {spec.name}.posts; DROP VIEW {spec.name}.titles")
    tables = ["posts", "blank"]
    switch = open_restorer(tenant).prepare(
        [text], label="t2", tables=tables, scratch_directory=str(scratch)
    )
    switch.switch()
    switch.discard()
    assert mariadb_server.execute(f"SELECT COUNT(*) FROM {spec.name}.posts") == "3\n"
    assert left(subject, spec) == []


def test_mysql_refuses_tables_that_foreign_keys_tie_to_others(
    mariadb_server: MariaDBServer, scratch: Path
) -> None:
    subject = MySQLSubject(mariadb_server)
    spec = subject.create(
        "CREATE TABLE parent (id INT PRIMARY KEY);"
        "CREATE TABLE child (id INT, FOREIGN KEY (id) REFERENCES parent (id))"
    )
    text, _ = dumped(spec, scratch)
    for table in ("parent", "child"):
        with pytest.raises(EngineError, match=r"child refers to table parent") as failure:
            open_restorer(spec).prepare(
                [text], label="u1", tables=[table], scratch_directory=str(scratch)
            )
        assert failure.value.code == "tables_belong_together"
    assert left(subject, spec) == []


@pytest.mark.parametrize("engine", ["mysql", "postgresql", "sqlite"])
def test_a_dump_runs_no_programs_and_reaches_no_files(
    request: pytest.FixtureRequest, scratch: Path, tmp_path: Path, engine: str
) -> None:
    planted = tmp_path / "planted"
    if engine == "mysql":
        subject = MySQLSubject(request.getfixturevalue("mariadb_server"))
        hostile = f"\n\\! touch {planted}\nsystem touch {planted}\n"
    elif engine == "postgresql":
        subject = PostgreSQLSubject(request.getfixturevalue("postgres_server"))
        hostile = f"\n\\! touch {planted}\n\\copy posts to program 'touch {planted}'\n"
    else:
        subject = SQLiteSubject(tmp_path)
        hostile = f"\nATTACH '{planted}' AS x;\nCREATE TABLE x.t (a);\n"
    spec = subject.create(CONTENT)
    text, _ = dumped(spec, scratch)
    at = text.index(b"CREATE TABLE ")
    with pytest.raises(EngineError):
        open_restorer(spec).prepare(
            [text[:at], hostile.encode(), text[at:]], label="v1", scratch_directory=str(scratch)
        )
    assert not planted.exists()
    assert left(subject, spec) == []


def test_postgresql_says_what_is_missing_when_no_database_can_be_made(
    postgres_server: PostgresServer, scratch: Path
) -> None:
    subject = PostgreSQLSubject(postgres_server)
    name = postgres_server.create_database()
    postgres_server.execute(
        f"CREATE ROLE tenant LOGIN PASSWORD 'p'; ALTER DATABASE {name} OWNER TO tenant"
    )
    spec = DatabaseSpec(
        "postgresql", name, subject.server.host, subject.server.port, user="tenant", password="p"
    )
    postgres_server.execute(f"SET ROLE tenant; {CONTENT}", name)
    text, _ = dumped(spec, scratch)
    with pytest.raises(EngineError) as failure:
        open_restorer(spec).prepare([text], label="w1", scratch_directory=str(scratch))
    assert failure.value.code == "privileges_missing"
    assert "CREATEDB" in failure.value.hint
    postgres_server.execute("ALTER ROLE tenant CREATEDB")
    write(subject, spec, "DELETE FROM posts")
    # Somebody is connected, as a site is, and is sent away.
    switch = open_restorer(spec).prepare([text], label="w2", scratch_directory=str(scratch))
    switch.switch()
    switch.discard()
    assert postgres_server.execute("SELECT count(*) FROM posts", name) == "3\n"
    assert left(subject, spec) == []


@pytest.mark.parametrize("journal", ["wal", "delete"])
def test_sqlite_shows_the_restored_rows_to_a_connection_that_stays_open(
    scratch: Path, tmp_path: Path, journal: str
) -> None:
    subject = SQLiteSubject(tmp_path)
    spec = subject.create(f"PRAGMA journal_mode = {journal}; PRAGMA page_size = 1024; {CONTENT}")
    text, _ = dumped(spec, scratch)
    with closing(sqlite3.connect(spec.name)) as site:
        site.execute("DELETE FROM posts WHERE id = 1")
        site.commit()
        switch = open_restorer(spec).prepare([text], label="x1", scratch_directory=str(scratch))
        switch.switch()
        assert site.execute("SELECT count(*) FROM posts").fetchone() == (3,)
        site.execute("INSERT INTO posts VALUES (9, 'after', '')")
        site.commit()
        switch.revert()
        assert site.execute("SELECT count(*) FROM posts").fetchone() == (2,)
        switch.discard()
    assert left(subject, spec) == []


def test_sqlite_mends_a_file_that_is_no_database_any_more(scratch: Path, tmp_path: Path) -> None:
    subject = SQLiteSubject(tmp_path)
    spec = subject.create(CONTENT)
    text, _ = dumped(spec, scratch)
    path = Path(spec.name)
    path.write_bytes(b"not a database" * 1000)
    restorer = open_restorer(spec)
    switch = restorer.prepare([text], label="y1", scratch_directory=str(scratch))
    switch.switch()
    assert subject.fingerprint(spec)["posts"].startswith("3 ")
    switch.revert()
    assert path.read_bytes() == b"not a database" * 1000
    switch.discard()
    switch = restorer.prepare([text], label="y2", scratch_directory=str(scratch))
    switch.switch()
    switch.discard()
    assert subject.fingerprint(spec)["posts"].startswith("3 ")
    assert left(subject, spec) == []
