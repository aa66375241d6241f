"""Retention with a real panel, coordinator, Redis and worker: old bundles go by themselves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.servers import wait_until
from tests.servers.cluster import Cluster
from tests.workers.stages.pipeline import make_sqlite_site

pytestmark = pytest.mark.slow


@pytest.fixture
def cluster(sqlite_cluster: Cluster) -> Cluster:
    """A cluster, with a worker whatever earlier tests did to theirs."""
    sqlite_cluster.ensure_worker()
    return sqlite_cluster


def back_up(cluster: Cluster, site: int) -> dict[str, Any]:
    assert cluster.post(f"/api/v1/sites/{site}/backup/start").status == 202
    assert cluster.wait_for_end(site)["status"] == "completed"
    backup: dict[str, Any] = cluster.get(f"/api/v1/sites/{site}/backups").body["backups"][0]
    return backup


def test_old_bundles_go_by_themselves_and_pinned_ones_stay(cluster: Cluster) -> None:
    folder = cluster.directory / "retention"
    (folder / "store").mkdir(parents=True)
    body = {"name": "pruned", "type": "local", "config": {"path": str(folder / "store")}}
    storage = cluster.post("/api/v1/storage/providers", body).body["id"]
    path = make_sqlite_site(folder / "kept.example")
    site = cluster.post("/api/v1/sites/manual", {"path": str(path)}).body["id"]
    cluster.request("PATCH", f"/api/v1/sites/{site}", {"storage_id": storage})
    address = f"/api/v1/sites/{site}/retention"
    assert cluster.request("PUT", address, {"keep_last": 1}).body["policy"]["keep_last"] == 1
    first = back_up(cluster, site)
    assert cluster.post(f"/api/v1/backups/{first['id']}/pin", {"note": "the first"}).status == 200
    second, third = back_up(cluster, site), back_up(cluster, site)
    wait_until(lambda: cluster.get(f"/api/v1/backups/{second['id']}").status == 404, timeout=90)
    assert not Path(second["s3_path"]).exists()
    assert Path(first["s3_path"]).exists() and Path(third["s3_path"]).exists()
    body = cluster.get(address).body
    assert [one["backup_id"] for one in body["keep"]] == [third["id"], first["id"]]
    assert body["last_run"]["removed"] == 1 and body["last_run"]["error"] == ""
    trail = cluster.get("/api/v1/activity-logs/?action=backup.prune").body["results"]
    assert any(second["filename"] in entry["detail"] for entry in trail)
    audit = cluster.manage("storage", "audit", "pruned")
    assert audit.stdout == "Catalogue and storage agree.\n"
