"""The panel's database is lost: a new one is made from the storages, and sites are restored."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.contracts.test_restores import Restorable, assert_done
from tests.servers.age import KeyPair, make_key
from tests.servers.cluster import EMAIL, Cluster, running_cluster
from tests.servers.moto import S3Server
from tests.servers.redis import RedisServer
from tests.workers.stages.pipeline import make_sqlite_site

pytestmark = pytest.mark.slow

# What bundles do not hold, or what is not the same by its nature.
NOT_REBUILT_OF_SITE = {"id", "node_id", "created_at", "last_backup", "retention_copies",
                       "status", "storage_id"}  # fmt: skip
NOT_REBUILT_OF_BACKUP = {"id", "site_id", "job_id", "created_at", "storage_id", "verified_by"}
NAMES = ("plain.example.com", "second.example.com", "bucket.example.com", "secret.example.com")


def database_at(folder: Path) -> str:
    folder.mkdir(exist_ok=True)
    return f"sqlite:///{folder / 'panel.sqlite3'}"


@contextmanager
def from_nothing(folder: Path, broker_url: str, settings: dict[str, str]) -> Iterator[Cluster]:
    """Yield an installation with a first user and no other row; processes are the caller's."""
    cluster = Cluster(folder, database_at(folder), broker_url, settings)
    try:
        cluster.manage("migrate", "--verbosity", "0")
        cluster.manage("createsuperuser", "--noinput", "--email", EMAIL)
        yield cluster
        assert cluster.leaks() == []
    except BaseException as error:
        error.add_note(cluster.logs())
        raise
    finally:
        cluster.stop()


def rows_of(cluster: Cluster) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return sites by UUID and backups by file name, as the API tells of them."""
    sites = {row["uuid"]: row for row in cluster.get("/api/v1/sites/").body["sites"]}
    backups: dict[str, Any] = {}
    for row in sites.values():
        answer = cluster.get(f"/api/v1/sites/{row['id']}/backups")
        backups |= {one["filename"]: one for one in answer.body["backups"]}
    return sites, backups


def without(row: dict[str, Any], names: set[str]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in names}


class Lost:
    """An installation that made backups, and then lost its panel."""

    def __init__(self, root: Path, key: KeyPair, s3: S3Server) -> None:
        self.root, self.key = root, key
        self.store, self.secret_store = root / "store", root / "secret"
        for folder in (self.store, self.secret_store):
            folder.mkdir()
        (self.store / "notes.txt").write_text("somebody else's")
        # Of each site, in the order of NAMES.
        plain = {"name": "plain", "type": "local", "config": {"path": str(self.store)}}
        bucket = {"name": "bucket", "type": "s3", "config": s3.config(prefix=root.name)}
        secret = {"name": "secret", "type": "local", "config": {"path": str(self.secret_store)},
                  "encryption_recipients": [key.recipient]}  # fmt: skip
        self.storages = [plain, plain, bucket, secret]

    def back_up(self, cluster: Cluster) -> None:
        for name, storage in zip(NAMES, self.storages, strict=True):
            path = make_sqlite_site(self.root / "www" / name)
            there = cluster.get("/api/v1/storage/providers").body
            known = {one["name"] for one in there}
            if storage["name"] not in known:
                body = {**storage, "is_default": True}
                answer = cluster.post("/api/v1/storage/providers", body)
                assert answer.status == 201, answer
            answer = cluster.post("/api/v1/sites/manual", {"path": str(path), "name": name})
            assert answer.status in (200, 201), answer
            site = answer.body["id"]
            assert cluster.post(f"/api/v1/sites/{site}/backup/start").status == 202
            assert cluster.wait_for_end(site)["status"] == "completed"

    def files(self) -> list[str]:
        files = []
        for storage in self.storages[1:]:
            file = self.root / f"{storage['name']}.json"
            file.write_text(json.dumps(storage))
            files.append(str(file))
        return files


def test_database_comes_back_from_the_storages_and_sites_from_their_bundles(
    redis_server: RedisServer, moto_s3: S3Server, tmp_path: Path
) -> None:
    key = make_key(tmp_path / "key.txt")
    settings = {"HOLDFAST_AGE_IDENTITY_FILE": str(key.file)}
    lost = Lost(tmp_path, key, moto_s3)
    first = tmp_path / "first"
    url = database_at(first)
    with running_cluster(first, url, redis_server.url, tmp_path, settings) as cluster:
        lost.back_up(cluster)
        old_sites, old_backups = rows_of(cluster)
        [old_node] = cluster.get("/api/v1/nodes/").body
    assert len(old_sites) == len(old_backups) == 4

    with from_nothing(tmp_path / "second", redis_server.url, settings) as cluster:
        for file in lost.files():
            cluster.manage("catalogue", "rebuild", "--config", file)
        done = json.loads(cluster.manage("catalogue", "rebuild", "--json").stdout)
        assert (done["nodes"], done["sites"], done["backups"]) == ([], [], [])
        cluster.start_panel()
        sites, backups = rows_of(cluster)
        assert sites.keys() == old_sites.keys()
        for uuid, row in sites.items():
            assert without(row, NOT_REBUILT_OF_SITE) == without(
                old_sites[uuid], NOT_REBUILT_OF_SITE
            )
        assert backups.keys() == old_backups.keys()
        for name, row in backups.items():
            assert without(row, NOT_REBUILT_OF_BACKUP) == without(
                old_backups[name], NOT_REBUILT_OF_BACKUP
            )
        [node] = cluster.get("/api/v1/nodes/").body
        assert (node["name"], node["uuid"]) == (old_node["name"], old_node["uuid"])
        assert node["allowed_roots"] == []
        cluster.manage("node", "enable", "web-01", "--root", str(tmp_path))
        cluster.start_coordinator()
        cluster.start_worker()
        for site in sites.values():
            [backup] = [one for one in backups.values() if one["site_id"] == site["id"]]
            restorable = Restorable(cluster, site["id"], Path(site["wp_path"]), backup["id"])
            files = restorable.files()
            restorable.deface()
            assert_done(restorable.restore(what="files", checkpoint=False))
            assert restorable.files() == files
        # And what is made from now on goes on from there.
        site = next(iter(sites.values()))
        assert cluster.post(f"/api/v1/sites/{site['id']}/backup/start").status == 202
        assert cluster.wait_for_end(site["id"])["status"] == "completed"
        done = json.loads(cluster.manage("catalogue", "rebuild", "--json").stdout)
        assert done["backups"] == []
