"""How long a restore and a proof take as jobs of a whole cluster, against tools by hand.

    python -m tests.bench.restore_job [--site-mb 1000] [--rows 100000] [--runs 5]

Backs up the site of `tests.bench.bundle` with a MariaDB database to a folder. Then, in turn: the
same bundle is unpacked with `zstd -dc | tar -x` and its dump loaded with the server's client, into
an empty folder and an empty database; a job restores all of it in place, without a checkpoint; a
job proves it. The jobs' own rows tell what they took, from the first stage's start to the end: the
bundle's checksum is compared, and each file's; the old site is kept until the exchange, and then
removed, which whoever restores by hand did before. So the ratio is printed for both: until the site
is as it was, and with the removal. Medians of interleaved runs.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import Any

from tests.bench.bundle import make_site
from tests.servers import wait_until
from tests.servers.cluster import Cluster, running_cluster
from tests.servers.mariadb import MariaDBServer, start_mariadb
from tests.servers.redis import RedisServer
from workers.engine.bundle.dump import DUMP_NAME

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


def took(cluster: Cluster, path: str, body: dict[str, Any] | None = None) -> dict[str, float]:
    """Run a job to its end; return how many seconds it and each of its stages took."""
    answer = cluster.post(path, body)
    assert answer.status == 202, answer
    job_id = answer.body["job_id"]

    def job() -> dict[str, Any]:
        found: dict[str, Any] = cluster.get(f"/api/v1/jobs/{job_id}").body
        return found

    wait_until(lambda: job()["status"] != "running", 900, f"job {job_id} ends")
    ended = job()
    assert ended["status"] == "completed", ended["error"]
    return {"all": seconds(ended), **{stage["name"]: seconds(stage) for stage in ended["stages"]}}


def seconds(row: dict[str, Any]) -> float:
    """Return how long a job or a stage ran."""
    begun, ended = (datetime.fromisoformat(row[name]) for name in ("started_at", "finished_at"))
    return (ended - begun).total_seconds()


def by_hand(bundle: Path, folder: Path, server: MariaDBServer) -> float:
    """Restore the bundle without this software; return the seconds, with all of it on the disk."""
    folder.mkdir()
    database = server.create_database()
    os.sync()
    began = time.perf_counter()
    with subprocess.Popen(["zstd", "-q", "-dc", str(bundle)], stdout=subprocess.PIPE) as unpacking:
        subprocess.run(["tar", "-C", str(folder), "-xpf", "-"], stdin=unpacking.stdout, check=True)
    with (folder / DUMP_NAME).open("rb") as dump:
        argv = [*server.client_argv, "--default-character-set=utf8mb4", database]
        subprocess.run(argv, stdin=dump, check=True)
    subprocess.run(["sync", "-f", str(folder)], check=True)
    seconds = time.perf_counter() - began
    server.execute(f"DROP DATABASE {database}")
    shutil.rmtree(folder)
    return seconds


def main() -> None:
    """Prepare the site and measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--site-mb", type=int, default=1000)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--runs", type=int, default=5)
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
        backup_took = took(cluster, f"/api/v1/sites/{site}/backup/start")["all"]
        [backup] = cluster.get(f"/api/v1/sites/{site}/backups").body["backups"]
        [bundle] = (directory / "store").rglob("*.tar.zst")
        hands: list[float] = []
        restores: list[dict[str, float]] = []
        proofs: list[dict[str, float]] = []
        body = {"backup_id": backup["id"], "checkpoint": False}
        for _ in range(options.runs):
            hands.append(by_hand(bundle, directory / "by-hand", server))
            os.sync()
            restores.append(took(cluster, f"/api/v1/sites/{site}/restore", body))
            os.sync()
            proofs.append(took(cluster, f"/api/v1/backups/{backup['id']}/verify"))
        receipts = cluster.get(f"/api/v1/backups/{backup['id']}/proofs").body
        size = backup["size_bytes"] / 1e6
        print(f"bundle of {size:.0f} MB, {options.runs} runs, load {os.getloadavg()[0]:.1f}")
        hand = statistics.median(hands)
        print(f"by hand  {hand:6.1f} s ({min(hands):.1f} to {max(hands):.1f})")
        restore, proof = show("restore", restores), show("proof", proofs)
        print(f"backup   {backup_took:6.1f} s, once")
        restored = statistics.median(run["all"] - run["cleanup"] for run in restores)
        print(f"restored against zstd -dc | tar -x and the client: {restored / hand:.2f}")
        print(f"with the removal of what was there: {restore / hand:.2f}")
        print(f"proof against restore: {proof / restore:.2f}")
        print(f"the newest receipt says: restores in {receipts[0]['seconds']:.1f} s")


def show(name: str, runs: list[dict[str, float]]) -> float:
    """Print the medians of a kind of job and of its stages; return the job's."""
    medians = {part: statistics.median(run[part] for run in runs) for part in runs[0]}
    whole = [run["all"] for run in runs]
    stages = ", ".join(f"{part} {took:.1f}" for part, took in medians.items() if part != "all")
    print(f"{name:8} {medians['all']:6.1f} s ({min(whole):.1f} to {max(whole):.1f}): {stages}")
    return medians["all"]


if __name__ == "__main__":
    main()
