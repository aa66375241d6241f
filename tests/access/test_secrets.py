"""Secrets go in and stay in: looked for in every answer, log, command line and row."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.servers import wait_until
from tests.servers.cluster import EMAIL, PASSWORD, Cluster
from tests.servers.secrets_search import in_command_lines, in_files, in_sqlite, spellings

SECRET = "s3cret/of this+test"


@pytest.mark.parametrize("spelling", sorted(spellings(SECRET)))
def test_searcher_finds_what_is_planted_in_a_log(spelling: str, tmp_path: Path) -> None:
    (tmp_path / "panel.log").write_text(f"a line with {spelling} in it")
    assert in_files({"key": SECRET}, tmp_path.glob("*.log")) == ["key in panel.log"]
    assert in_files({"key": "another"}, tmp_path.glob("*.log")) == []


def test_searcher_finds_what_is_planted_in_a_row(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "rows") as database:
        database.execute("CREATE TABLE kept (one TEXT)")
        database.execute("INSERT INTO kept VALUES (?)", (f"x{SECRET}x",))
    database.close()
    assert in_sqlite({"key": SECRET}, tmp_path / "rows") == ["key in kept"]


def test_searcher_finds_what_is_planted_in_a_command_line() -> None:
    argv = [sys.executable, "-c", "input()", SECRET]
    with subprocess.Popen(argv, stdin=subprocess.PIPE) as process:
        found = in_command_lines({"key": SECRET}, [process.pid])
    assert len(found) == 1


@pytest.mark.slow
def test_no_secret_is_where_none_may_be(sqlite_cluster: Cluster) -> None:
    cluster, root = sqlite_cluster, sqlite_cluster.directory
    cluster.ensure_worker()
    secrets = {
        "storage key": "s3cret-storage-key",
        "database password": "s3cret-database-password",
        "new user's password": "s3cret-of-new-user-9",
        "wrong password": "s3cret-wrong-password",
        "password as name": "s3cret-typed-as-name",
        "token for a host": "s3cret-enrolment-token",
        "ticket": "tkt_s3cret-ticket-in-a-url",
    }
    answers: list[Any] = []

    def post(path: str, body: object) -> Any:
        answer = cluster.post(path, body)
        answers.append((path, answer.status, answer.body, answer.headers))
        return answer

    for name, password in (
        (EMAIL, secrets["wrong password"]),
        (secrets["password as name"], "x"),
        (EMAIL, PASSWORD),
    ):
        post("/api/auth/login", {"email": name, "password": password})
        if password == PASSWORD:
            answers.pop()  # it gives tokens, as it should
    new = {"email": "secret@example.com", "password": secrets["new user's password"]}
    assert post("/api/auth/register", new).status == 201
    assert post("/api/v1/users/", {**new, "email": "x2@example.com", "role": "no"}).status == 400
    config = {"bucket": "b", "region": "r", "access_key_id": "AKIA"}
    config["secret_access_key"] = secrets["storage key"]
    here = {**config, "endpoint_url": "ftp://x"}
    assert (
        post("/api/v1/storage/providers", {"name": "l", "type": "s3", "config": here}).status == 400
    )
    there = {**config, "endpoint_url": "http://storage.invalid"}
    kept = post("/api/v1/storage/providers", {"name": "s", "type": "s3", "config": there})
    assert kept.status == 201, kept
    (root / "secret.example" / "wp-content").mkdir(parents=True)
    site = post(
        "/api/v1/sites/",
        {
            "name": "secret.example",
            "node_id": 1,
            "wp_path": str(root / "secret.example"),
            "storage_id": kept.body["id"],
            "db_engine": "mysql",
            "db_host": "127.0.0.1",
            "db_port": 9,
            "db_name": "none",
            "db_user": "nobody",
            "db_password": secrets["database password"],
        },
    ).body
    assert post(f"/api/v1/sites/{site['id']}/backup/start", {}).status == 202
    logs = f"/api/v1/sites/{site['id']}/backup/logs"
    wait_until(
        lambda: any(line["kind"] == "requeued" for line in cluster.get(logs).body["logs"]),
        60,
        "the dump has failed once",
    )
    post(f"/api/v1/sites/{site['id']}/backup/stop", {})
    post("/api/v1/nodes/join", {"token": secrets["token for a host"], "hostname": "h"})
    ticket = f"/api/v1/daemon/backup/stream/{site['id']}?ticket={secrets['ticket']}"
    paths = (logs, ticket, f"/api/v1/storage/providers/{kept.body['id']}", "/api/v1/activity-logs/",
             f"/api/v1/sites/{site['id']}", "/api/v1/jobs", "/metrics", "/health")  # fmt: skip
    answers += [(path.partition("?")[0], cluster.get(path)) for path in paths]

    said = json.dumps([repr(one) for one in answers])
    assert [name for name, secret in secrets.items() if secret in said] == []
    assert in_files(secrets, root.glob("*.log")) == []
    assert (
        in_command_lines(secrets, [one.pid for one in cluster.daemons.values() if one.alive]) == []
    )
    assert in_sqlite(secrets, root / "panel.sqlite3") == []
    dumped = cluster.manage("dumpdata").stdout
    assert [name for name, secret in secrets.items() if secret in dumped] == []
    assert cluster.leaks() == []
