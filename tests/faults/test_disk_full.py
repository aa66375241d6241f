"""A disk that is full: before a backup, and in each stage that writes. The disks are real ones."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.servers import wait_until
from tests.servers.cluster import Cluster, running_cluster
from tests.servers.redis import RedisServer
from tests.servers.small_disk import MEBIBYTE, SmallDisk, small_disk_at
from tests.workers.stages.pipeline import make_sqlite_site

pytestmark = pytest.mark.slow

DISK_BYTES = 64 * MEBIBYTE
SETTINGS = {
    "HOLDFAST_SPOOL_RESERVE_MB": "0",
    "HOLDFAST_HEARTBEAT_SECONDS": "1",
    "HOLDFAST_AGENT_SECONDS": "0.5",
}


@dataclass
class SmallHost:
    """An installation whose spool is on a small disk."""

    cluster: Cluster
    disk: SmallDisk
    node: int

    @property
    def spool(self) -> Path:
        return self.disk.path / "spool"

    def work_folders(self) -> list[str]:
        return [path.name for path in self.spool.iterdir() if path.is_dir() and path.name[0] != "."]

    def add_site(self, name: str, store: Path) -> int:
        """Add a small site that is stored in the folder `store`."""
        store.mkdir(exist_ok=True)
        storage = {"type": "local", "config": {"path": str(store)}}
        storage |= {"name": f"storage of {name}", "is_default": True}
        answer = self.cluster.post("/api/v1/storage/providers", storage)
        assert answer.status == 201, answer
        path = make_sqlite_site(self.path_of(name))
        answer = self.cluster.post("/api/v1/sites/manual", {"path": str(path), "name": name})
        assert answer.status in (200, 201), answer
        return int(answer.body["id"])

    def path_of(self, name: str) -> Path:
        return self.cluster.directory / name

    def start(self, site: int) -> str:
        answer = self.cluster.post(f"/api/v1/sites/{site}/backup/start")
        assert answer.status == 202, answer
        return str(answer.body["job_id"])

    def status(self, site: int) -> dict[str, Any]:
        status: dict[str, Any] = self.cluster.get(f"/api/v1/sites/{site}/backup/status").body
        return status

    def fails(self, site: int) -> dict[str, Any]:
        """Return how the site's backup, which must fail, is shown."""
        status = self.cluster.wait_for_end(site)
        assert status["status"] == "failed", status
        return status

    def assert_next_backup_works(self, site: int) -> None:
        """With room again, nothing of what happened before is in the way."""
        self.disk.make_room()
        self.start(site)
        status = self.cluster.wait_for_end(site)
        assert status["status"] == "completed", status
        wait_until(lambda: self.work_folders() == [], 20, "the spool is empty")

    def assert_spool_is_freed(self, free_before: int) -> None:
        wait_until(lambda: self.work_folders() == [], 20, "what the job wrote is removed")
        # What the agent keeps for itself is a few pages.
        assert self.disk.free >= free_before - 64 * 1024

    def node_says_free(self, most: int) -> bool:
        free = self.cluster.get(f"/api/v1/nodes/{self.node}").body["disk_free_bytes"]
        return free is not None and free <= most


