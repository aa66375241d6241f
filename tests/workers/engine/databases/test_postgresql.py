from __future__ import annotations

import os
import signal
import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from tests.contracts.database_subjects import PostgreSQLSubject
from tests.servers.postgres import PostgresServer
from workers.engine.databases import postgresql
from workers.engine.databases.base import DatabaseSpec, DumpFacts
from workers.engine.databases.postgresql import PostgreSQLDatabase
from workers.engine.errors import EngineError

ADVERSARIAL = r"""
CREATE TABLE texts (a text, b bytea, c "char");
INSERT INTO texts VALUES (E'\\.\n\\.\n\t\\N\r\n🎉', decode('000a5c2eff', 'hex'), 'x'),
    (NULL, '', ''),
    (E'\n-- PostgreSQL database dump complete\n', NULL, NULL);
CREATE TABLE numbers (a float8, b float4, c numeric, d money, e int8);
INSERT INTO numbers VALUES ('NaN', '-Infinity', 'NaN', 1.5, -9223372036854775808),
    (0.1::float8 + 0.2, 1/3.0, 1e-30, NULL, 1);
CREATE TABLE odd (a jsonb, b int[], c inet, d tsvector, e uuid, f timestamptz, g date, h bit(5));
INSERT INTO odd VALUES ('{"k": [1, null]}', '{{1,2},{3,NULL}}', '::1', 'a fat cat',
    '00000000-0000-0000-0000-000000000001', 'infinity', '4713-01-01 BC', B'10101');
CREATE TABLE none ();
INSERT INTO none DEFAULT VALUES; INSERT INTO none DEFAULT VALUES;
CREATE SCHEMA "other one";
CREATE TABLE "other one"."Ta""ble.x (y)"
    ("select" int, "a b" int GENERATED ALWAYS AS ("select" * 2) STORED);
INSERT INTO "other one"."Ta""ble.x (y)" VALUES (1), (2);
CREATE TABLE parts (a int) PARTITION BY RANGE (a);
CREATE TABLE low PARTITION OF parts FOR VALUES FROM (0) TO (10);
CREATE TABLE high PARTITION OF parts FOR VALUES FROM (10) TO (20);
INSERT INTO parts VALUES (1), (11), (12);
CREATE TYPE mood AS ENUM ('sad', 'it''s');
CREATE DOMAIN positive AS int CHECK (VALUE > 0);
CREATE TABLE typed (id serial PRIMARY KEY, m mood, p positive, UNIQUE (m, p));
INSERT INTO typed (m, p) VALUES ('it''s', 1);
CREATE VIEW seen AS SELECT m FROM typed;
CREATE MATERIALIZED VIEW kept AS SELECT count(*) FROM typed;
CREATE FUNCTION bump() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
-- Data for Name: fake; Type: TABLE DATA; Schema: public; Owner: -
NEW.p := NEW.p + 1; RETURN NEW; END $$;
CREATE TRIGGER bumps BEFORE UPDATE ON typed FOR EACH ROW EXECUTE FUNCTION bump();
SELECT lo_from_bytea(4242, 'a large object');
"""
ROWS = {
    "texts": 3, "numbers": 2, "odd": 1, "none": 2, 'other one.Ta"ble.x (y)': 2, "low": 1,
    "high": 2, "typed": 1, "seen": None, "kept": None,
}  # fmt: skip


def dumped(spec: DatabaseSpec, scratch: Path) -> tuple[bytes, DumpFacts]:
    with PostgreSQLDatabase(spec).dump(scratch_directory=str(scratch)) as dump:
        text = b"".join(piece for piece in dump if isinstance(piece, bytes))
    return text, dump.facts()


def test_the_adversarial_database_comes_back(
    postgres_server: PostgresServer, tmp_path: Path
) -> None:
    subject = PostgreSQLSubject(postgres_server)
    spec = subject.create(ADVERSARIAL)
    text, facts = dumped(spec, tmp_path)
    restored = subject.restore(text)
    before = subject.fingerprint(spec)
    assert len(before) == len(ROWS)
    assert subject.fingerprint(restored) == before
    assert facts.tables == ROWS
    large = "SELECT convert_from(lo_get(4242), 'UTF8')"
    assert postgres_server.execute(large, restored.name) == "a large object\n"
    bumped = "UPDATE typed SET p = 5 RETURNING p, id; INSERT INTO typed (p) VALUES (9) RETURNING id"
    assert postgres_server.execute(bumped, restored.name).split() == ["6|1", "2"]
    assert {table.name for table in PostgreSQLDatabase(spec).estimate().tables} == set(ROWS)


def test_a_database_without_encoding_comes_back(
    postgres_server: PostgresServer, tmp_path: Path
) -> None:
    sql = "CREATE DATABASE {} TEMPLATE template0 ENCODING 'SQL_ASCII' LOCALE 'C'"
    for name in ("ascii_source", "ascii_target"):
        postgres_server.execute(sql.format(name))
    postgres_server.execute(
        b"CREATE TABLE t (a text); INSERT INTO t VALUES (E'\\xff\\xfe')", "ascii_source"
    )
    subject = PostgreSQLSubject(postgres_server)
    spec = replace(subject.create(), name="ascii_source")
    text, _ = dumped(spec, tmp_path)
    postgres_server.execute(text, "ascii_target")
    query = "SELECT encode(a::bytea, 'hex') FROM t"
    assert postgres_server.execute(query, "ascii_target") == "fffe\n"


