"""A site's account that may make no databases is lent that right, by name, and for as long."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.contracts.database_subjects import MySQLSubject
from tests.contracts.restore_subjects import dumped, left
from tests.servers.mariadb import MariaDBServer
from workers.engine.databases import open_restorer
from workers.engine.databases.base import DatabaseSpec, unchecked
from workers.engine.databases.mysql_client import connected
from workers.engine.errors import EngineError

# The live database's name has what GRANT takes for a wildcard.
ROWS = (
    "CREATE TABLE posts (id INT PRIMARY KEY, body TEXT); INSERT INTO posts VALUES (1, 'one');"
    "CREATE TRIGGER t BEFORE INSERT ON posts FOR EACH ROW SET NEW.body = TRIM(NEW.body)"
)
WHOLE = r"GRANT ALL PRIVILEGES ON `%\_hf\_%`.* TO lender@'%'"


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    path = tmp_path / "scratch"
    path.mkdir(mode=0o700)
    return path


@pytest.fixture
def tenant(mariadb_server: MariaDBServer) -> Iterator[DatabaseSpec]:
    """A database, and the account of its site, which may do everything in it and nothing else."""
    spec = MySQLSubject(mariadb_server).create()
    mariadb_server.execute(
        "CREATE OR REPLACE USER `ten``ant`@'%' IDENTIFIED BY 'p';"
        f"GRANT ALL ON `{spec.name}`.* TO `ten``ant`@'%';"
        "CREATE OR REPLACE USER lender@'%' IDENTIFIED BY 'lent';"
        f"{WHOLE} WITH GRANT OPTION"
    )
    tenant = replace(spec, user="ten`ant", password="p")
    run_as(tenant, ROWS)
    yield tenant
    mariadb_server.execute("DROP USER `ten``ant`@'%', lender@'%'")


@pytest.fixture
def lender(tenant: DatabaseSpec) -> DatabaseSpec:
    return replace(tenant, name="", user="lender", password="lent")


def run_as(spec: DatabaseSpec, sql: str) -> None:
    """Run statements as the site does, so that what it makes is defined by it."""
    with connected(spec, unchecked) as client:
        client.execute(sql)


def rights(server: MariaDBServer) -> str:
    """What the site's account may do with databases of restores."""
    return server.execute("SELECT Db FROM mysql.db WHERE User = 'ten`ant' AND Db LIKE '%hf%'")


def rows(server: MariaDBServer, spec: DatabaseSpec) -> str:
    return server.execute("SELECT body FROM posts ORDER BY id", spec.name)


def test_a_restore_is_lent_two_names_and_leaves_neither(
    mariadb_server: MariaDBServer, tenant: DatabaseSpec, lender: DatabaseSpec, scratch: Path
) -> None:
    server = mariadb_server
    text, _ = dumped(tenant, scratch)
    server.execute("UPDATE posts SET body = 'hacked'", tenant.name)
    restorer = open_restorer(tenant, [lender])
    switch = restorer.prepare([text], label="a1", scratch_directory=str(scratch))
    name = f"{tenant.name}_hf_a1".replace("_", r"\_")
    # `execute` writes a backslash as two.
    assert rights(server).split() == [name.replace("\\", "\\\\")]
    record = json.loads(json.dumps(switch.record()))
    assert "lent" not in str(record)
    for _ in range(2):
        restorer.from_record(record).switch()
    assert rows(server, tenant) == "one\n"
    assert len(rights(server).split()) == 2
    restorer.from_record(record).revert()
    assert rows(server, tenant) == "hacked\n"
    restorer.from_record(record).switch()
    for _ in range(2):
        restorer.from_record(record).discard()
    assert rows(server, tenant) == "one\n"
    assert rights(server) == ""
    assert left(MySQLSubject(server), tenant) == []


@pytest.mark.parametrize("reached", ["lent", "prepared", "switched"])
def test_whoever_settles_after_a_kill_takes_the_rights_back(
    mariadb_server: MariaDBServer,
    tenant: DatabaseSpec,
    lender: DatabaseSpec,
    scratch: Path,
    reached: str,
) -> None:
    server = mariadb_server
    text, _ = dumped(tenant, scratch)
    restorer = open_restorer(tenant, [lender])
    if reached == "lent":
        name = f"{tenant.name}_hf_b1".replace("_", r"\_")
        server.execute(f"GRANT ALL PRIVILEGES ON `{name}`.* TO `ten``ant`@'%'")
    else:
        switch = restorer.prepare([text], label="b1", scratch_directory=str(scratch))
        if reached == "switched":
            switch.switch()
    assert rights(server) != ""
    for _ in range(2):
        open_restorer(tenant, [lender]).drop_leftovers(["b1", "b2"])
    assert rights(server) == ""
    assert rows(server, tenant) == "one\n"
    assert left(MySQLSubject(server), tenant) == []


def test_a_load_that_fails_leaves_no_right(
    mariadb_server: MariaDBServer, tenant: DatabaseSpec, lender: DatabaseSpec, scratch: Path
) -> None:
    text, _ = dumped(tenant, scratch)
    with pytest.raises(EngineError):
        open_restorer(tenant, [lender]).prepare(
            [text[: len(text) // 2], b"\nnonsense;\n"], label="c1", scratch_directory=str(scratch)
        )
    assert rights(mariadb_server) == ""
    assert left(MySQLSubject(mariadb_server), tenant) == []


def test_an_account_that_may_not_lend_is_told_what_is_missing(
    mariadb_server: MariaDBServer, tenant: DatabaseSpec, lender: DatabaseSpec, scratch: Path
) -> None:
    mariadb_server.execute(r"REVOKE GRANT OPTION ON `%\_hf\_%`.* FROM lender@'%'")
    text, _ = dumped(tenant, scratch)
    with pytest.raises(EngineError, match="scratch account may not") as failure:
        open_restorer(tenant, [lender]).prepare([text], label="d1", scratch_directory=str(scratch))
    assert (failure.value.code, failure.value.permanent) == ("privileges_missing", True)
    assert "WITH GRANT OPTION" in failure.value.hint
    assert "lent" not in failure.value.sentences()
    assert rights(mariadb_server) == ""


@pytest.mark.parametrize("where", ["nowhere", "elsewhere"])
def test_an_account_of_another_server_lends_nothing(
    mariadb_server: MariaDBServer,
    tenant: DatabaseSpec,
    lender: DatabaseSpec,
    scratch: Path,
    where: str,
    request: pytest.FixtureRequest,
) -> None:
    other = replace(lender, port=9)
    if where == "elsewhere":
        server: MariaDBServer = request.getfixturevalue("own_mariadb_server")
        other = replace(lender, port=server.port, user=server.user, password=server.password)
    text, _ = dumped(tenant, scratch)
    with pytest.raises(EngineError, match="may not make the scratch database") as failure:
        open_restorer(tenant, [other]).prepare([text], label="e1", scratch_directory=str(scratch))
    assert failure.value.code == "privileges_missing"
    assert "HOLDFAST_SCRATCH_DATABASES" in failure.value.hint
    assert rights(mariadb_server) == ""
