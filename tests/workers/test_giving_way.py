"""What a node's settings for priority and upload do to a real worker's stages."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.servers import wait_until
from tests.servers.cluster import Cluster
from tests.workers.stages.pipeline import make_sqlite_site
from workers.engine.throttle import BURST_SECONDS, GRANT_SECONDS

pytestmark = pytest.mark.slow

AS_BEFORE = {"nice": 10, "io_class": "low", "upload_bytes_per_second": None}
UPLOAD_BYTES = 6 << 20


@pytest.fixture
def cluster(sqlite_cluster: Cluster) -> Iterator[Cluster]:
    sqlite_cluster.ensure_worker()
    yield sqlite_cluster
    change_node(sqlite_cluster, **AS_BEFORE)


def change_node(cluster: Cluster, **changes: Any) -> None:
    (node,) = cluster.get("/api/v1/nodes/").body
    answer = cluster.request("PATCH", f"/api/v1/nodes/{node['id']}", changes)
    assert answer.status == 200, answer


def add_site(cluster: Cluster, name: str, store: Path) -> tuple[int, Path]:
    store.mkdir(exist_ok=True)
    storage = {"type": "local", "config": {"path": str(store)}}
    storage |= {"name": f"storage of {name}", "is_default": True}
    assert cluster.post("/api/v1/storage/providers", storage).status == 201
    path = make_sqlite_site(cluster.directory / name)
    answer = cluster.post("/api/v1/sites/manual", {"path": str(path), "name": name})
    assert answer.status in (200, 201), answer
    return int(answer.body["id"]), path


def start(cluster: Cluster, site: int) -> str:
    answer = cluster.post(f"/api/v1/sites/{site}/backup/start")
    assert answer.status == 202, answer
    return str(answer.body["job_id"])


def live_workers(cluster: Cluster) -> list[psutil.Process]:
    """The workers that run now; other tests of this cluster end and start some."""
    alive = [one.pid for name, one in cluster.daemons.items() if "worker" in name and one.alive]
    return [psutil.Process(pid) for pid in alive]


def children_of(job: str, workers: list[psutil.Process]) -> list[tuple[int, int]]:
    """Niceness and I/O class of what the job's stages have started and is running now."""
    found = []
    for process in [child for one in workers for child in one.children(recursive=True)]:
        try:
            if process.environ().get("HOLDFAST_JOB") == job:
                found.append((process.nice(), int(process.ionice().ioclass)))
        except psutil.Error:
            continue  # it has ended meanwhile
    return found


def niceness_of_trees(workers: list[psutil.Process]) -> set[int]:
    """The niceness of idle workers' processes, of each its first thread."""
    trees = [process for one in workers for process in (one, *one.children(recursive=True))]
    return {process.nice() for process in trees}


def test_stages_give_way_as_the_node_says_and_take_more_again_when_it_changes(
    cluster: Cluster, tmp_path: Path
) -> None:
    site, path = add_site(cluster, "nice.example.com", tmp_path / "store")
    # So many that a look at the processes of a busy host comes in time.
    for number in range(12_000):
        (path / "wp-content" / f"{number}.txt").write_bytes(os.urandom(4000))
    workers = live_workers(cluster)
    (own,) = {worker.nice() for worker in workers}
    for nice, io_class, expected in (
        (17, "idle", psutil.IOPRIO_CLASS_IDLE),
        (own + 2, "low", psutil.IOPRIO_CLASS_BE),
    ):
        change_node(cluster, nice=nice, io_class=io_class)
        job = start(cluster, site)
        seen: list[tuple[int, int]] = []
        wait_until(lambda: seen.extend(children_of(job, workers)) or seen, 60, "readers run")  # noqa: B023
        assert set(seen) == {(nice, expected)}
        assert cluster.wait_for_end(site)["status"] == "completed"
        assert niceness_of_trees(workers) == {own}, "a pool process gave way for good"


def test_upload_takes_as_long_as_the_node_says(cluster: Cluster, tmp_path: Path) -> None:
    site, path = add_site(cluster, "slow.example.com", tmp_path / "store")
    (path / "wp-content" / "uploads" / "film.mp4").write_bytes(os.urandom(UPLOAD_BYTES))
    rate = 2 << 20
    change_node(cluster, upload_bytes_per_second=rate)
    start(cluster, site)
    status = cluster.wait_for_end(site)
    assert status["status"] == "completed", status
    (upload,) = (stage for stage in status["stages"] if stage["name"] == "upload_remote")
    begun, ended = (datetime.fromisoformat(upload[at]) for at in ("started_at", "finished_at"))
    seconds = (ended - begun).total_seconds()
    allowed = rate * (seconds + BURST_SECONDS + GRANT_SECONDS)
    assert allowed >= UPLOAD_BYTES, f"{UPLOAD_BYTES} bytes in {seconds:.2f} s"
