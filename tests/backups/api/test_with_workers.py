"""The questions that only a node can answer, with a real panel, Redis and worker."""

from __future__ import annotations

import hashlib
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.servers import wait_until
from tests.servers.cluster import Answer, Cluster
from tests.workers.stages.pipeline import make_sqlite_site

pytestmark = pytest.mark.slow


@pytest.fixture
def cluster(sqlite_cluster: Cluster) -> Cluster:
    """A cluster, with a worker whatever earlier tests did to theirs."""
    if not any("worker" in name and one.alive for name, one in sqlite_cluster.daemons.items()):
        sqlite_cluster.start_worker(f"worker-{len(sqlite_cluster.daemons)}")
    wait_until(lambda: sqlite_cluster.get("/api/v1/nodes/").body[0]["status"] == "online")
    return sqlite_cluster


@pytest.fixture
def folder(cluster: Cluster, request: pytest.FixtureRequest) -> Path:
    """A folder of this test's own below the node's root."""
    folder = cluster.directory / f"answers-{request.node.name[:60]}"
    folder.mkdir()
    return folder


def add_storage(cluster: Cluster, name: str, path: Path, **others: Any) -> Answer:
    body = {"name": name, "type": "local", "config": {"path": str(path)}, **others}
    return cluster.post("/api/v1/storage/providers", body)


@contextmanager
def frozen_workers(cluster: Cluster) -> Iterator[None]:
    """Let every process of every worker hold still: alive by its heartbeat, and silent."""
    agents = [one.pid for name, one in cluster.daemons.items() if "worker" in name and one.alive]
    processes = [psutil.Process(pid) for pid in agents]
    processes += [child for agent in processes for child in agent.children(recursive=True)]
    for process in processes:
        process.suspend()
    try:
        yield
    finally:
        for process in processes:
            process.resume()


def assert_fetched_without_a_trace(cluster: Cluster, backup: dict[str, Any]) -> None:
    """Fetch the bundle as anybody with the link could; the link is in no log of the server."""
    url = cluster.get(f"/api/v1/backups/{backup['id']}/download").body["download_url"]
    with urllib.request.urlopen(url, timeout=60) as response:
        assert hashlib.sha256(response.read()).hexdigest() == backup["sha256"]
    log = cluster.daemons["panel"].log
    wait_until(lambda: "GET /api/v1/downloads/***" in log.read_text())
    assert url.rpartition("/")[2] not in log.read_text()


def test_sites_are_found_when_a_folder_is_scanned(cluster: Cluster, folder: Path) -> None:
    make_sqlite_site(folder / "found.example")
    (folder / "empty").mkdir()
    body = cluster.get(f"/api/v1/daemon/scan?base_path={folder}").body
    assert (body["success"], body["total"], body["problems"]) == (True, 1, [])
    assert body["sites"] == [
        {
            "name": "found.example",
            "path": str(folder / "found.example"),
            "has_wp_config": True,
            "has_wp_content": True,
            "db_name": body["sites"][0]["db_name"],
            "is_complete": True,
        }
    ]


def test_site_is_added_with_what_its_configuration_says(cluster: Cluster, folder: Path) -> None:
    path = make_sqlite_site(folder / "manual.example")
    answer = cluster.post("/api/v1/sites/manual", {"path": str(path)})
    assert answer.status == 201, answer
    assert (answer.body["name"], answer.body["db_engine"]) == ("manual.example", "")
    assert answer.body["wp_config_path"] == str(path / "wp-config.php")
    again = cluster.post("/api/v1/sites/manual", {"path": str(path)})
    assert (again.status, again.body["code"]) == (409, "site_exists")


def test_reason_is_told_when_a_folder_is_no_site(cluster: Cluster, folder: Path) -> None:
    (folder / "no-config" / "wp-content").mkdir(parents=True)
    (folder / "elsewhere").symlink_to("/etc")
    expected = {
        "missing": (400, "site_not_found"),
        "no-config": (422, "wp_config_missing"),
        "elsewhere": (400, "path_not_allowed"),
    }
    for name, (status, code) in expected.items():
        answer = cluster.post("/api/v1/sites/manual", {"path": str(folder / name)})
        assert (answer.status, answer.body["code"]) == (status, code), answer


