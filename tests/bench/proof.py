"""How long a proof takes, against the restore of the same backup, by a whole cluster.

    python -m tests.bench.proof [--site-mb 500] [--rows 20000] [--runs 3]

Backs up the site of `tests.bench.bundle` with a MariaDB database to a folder, then restores it in
place, without a checkpoint, and proves it, in turn. What the jobs took is told by their own rows.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import Any

from tests.bench.bundle import make_site
from tests.servers import wait_until
from tests.servers.cluster import Cluster, running_cluster
from tests.servers.mariadb import MariaDBServer, start_mariadb
from tests.servers.redis import RedisServer

CONFIG = """<?php
define('DB_NAME', '{name}');
define('DB_USER', 'root');
define('DB_PASSWORD', '{password}');
define('DB_HOST', '127.0.0.1:{port}');
$table_prefix = 'wp_';
require_once ABSPATH . 'wp-settings.php';
"""
FILL = """
CREATE TABLE wp_posts (ID BIGINT AUTO_INCREMENT PRIMARY KEY, post_title TEXT NOT NULL,
  post_content LONGTEXT NOT NULL, KEY title (post_title(50)));
INSERT INTO wp_posts (post_title, post_content)
  SELECT MD5(seq), REPEAT(CONCAT(MD5(seq), ' words of a post, '), 40) FROM seq_1_to_{rows};
CREATE TABLE wp_options (option_name VARCHAR(191) PRIMARY KEY, option_value LONGTEXT NOT NULL);
INSERT INTO wp_options VALUES ('siteurl', 'http://large.example'), ('home', 'http://large.example');
"""


def site_of(cluster: Cluster, server: MariaDBServer, megabytes: int, rows: int) -> int:
    """Make the site and return its id."""
    database = server.create_database()
    server.execute(FILL.format(rows=rows), database)
    path = cluster.directory / "large.example"
    make_site(path / "wp-content", megabytes)
    password = server.password.replace("\\", "\\\\").replace("'", "\\'")
    config = CONFIG.format(name=database, password=password, port=server.port)
    (path / "wp-config.php").write_text(config)
    (cluster.directory / "store").mkdir()
    storage = {"type": "local", "config": {"path": str(cluster.directory / "store")}}
    body = {"name": "disk", "is_default": True, **storage}
    assert cluster.post("/api/v1/storage/providers", body).status == 201
    answer = cluster.post("/api/v1/sites/manual", {"path": str(path), "name": "large.example"})
    assert answer.status == 201, answer
    return int(answer.body["id"])


def took(cluster: Cluster, path: str, body: dict[str, Any] | None = None) -> float:
    """Start a job and return how many seconds it ran."""
    answer = cluster.post(path, body)
    assert answer.status == 202, answer
    job_id = answer.body["job_id"]

    def job() -> dict[str, Any]:
        found: dict[str, Any] = cluster.get(f"/api/v1/jobs/{job_id}").body
        return found

    wait_until(lambda: job()["status"] != "running", 900, f"job {job_id} ends")
    ended = job()
    assert ended["status"] == "completed", ended["error"]
    begun, finished = (
        datetime.fromisoformat(ended[name]) for name in ("started_at", "finished_at")
    )
    return (finished - begun).total_seconds()


def main() -> None:
    """Prepare the site and measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--site-mb", type=int, default=500)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="holdfast-bench-") as folder, ExitStack() as stack:
        server = start_mariadb(stack)
        (Path(folder) / "redis").mkdir()
        redis = RedisServer(Path(folder) / "redis")
        redis.start()
        stack.callback(redis.kill)
        directory = Path(folder) / "cluster"
        directory.mkdir()
        url = f"sqlite:///{directory / 'panel.sqlite3'}"
        cluster = stack.enter_context(running_cluster(directory, url, redis.url))
        site = site_of(cluster, server, options.site_mb, options.rows)
        backup_took = took(cluster, f"/api/v1/sites/{site}/backup/start")
        [backup] = cluster.get(f"/api/v1/sites/{site}/backups").body["backups"]
        restores, proofs = [], []
        body = {"backup_id": backup["id"], "checkpoint": False}
        for _ in range(options.runs):
            restores.append(took(cluster, f"/api/v1/sites/{site}/restore", body))
            proofs.append(took(cluster, f"/api/v1/backups/{backup['id']}/verify"))
        receipts = cluster.get(f"/api/v1/backups/{backup['id']}/proofs").body
        restore, proof = statistics.median(restores), statistics.median(proofs)
        size = backup["size_bytes"] / 1e6
        print(f"bundle of {size:.0f} MB, {options.runs} runs, load {os.getloadavg()[0]:.1f}")
        print(f"backup {backup_took:.1f} s, restore in place {restore:.1f} s, proof {proof:.1f} s")
        print(f"proof against restore: {proof / restore:.2f}")
        print(f"the newest receipt says: restores in {receipts[0]['seconds']:.1f} s")


if __name__ == "__main__":
    main()
