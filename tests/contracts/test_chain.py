"""The main job, whole: HTTP, rows, Redis, a worker, and a bundle that plain tar restores."""

from __future__ import annotations

import hashlib
import sqlite3
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.servers.cluster import Cluster, running_cluster
from tests.servers.redis import RedisServer
from tests.workers.stages.pipeline import make_sqlite_site

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def cluster(
    panel_database_url: str, redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cluster]:
    directory = tmp_path_factory.mktemp("cluster")
    with running_cluster(directory, panel_database_url, redis_server.url) as cluster:
        yield cluster


def local_storage(cluster: Cluster, request: pytest.FixtureRequest) -> dict[str, Any]:
    folder = cluster.directory / "store"
    folder.mkdir(exist_ok=True)
    return {"type": "local", "config": {"path": str(folder)}}


def s3_storage(cluster: Cluster, request: pytest.FixtureRequest) -> dict[str, Any]:
    server = request.getfixturevalue("rclone_s3")
    config = {
        "bucket": server.bucket,
        "endpoint_url": server.endpoint_url,
        "region": "us-east-1",
        "access_key_id": server.access_key_id,
        "secret_access_key": server.secret_access_key,
        "addressing": "path",
        "part_size": 5 << 20,
    }
    return {"type": "s3", "config": config}


STORAGES = {"local": local_storage, "s3": s3_storage}


def add_site(cluster: Cluster, storage: dict[str, Any], name: str) -> int:
    storage = {"name": f"storage of {name}", "is_default": True, **storage}
    answer = cluster.post("/api/v1/storage/providers", storage)
    assert answer.status == 201, answer
    path = make_sqlite_site(cluster.directory / name)
    # More than two parts of 5 MiB, and of a kind that does not compress.
    video = hashlib.shake_256(b"video").digest(12 << 20)
    (path / "wp-content" / "uploads" / "video.mp4").write_bytes(video)
    site = {"path": str(path), "name": name}
    answer = cluster.post("/api/v1/sites/manual", site)
    assert answer.status in (200, 201), answer
    return int(answer.body["id"])


def restore_with_tar(bundle: Path, target: Path) -> None:
    target.mkdir()
    subprocess.run(["tar", "--zstd", "-xf", str(bundle), "-C", str(target)], check=True)


def files_of(folder: Path) -> dict[str, bytes]:
    left_out = ("cache", "database")
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not any(part in left_out for part in path.parts)
    }


@pytest.mark.parametrize("storage", STORAGES)
def test_plain_tar_restores_everything_when_a_backup_has_completed(
    storage: str, cluster: Cluster, request: pytest.FixtureRequest
) -> None:
    name = f"{storage}.example.com"
    site = add_site(cluster, STORAGES[storage](cluster, request), name)
    started = cluster.post(f"/api/v1/sites/{site}/backup/start")
    assert started.status == 202, started
    status = cluster.wait_for_end(site)
    assert (status["status"], status["progress"]) == ("completed", 100), status

    backups = cluster.get(f"/api/v1/sites/{site}/backups").body
    assert backups["total"] == 1
    backup = backups["backups"][0]
    url = cluster.get(f"/api/v1/backups/{backup['id']}/download").body["download_url"]
    url = url if url.startswith("http") else f"http://127.0.0.1:{cluster.port}{url}"
    bundle = cluster.directory / f"{name}.tar.zst"
    with urllib.request.urlopen(url, timeout=60) as response:
        bundle.write_bytes(response.read())
    assert bundle.stat().st_size == backup["size_bytes"]
    assert hashlib.sha256(bundle.read_bytes()).hexdigest() == backup["sha256"]

    restored, source = cluster.directory / f"{name}.restored", cluster.directory / name
    restore_with_tar(bundle, restored)
    assert files_of(restored / "wp-content") == files_of(source / "wp-content")
    assert (restored / "wp-config.php").read_bytes() == (source / "wp-config.php").read_bytes()
    with sqlite3.connect(":memory:") as database:
        database.executescript((restored / "database.sql").read_text())
        rows = database.execute("SELECT option_value FROM wp_options").fetchall()
    assert ("Grüße 🎉",) in rows
    assert [folder for folder in cluster.spool.iterdir() if folder.name[0] != "."] == []


def test_job_goes_on_from_its_stage_when_the_worker_is_killed(
    sqlite_cluster: Cluster, request: pytest.FixtureRequest
) -> None:
    """The first proof that recovery has its footing: nothing is done twice, nothing is lost."""
    cluster = sqlite_cluster
    site = add_site(cluster, local_storage(cluster, request), "killed.example.com")
    cluster.daemons["worker"].kill()
    job = cluster.post(f"/api/v1/sites/{site}/backup/start").body["job_id"]
    again = cluster.post(f"/api/v1/sites/{site}/backup/start")
    assert (again.status, again.body["code"]) == (409, "backup_already_running")
    cluster.start_worker("another-worker")
    status = cluster.wait_for_end(site)
    assert (status["status"], status["job_id"]) == ("completed", job), status