@pytest.fixture(scope="module")
def small_host(
    redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[SmallHost]:
    directory = tmp_path_factory.mktemp("small-host")
    with small_disk_at(directory / "disk", DISK_BYTES) as disk:
        settings = {**SETTINGS, "HOLDFAST_SPOOL_DIRECTORY": str(disk.path / "spool")}
        url = f"sqlite:///{directory / 'panel.sqlite3'}"
        with running_cluster(directory, url, redis_server.url, settings=settings) as cluster:
            (node,) = cluster.get("/api/v1/nodes/").body
            yield SmallHost(cluster, disk, node["id"])


@pytest.fixture
def host(small_host: SmallHost) -> Iterator[SmallHost]:
    yield small_host
    small_host.disk.make_room()
    small_host.cluster.post(f"/api/v1/nodes/{small_host.node}/resume")
    change_node(small_host, upload_bytes_per_second=None)


def change_node(host: SmallHost, **changes: Any) -> None:
    answer = host.cluster.request("PATCH", f"/api/v1/nodes/{host.node}", changes)
    assert answer.status == 200, answer


def noise(size: int) -> bytes:
    return hashlib.shake_256(b"noise").digest(size)


def add_incompressible_rows(path: Path, size: int) -> None:
    """Put bytes into the site's database that no estimate expects: random ones."""
    with closing(sqlite3.connect(path / "wp-content/database/.ht.sqlite")) as database, database:
        database.execute("CREATE TABLE wp_noise (bytes BLOB)")
        data = noise(size)
        rows = ((data[start : start + 10_000],) for start in range(0, size, 10_000))
        database.executemany("INSERT INTO wp_noise VALUES (?)", rows)


def add_incompressible_text(path: Path, size: int) -> None:
    """Put a file into the site that looks as if it could be compressed."""
    (path / "wp-content" / "uploads" / "noise.txt").write_bytes(noise(size))


# By stage: what fills the disk there, and how many bytes are free when the backup begins: more than
# is expected to be needed, less than is needed.
IN_THE_MIDDLE: dict[str, tuple[Callable[[Path, int], None], int, int]] = {
    "backup_db": (add_incompressible_rows, 6 * MEBIBYTE, 10 * MEBIBYTE),
    "backup_files": (add_incompressible_text, 16 * MEBIBYTE, 8 * MEBIBYTE),
}


@pytest.mark.parametrize("stage", IN_THE_MIDDLE)
def test_disk_is_named_and_freed_when_it_fills_up_in_the_middle(
    stage: str, host: SmallHost, tmp_path: Path
) -> None:
    add, size, free = IN_THE_MIDDLE[stage]
    name = f"{stage.replace('_', '-')}.example.com"
    site = host.add_site(name, tmp_path / "store")
    add(host.path_of(name), size)
    host.disk.leave(free)
    free_before = host.disk.free
    job = host.start(site)
    status = host.fails(site)
    assert stage_of(status, stage) == "failed"
    assert f"The disk of {host.spool}/{job}" in status["error"]
    for said in ("is full", host.disk.size_said, "MB free", "Free some room on the node"):
        assert said in status["error"]
    assert host.cluster.get(f"/api/v1/jobs/{job}").body["error_code"] == "disk_full"
    host.assert_spool_is_freed(free_before)
    host.assert_next_backup_works(site)


def stage_of(status: dict[str, Any], stage: str) -> str:
    return {one["name"]: one["status"] for one in status["stages"]}[stage]


def test_bundle_is_not_sealed_when_the_disk_fills_up_before(
    host: SmallHost, tmp_path: Path
) -> None:
    """Something else took the room meanwhile. The drain keeps the stage from beginning before."""
    site = host.add_site("sealed.example.com", tmp_path / "store")
    add_incompressible_text(host.path_of("sealed.example.com"), 16 * MEBIBYTE)
    job = host.start(site)
    wait_until(lambda: any(host.spool.glob(f"{job}/backup_files-*/segment")), 60, "files are read")
    assert host.cluster.post(f"/api/v1/nodes/{host.node}/drain").status in (200, 202)
    wait_until(lambda: stage_of(host.status(site), "backup_files") == "completed", 60, "it is done")
    host.disk.fill()
    assert host.cluster.post(f"/api/v1/nodes/{host.node}/resume").status in (200, 202)
    status = host.fails(site)
    assert host.cluster.get(f"/api/v1/jobs/{job}").body["error_code"] in (
        "disk_full",
        "not_enough_space",
    )
    assert f"{host.disk.size_said}, 0.0 MB free" in status["error"]
    wait_until(lambda: host.work_folders() == [], 20, "what the job wrote is removed")
    assert host.disk.free >= 16 * MEBIBYTE
    host.assert_next_backup_works(site)


def test_storages_disk_is_named_and_freed_when_it_fills_up_in_the_middle(
    host: SmallHost, small_disk: Callable[[int], SmallDisk]
) -> None:
    storage = small_disk(32 * MEBIBYTE)
    store = storage.path / "store"
    site = host.add_site("stored.example.com", store)
    add_incompressible_text(host.path_of("stored.example.com"), 8 * MEBIBYTE)
    change_node(host, upload_bytes_per_second=MEBIBYTE)
    job = host.start(site)
    wait_until(lambda: any(part.stat().st_size for part in store.rglob("*.part")), 60, "it copies")
    storage.fill()
    status = host.fails(site)
    for said in (
        "The storage's disk became full",
        str(store),
        storage.size_said,
        "Free some space",
    ):
        assert said in status["error"]
    assert host.cluster.get(f"/api/v1/jobs/{job}").body["error_code"] == "no_room"
    assert storage.used_by_tests == []
    storage.make_room()
    change_node(host, upload_bytes_per_second=None)
    host.assert_next_backup_works(site)


def test_nothing_is_written_when_a_scan_says_that_it_would_not_fit(
    host: SmallHost, tmp_path: Path
) -> None:
    """The first backup: nobody knows how large its bundle will be."""
    site = host.add_site("first.example.com", tmp_path / "store")
    photo = host.path_of("first.example.com") / "wp-content" / "uploads" / "large.jpg"
    photo.write_bytes(noise(4 * MEBIBYTE))
    host.disk.leave(3 * MEBIBYTE)
    free_before = host.disk.free
    job = host.start(site)
    status = host.fails(site)
    assert host.cluster.get(f"/api/v1/jobs/{job}").body["error_code"] == "not_enough_space"
    for said in ("a backup of first.example.com", "4.1 MB are needed", "3.0 MB free"):
        assert said in status["error"]
    assert stage_of(status, "backup_db") == "failed"
    host.assert_spool_is_freed(free_before)
    host.assert_next_backup_works(site)


def test_start_is_refused_when_the_last_bundle_would_not_fit(
    host: SmallHost, tmp_path: Path
) -> None:
    site = host.add_site("known.example.com", tmp_path / "store")
    add_incompressible_text(host.path_of("known.example.com"), 4 * MEBIBYTE)
    host.assert_next_backup_works(site)
    host.disk.leave(4 * MEBIBYTE)
    wait_until(lambda: host.node_says_free(4 * MEBIBYTE), 20, "the node says how full it is")
    answer = host.cluster.post(f"/api/v1/sites/{site}/backup/start")
    assert (answer.status, answer.body["code"]) == (409, "not_enough_space"), answer
    for said in ("needs about 4.7 MB", "of 4.0 MB free", "web-01"):
        assert said in answer.body["detail"]
    host.disk.make_room()
    wait_until(lambda: not host.node_says_free(4 * MEBIBYTE), 20, "the node says how empty it is")
    host.assert_next_backup_works(site)
