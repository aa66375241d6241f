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
from tests.servers.cluster import Cluster, running_cluster
from tests.servers.moto import S3Server
from tests.servers.redis import RedisServer
from tests.workers.stages.pipeline import make_sqlite_site

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

# What bundles do not hold, or what is not the same by its nature.
NOT_REBUILT_OF_SITE = {"id", "node_id", "created_at", "last_backup", "retention_copies",
                       "status", "storage_id"}  # fmt: skip
NOT_REBUILT_OF_BACKUP = {"id", "site_id", "job_id", "created_at", "storage_id", "verified_by",
                         "checked_at"}  # fmt: skip
NAMES = ("plain.example.com", "second.example.com", "bucket.example.com", "secret.example.com")


def database_at(folder: Path) -> str:
    folder.mkdir(exist_ok=True)
    return f"sqlite:///{folder / 'panel.sqlite3'}"


@contextmanager
def from_nothing(folder: Path, broker_url: str, settings: dict[str, str]) -> Iterator[Cluster]:
    """Yield an installation with a first user and no other row; processes are the caller's."""
    cluster = Cluster(folder, database_at(folder), broker_url, settings)
    with cluster.warmed_up():
        try:
            cluster.begin_with_admin()
            yield cluster
            assert cluster.leaks() == []
        except BaseException as error:
            error.add_note(cluster.logs())
            raise


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
        started, known = [], set()
        for name, storage in zip(NAMES, self.storages, strict=True):
            path = make_sqlite_site(self.root / "www" / name)
            if storage["name"] not in known:
                body = {**storage, "is_default": True}
                answer = cluster.post("/api/v1/storage/providers", body)
                assert answer.status == 201, answer
                known.add(storage["name"])
            answer = cluster.post("/api/v1/sites/manual", {"path": str(path), "name": name})
            assert answer.status in (200, 201), answer
            started.append(answer.body["id"])
            assert cluster.post(f"/api/v1/sites/{started[-1]}/backup/start").status == 202
        for site in started:
            assert cluster.wait_for_end(site)["status"] == "completed"

    def files(self) -> list[str]:
        files = []
        for storage in self.storages[1:]:
            file = self.root / f"{storage['name']}.json"
            file.write_text(json.dumps({**storage, "is_default": storage["name"] == "plain"}))
            files.append(str(file))
        return files


def assert_same(rows: dict[str, Any], old: dict[str, Any], but: set[str], *, count: int) -> None:
    assert rows.keys() == old.keys() and len(rows) == count
    for name, row in rows.items():
        assert without(row, but) == without(old[name], but)


def assert_restorable(cluster: Cluster, sites: Any, backups: Any) -> None:
    """Damage every site, restore the files of all at once, and find them as they were."""
    all_of_them = []
    for site in sites:
        [backup] = [one for one in backups if one["site_id"] == site["id"]]
        one = Restorable(cluster, site["id"], Path(site["wp_path"]), backup["id"])
        files = one.files()
        one.deface()
        body = {"backup_id": backup["id"], "what": "files", "checkpoint": False}
        answer = cluster.post(f"/api/v1/sites/{site['id']}/restore", body)
        assert answer.status == 202, answer
        all_of_them.append((one, answer.body["job_id"], files))
    for one, job, files in all_of_them:
        assert_done(one.ended(job))
        assert one.files() == files


def test_database_comes_back_from_the_storages_and_sites_from_their_bundles(
    redis_server: RedisServer, moto_s3: S3Server, tmp_path: Path
) -> None:
    key = make_key(tmp_path / "key.txt")
    settings = {"HOLDFAST_AGE_IDENTITY_FILE": str(key.file)}
    lost = Lost(tmp_path, key, moto_s3)
    first, url = tmp_path / "first", database_at(tmp_path / "first")
    with running_cluster(first, url, redis_server.url, tmp_path, settings) as cluster:
        lost.back_up(cluster)
        old_sites, old_backups = rows_of(cluster)
        [old_node] = cluster.get("/api/v1/nodes/").body

    with from_nothing(tmp_path / "second", redis_server.url, settings) as cluster:
        for file in lost.files():
            cluster.manage("catalogue", "rebuild", "--config", file)
        cluster.start_panel()
        sites, backups = rows_of(cluster)
        assert_same(sites, old_sites, NOT_REBUILT_OF_SITE, count=4)
        assert_same(backups, old_backups, NOT_REBUILT_OF_BACKUP, count=4)
        [node] = cluster.get("/api/v1/nodes/").body
        assert (node["name"], node["uuid"]) == (old_node["name"], old_node["uuid"])
        assert node["allowed_roots"] == []
        cluster.manage("node", "enable", "web-01", "--root", str(tmp_path))
        cluster.start_coordinator()
        cluster.start_worker()
        assert_restorable(cluster, sites.values(), backups.values())
        # And what is made from now on goes on from there.
        site = next(iter(sites.values()))
        assert cluster.post(f"/api/v1/sites/{site['id']}/backup/start").status == 202
        assert cluster.wait_for_end(site["id"])["status"] == "completed"
        done = json.loads(cluster.manage("catalogue", "rebuild", "--json").stdout)
        assert (done["nodes"], done["sites"], done["backups"]) == ([], [], [])
        assert sum(one["known"] for one in done["storages"]) == 5


BACK_UP_AND_LOSE = """
from pathlib import Path
from backups.models import Backup, Job, Node, Site, Storage
from backups.registry import PIPELINES
from tests.workers.factories import dispatched_job, make_site
from workers.runner import run_stage
folder = Path({folder!r})
for number in range(2):
    site = make_site(folder, f"site-{{number}}.example.com")
    for _ in range(2):
        job = dispatched_job(site)
        for stage in PIPELINES["backup"]:
            assert run_stage(stage, job_id=str(job.pk), epoch=1, worker="worker@host")
for model in (Backup, Job, Site, Storage, Node):
    model.objects.all().delete()
"""
COUNTED = """
from backups.models import Site
print([(site.name, site.backup_count, site.storage_used_bytes > 0, site.newest_key_at is not None)
       for site in Site.objects.all()])
"""


def test_rows_come_back_in_every_database_of_a_panel(
    panel_database_url: str, tmp_path: Path
) -> None:
    # Nobody listens on port 9.
    cluster = Cluster(tmp_path, panel_database_url, "redis://127.0.0.1:9/0")
    file = tmp_path / "storage.json"
    config = {"path": str(tmp_path / "store")}
    file.write_text(json.dumps({"name": "again", "type": "local", "config": config}))
    with cluster.warmed_up():
        cluster.migrate()
        code = BACK_UP_AND_LOSE.format(folder=str(tmp_path))
        cluster.manage("shell", "--verbosity", "0", "-c", code)
        rebuild = ("catalogue", "rebuild", "--config", str(file), "--json")
        rehearsed = json.loads(cluster.manage(*rebuild, "--dry-run").stdout)
        done = json.loads(cluster.manage(*rebuild).stdout)
        assert done == {**rehearsed, "dry_run": False}
        assert (len(done["nodes"]), len(done["sites"]), len(done["backups"])) == (1, 2, 4)
        counted = cluster.manage("shell", "--verbosity", "0", "-c", COUNTED).stdout.strip()
        names = ("site-0.example.com", "site-1.example.com")
        assert counted == str([(name, 2, True, True) for name in names])
        assert json.loads(cluster.manage(*rebuild).stdout)["backups"] == []
