"""A site whose database is PostgreSQL: backed up, damaged, restored, proven, undone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.servers import wait_until
from tests.servers.cluster import Cluster, running_cluster
from tests.servers.postgres import PostgresServer
from tests.servers.redis import RedisServer

pytestmark = pytest.mark.slow

TABLES = """
CREATE TABLE options (name text PRIMARY KEY, value text);
INSERT INTO options VALUES ('siteurl', 'http://pg.example'), ('empty', ''), ('nothing', NULL);
CREATE TABLE posts (id serial PRIMARY KEY, content text, image bytea, at timestamptz DEFAULT now());
INSERT INTO posts (content, image) SELECT 'Grüße 🎉 ' || n, decode('00ff', 'hex')
  FROM generate_series(1, 500) n;
"""
DAMAGE = "DROP TABLE posts; UPDATE options SET value = 'hacked'; CREATE TABLE intruder (id int)"
LOOK = "SELECT name, value FROM options ORDER BY name"


@pytest.fixture(scope="module")
def cluster(
    redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cluster]:
    directory = tmp_path_factory.mktemp("postgresql")
    url = f"sqlite:///{directory / 'panel.sqlite3'}"
    with running_cluster(directory, url, redis_server.url) as cluster:
        (directory / "store").mkdir()
        storage = {"type": "local", "config": {"path": str(directory / "store")}}
        body = {"name": "disk", "is_default": True, **storage}
        assert cluster.post("/api/v1/storage/providers", body).status == 201
        yield cluster


def ended(cluster: Cluster, job_id: str) -> dict[str, Any]:
    def job() -> dict[str, Any]:
        found: dict[str, Any] = cluster.get(f"/api/v1/jobs/{job_id}").body
        return found

    wait_until(lambda: job()["status"] != "running", 90, f"job {job_id} ends")
    found = job()
    assert found["status"] == "completed", (found["error"], found["warnings"])
    return found


def test_site_comes_back_row_by_row_and_is_damaged_again_once_that_is_undone(
    cluster: Cluster, postgres_server: PostgresServer
) -> None:
    server, database = postgres_server, postgres_server.create_database()
    server.execute(TABLES, database)
    path = cluster.directory / "pg.example"
    (path / "wp-content").mkdir(parents=True)
    (path / "wp-content" / "index.php").write_text("<?php")
    access = {"db_host": server.host, "db_port": server.port, "db_user": server.user}
    body = {
        "name": "pg.example",
        "node_id": cluster.get("/api/v1/nodes/").body[0]["id"],
        "wp_path": str(path),
        "db_engine": "postgresql",
        "db_name": database,
        **access,
        "db_password": server.password,
    }
    added = cluster.post("/api/v1/sites/", body)
    assert added.status == 201, added
    site = added.body["id"]
    assert cluster.post(f"/api/v1/sites/{site}/backup/start").status == 202
    assert cluster.wait_for_end(site)["status"] == "completed"
    [backup] = cluster.get(f"/api/v1/sites/{site}/backups").body["backups"]
    sound = server.execute(LOOK, database), server.execute("SELECT sum(id) FROM posts", database)

    server.execute(DAMAGE, database)
    damaged = server.execute(LOOK, database)
    started = cluster.post(f"/api/v1/sites/{site}/restore", {"backup_id": backup["id"]})
    assert started.status == 202, started
    job = ended(cluster, started.body["job_id"])
    now = server.execute(LOOK, database), server.execute("SELECT sum(id) FROM posts", database)
    assert now == sound

    undone = cluster.post(f"/api/v1/jobs/{job['id']}/undo")
    ended(cluster, undone.body["job_id"])
    assert server.execute(LOOK, database) == damaged

    proof = cluster.post(f"/api/v1/backups/{backup['id']}/verify")
    ended(cluster, proof.body["job_id"])
    [receipt] = cluster.get(f"/api/v1/backups/{backup['id']}/proofs").body
    assert (receipt["outcome"], receipt["facts"]["rows"]) == ("passed", 503)