def test_storage_is_probed_when_it_is_added_and_when_it_is_tested(
    cluster: Cluster, folder: Path
) -> None:
    bad = add_storage(cluster, "no such folder", folder / "missing").body
    assert (bad["status"], bad["capabilities"]) == ("failed", None)
    assert str(folder / "missing") in bad["test_error"]
    url = f"/api/v1/storage/providers/{bad['id']}"
    again = cluster.post(f"{url}/test")
    assert (again.status, again.body["code"]) == (422, "storage_folder_missing")
    (folder / "missing").mkdir()
    tested = cluster.post(f"{url}/test")
    assert (tested.status, tested.body["capabilities"]["write"]) == (200, True)
    assert cluster.get(url).body["status"] == "usable"


def test_object_goes_before_its_backup(cluster: Cluster, folder: Path) -> None:
    (folder / "store").mkdir()
    storage = add_storage(cluster, "to delete from", folder / "store").body
    path = make_sqlite_site(folder / "deleted.example")
    site = cluster.post("/api/v1/sites/manual", {"path": str(path)}).body["id"]
    cluster.request("PATCH", f"/api/v1/sites/{site}", {"storage_id": storage["id"]})
    assert cluster.post(f"/api/v1/sites/{site}/backup/start").status == 202
    assert cluster.wait_for_end(site)["status"] == "completed"
    [backup] = cluster.get(f"/api/v1/sites/{site}/backups").body["backups"]
    assert Path(backup["s3_path"]).stat().st_size == backup["size_bytes"]
    assert_fetched_without_a_trace(cluster, backup)
    answer = cluster.request("DELETE", f"/api/v1/backups/{backup['id']}?delete_remote=true")
    assert (answer.status, answer.body["remote_deleted"]) == (200, True)
    assert not Path(backup["s3_path"]).exists()
    assert cluster.get(f"/api/v1/backups/{backup['id']}").status == 404


DUE_NOW = """
from django.db.models.functions import Now
from backups.models import Site
Site.objects.filter(pk={site}).update(next_run_at=Now())
"""


def test_backup_runs_by_itself_when_its_time_has_come(cluster: Cluster, folder: Path) -> None:
    path = make_sqlite_site(folder / "nightly.example")
    site = cluster.post("/api/v1/sites/manual", {"path": str(path)}).body["id"]
    (folder / "store").mkdir()
    storage = add_storage(cluster, "nightly", folder / "store").body["id"]
    cluster.request("PATCH", f"/api/v1/sites/{site}", {"storage_id": storage})
    schedule = {"schedule_frequency": "daily", "schedule_window_minutes": 0}
    due = cluster.request("PUT", f"/api/v1/sites/{site}/schedule", schedule).body["next_run_at"]
    cluster.manage("shell", "--verbosity", "0", "-c", DUE_NOW.format(site=site))
    wait_until(lambda: cluster.get(f"/api/v1/jobs?site_id={site}").body["total"] == 1)
    assert cluster.wait_for_end(site)["status"] == "completed"
    [job] = cluster.get(f"/api/v1/jobs?site_id={site}").body["jobs"]
    assert (job["trigger"], job["requested_by"]) == ("schedule", None)
    assert cluster.get(f"/api/v1/sites/{site}").body["next_run_at"] == due


def test_link_gives_the_answer_when_the_node_takes_too_long(cluster: Cluster, folder: Path) -> None:
    path = make_sqlite_site(folder / "late.example")
    with frozen_workers(cluster):
        pending = cluster.post("/api/v1/sites/manual", {"path": str(path)})
        assert (pending.status, pending.body["code"]) == (202, "pending"), pending
        url = pending.body["status_url"]
        assert cluster.get(url).status == 202
    wait_until(lambda: cluster.get(url).status != 202)
    answer = cluster.get(url)
    assert (answer.status, answer.body["name"]) == (201, "late.example")
    assert cluster.get(url).body["id"] == answer.body["id"]


def test_line_of_a_worker_says_for_what_it_works(cluster: Cluster, folder: Path) -> None:
    (folder / "store").mkdir()
    storage = add_storage(cluster, "for lines", folder / "store").body
    path = make_sqlite_site(folder / "lines.example")
    site = cluster.post("/api/v1/sites/manual", {"path": str(path)}).body["id"]
    cluster.request("PATCH", f"/api/v1/sites/{site}", {"storage_id": storage["id"]})
    (path / "wp-content").rename(folder / "away")
    job = cluster.post(f"/api/v1/sites/{site}/backup/start").body["job_id"]
    assert cluster.wait_for_end(site)["status"] == "failed"
    logs = [one.log.read_text() for name, one in cluster.daemons.items() if "worker" in name]
    [line] = [
        line for log in logs for line in log.splitlines() if job in line and " ERROR " in line
    ]
    assert line.endswith(f"[site={site} job={job} epoch=1 stage=backup_db]")