def test_it_restores_as_another_user_when_its_owner_is_unknown_there(
    postgres_server: PostgresServer, tmp_path: Path
) -> None:
    subject = PostgreSQLSubject(postgres_server)
    spec = subject.create(
        "CREATE ROLE first_owner; CREATE TABLE t (a int); ALTER TABLE t OWNER TO first_owner;"
        "GRANT SELECT ON t TO first_owner"
    )
    text, _ = dumped(spec, tmp_path)
    assert b"first_owner" not in text


def test_error_is_permanent_when_the_user_may_not_read_a_table(
    postgres_server: PostgresServer, tmp_path: Path
) -> None:
    spec = PostgreSQLSubject(postgres_server).create(
        "CREATE TABLE t (a int); CREATE ROLE stranger LOGIN PASSWORD 'p'"
    )
    with pytest.raises(EngineError) as failure:
        dumped(replace(spec, user="stranger", password="p"), tmp_path)
    assert failure.value.code == "privileges_missing", failure.value
    assert failure.value.permanent
    assert "t" in failure.value.message


def test_error_is_temporary_when_a_table_is_locked(
    postgres_server: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = PostgreSQLSubject(postgres_server).create("CREATE TABLE t (a int)")
    quick = [
        "--lock-wait-timeout=50" if "lock-wait" in argument else argument
        for argument in postgresql.DUMP_ARGUMENTS
    ]
    monkeypatch.setattr(postgresql, "DUMP_ARGUMENTS", quick)
    holder = psutil.Popen(
        [*postgres_server.client_argv, spec.name],
        env=postgres_server.client_environment, stdin=-1, stdout=-1,
    )  # fmt: skip
    holder.stdin.write(b"BEGIN; LOCK TABLE t; SELECT 'held';\n")
    holder.stdin.flush()
    try:
        while b"held" not in holder.stdout.readline():
            pass
        with pytest.raises(EngineError) as failure:
            dumped(spec, tmp_path)
    finally:
        holder.communicate()
    assert failure.value.code == "server_busy"
    assert not failure.value.permanent


def test_error_says_what_to_install_when_the_client_is_older_than_the_server(
    postgres_server: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What an older pg_dump says and how it ends; no older one is in Debian beside this server.
    tool = tmp_path / "pg_dump"
    tool.write_text(
        "#!/bin/sh\necho 'pg_dump: error: aborting because of server version mismatch' >&2\n"
        "echo 'pg_dump: detail: server version: 15.18; pg_dump version: 13.1' >&2\nexit 1\n"
    )
    tool.chmod(tool.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    with pytest.raises(EngineError, match=r"version: 13\.1") as failure:
        dumped(PostgreSQLSubject(postgres_server).create(), scratch)
    assert failure.value.code == "client_too_old"
    assert failure.value.permanent
    assert "server's version" in failure.value.hint


@pytest.mark.parametrize("form", ["folder", "file"])
def test_the_socket_is_used_when_given(postgres_server: PostgresServer, form: str) -> None:
    spec = PostgreSQLSubject(postgres_server).create()
    socket = postgres_server.socket
    if form == "file":
        socket, spec = f"{socket}/.s.PGSQL.{spec.port}", replace(spec, port=None)
    spec = replace(spec, host="ignored.invalid", socket=socket)
    [(address,)] = PostgreSQLDatabase(spec).query("SELECT inet_client_addr()")
    assert address == ""


@pytest.mark.parametrize("cut", ["connection", "server", "tool"])
def test_error_is_temporary_and_names_the_cause_when_the_dump_is_cut_off(
    own_postgres_server: PostgresServer, tmp_path: Path, cut: str
) -> None:
    subject = PostgreSQLSubject(own_postgres_server)
    spec = subject.create()
    subject.fill(spec, 60)
    cuts: dict[str, Callable[[], object]] = {
        "server": own_postgres_server.kill,
        "tool": lambda: os.kill(
            next(child.pid for child in psutil.Process().children() if "pg_dump" in child.name()),
            signal.SIGKILL,
        ),
        "connection": lambda: own_postgres_server.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name = 'pg_dump'"
        ),
    }
    size = 0
    with (
        pytest.raises(EngineError) as failure,
        PostgreSQLDatabase(spec).dump(scratch_directory=str(tmp_path)) as dump,
    ):
        for piece in dump:
            size += len(piece) if isinstance(piece, bytes) else 0
            if size and cut:
                cuts[cut]()
                cut = ""
    assert 0 < size < 60_000_000
    assert not failure.value.permanent
    assert failure.value.code in {"connection_lost", "database_failed"}
    assert spec.name in failure.value.message
    assert not list(tmp_path.iterdir())
