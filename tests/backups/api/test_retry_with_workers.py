"""POST /api/v1/jobs/{id}/retry with a real panel, Redis and worker, which looks and goes on."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.servers import wait_until
from tests.servers.cluster import Cluster, running_cluster
from tests.servers.redis import RedisServer
from tests.workers.stages.pipeline import make_sqlite_site

pytestmark = pytest.mark.slow
FIRST_THREE = ("backup_db", "backup_files", "create_bundle")


@pytest.fixture(scope="module")
def cluster(
    redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cluster]:
    """A cluster of this module's own, since its worker is killed."""
    directory = tmp_path_factory.mktemp("retries")
    url = f"sqlite:///{directory / 'panel.sqlite3'}"
    settings = {"HOLDFAST_NODE_ANSWER_SECONDS": "5", "HOLDFAST_HEARTBEAT_SECONDS": "1"}
    with running_cluster(directory, url, redis_server.url, settings=settings) as cluster:
        yield cluster


@dataclass
class Failed:
    """A site whose backup could not be stored: the folder to store it in is missing."""

    cluster: Cluster
    site: int
    job: str
    store: Path

    def retry(self) -> dict[str, Any]:
        answer = self.cluster.post(f"/api/v1/jobs/{self.job}/retry")
        assert answer.status == 202, answer
        body: dict[str, Any] = answer.body
        return body

    def task(self) -> dict[str, Any]:
        """Return what the failure put on the list of the cluster's only admin."""
        me = self.cluster.get("/api/auth/me").body["id"]
        [task] = self.cluster.get(f"/api/{me}/tasks?job_id={self.job}").body["results"]
        return task

    def segments(self) -> list[Path]:
        return sorted((self.cluster.spool / self.job).glob("*/segment"))

    def stage_times(self, job: str) -> dict[str, str]:
        stages = self.cluster.get(f"/api/v1/jobs/{job}").body["stages"]
        return {stage["name"]: stage["started_at"] for stage in stages}


@pytest.fixture
def failed(cluster: Cluster) -> Failed:
    if not any("worker" in name and one.alive for name, one in cluster.daemons.items()):
        cluster.start_worker(f"worker-{len(cluster.daemons)}")
    name = f"retried-{uuid.uuid4().hex[:8]}"
    folder, store = cluster.directory / f"{name}.example", cluster.directory / f"store-{name}"
    make_sqlite_site(folder)
    storage = {"name": name, "type": "local", "config": {"path": str(store)}}
    storage_id = cluster.post("/api/v1/storage/providers", storage).body["id"]
    site = cluster.post("/api/v1/sites/manual", {"path": str(folder)}).body["id"]
    cluster.request("PATCH", f"/api/v1/sites/{site}", {"storage_id": storage_id})
    job = cluster.post(f"/api/v1/sites/{site}/backup/start").body["job_id"]
    status = cluster.wait_for_end(site)
    assert (status["status"], status["stage"]) == ("failed", "upload_remote"), status
    store.mkdir()
    return Failed(cluster, site, job, store)


def test_new_job_goes_on_from_the_failed_stage_when_the_work_is_intact(failed: Failed) -> None:
    assert failed.segments()
    assert (failed.task()["completed"], failed.task()["site_id"]) == (False, failed.site)
    assert str(failed.store) in failed.task()["description"]
    body = failed.retry()
    assert (body["resumed_from"], body["retry_of"]) == ("upload_remote", failed.job)
    name = failed.cluster.get(f"/api/v1/sites/{failed.site}").body["name"]
    assert body["message"] == f"Backup of {name} goes on from stage 4/5: upload_remote"
    ended = failed.cluster.wait_for_end(failed.site)
    assert (ended["status"], ended["job_id"]) == ("completed", body["job_id"]), ended
    assert failed.task()["completed"] is True
    before, after = failed.stage_times(failed.job), failed.stage_times(body["job_id"])
    assert {stage: after[stage] for stage in FIRST_THREE} == {
        stage: before[stage] for stage in FIRST_THREE
    }
    [backup] = failed.cluster.get(f"/api/v1/sites/{failed.site}/backups?limit=1").body["backups"]
    assert Path(backup["s3_path"]).stat().st_size == backup["size_bytes"]
    wait_until(lambda: not (failed.cluster.spool / failed.job).exists())


@pytest.mark.parametrize(
    ("stage", "resumed_from"),
    [("create_bundle", "create_bundle"), ("backup_files", "backup_files"), ("backup_db", None)],
)
@pytest.mark.parametrize("damage", ["cut off", "gone"])
def test_new_job_does_again_what_is_no_longer_as_it_was(
    failed: Failed, damage: str, stage: str, resumed_from: str | None
) -> None:
    [segment] = [path for path in failed.segments() if path.parent.name.startswith(stage)]
    if damage == "gone":
        segment.unlink()
    else:
        os.truncate(segment, segment.stat().st_size - 1)
    body = failed.retry()
    assert body["resumed_from"] == resumed_from
    if resumed_from is None:
        assert "what the earlier run left is gone or has changed" in body["message"]
    ended = failed.cluster.wait_for_end(failed.site)
    assert (ended["status"], ended["job_id"]) == ("completed", body["job_id"]), ended
    before, after = failed.stage_times(failed.job), failed.stage_times(body["job_id"])
    kept = FIRST_THREE[: FIRST_THREE.index(stage)]
    assert tuple(name for name in after if after[name] == before[name]) == kept


def test_new_job_begins_again_and_runs_later_when_the_node_cannot_be_asked(
    failed: Failed,
) -> None:
    for name, daemon in failed.cluster.daemons.items():
        if "worker" in name:
            daemon.kill()
    wait_until(lambda: failed.cluster.get("/api/v1/nodes/").body[0]["status"] == "offline")
    body = failed.retry()
    assert (body["resumed_from"], body["status"]) == (None, "running")
    assert "could not be asked" in body["message"]
    failed.cluster.start_worker("worker-again")
    ended = failed.cluster.wait_for_end(failed.site)
    assert (ended["status"], ended["job_id"]) == ("completed", body["job_id"]), ended
    wait_until(lambda: not (failed.cluster.spool / failed.job).exists())
