"""A site is backed up, damaged, and put back, by a whole cluster."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.servers import wait_until
from tests.servers.cluster import Cluster
from tests.workers.engine.bundle.trees import describe
from tests.workers.stages.pipeline import make_sqlite_site

pytestmark = pytest.mark.slow


@dataclass
class Restorable:
    """A site that has been backed up once."""

    cluster: Cluster
    id: int
    path: Path
    backup_id: int

    @property
    def content(self) -> Path:
        return self.path / "wp-content"

    @property
    def database(self) -> Path:
        return self.content / "database" / ".ht.sqlite"

    def options(self, database: Path | None = None) -> dict[str, str]:
        with closing(sqlite3.connect(database or self.database)) as connection:
            return dict(connection.execute("SELECT option_name, option_value FROM wp_options"))

    def deface(self) -> None:
        """Lose a file, get one that does not belong there, and change the database."""
        (self.content / "index.php").write_text("<?php evil();")
        (self.content / "shell.php").write_text("<?php more_evil();")
        shutil.rmtree(self.content / "uploads")
        with closing(sqlite3.connect(self.database)) as connection, connection:
            connection.execute("UPDATE wp_options SET option_value = 'hacked'")
            connection.execute("CREATE TABLE wp_intruder (id INTEGER)")

    def tables(self) -> set[str]:
        with closing(sqlite3.connect(self.database)) as connection:
            rows = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            return {name for (name,) in rows}

    def files(self) -> dict[bytes, tuple[object, ...]]:
        """What is compared byte for byte: all but the database, and the site's own folder."""
        return {
            path: value
            for path, value in describe(self.path).items()
            if b".ht.sqlite" not in path and path not in (b".", b"wp-content/database")
        }

    def restore(self, **body: Any) -> dict[str, Any]:
        body = {"backup_id": self.backup_id, **body}
        answer = self.cluster.post(f"/api/v1/sites/{self.id}/restore", body)
        assert answer.status == 202, answer
        return self.ended(answer.body["job_id"])

    def ended(self, job_id: str) -> dict[str, Any]:
        def job() -> dict[str, Any]:
            found: dict[str, Any] = self.cluster.get(f"/api/v1/jobs/{job_id}").body
            return found

        wait_until(lambda: job()["status"] != "running", 60, f"job {job_id} ends")
        return job()


@pytest.fixture
def site(sqlite_cluster: Cluster, tmp_path: Path) -> Restorable:
    """A site with a backup, to restore."""
    return backed_up(sqlite_cluster, tmp_path)


@pytest.fixture(scope="module")
def untouched(sqlite_cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Restorable:
    """One that only refuses what it is asked."""
    return backed_up(sqlite_cluster, tmp_path_factory.mktemp("untouched"))


def backed_up(cluster: Cluster, folder: Path) -> Restorable:
    path = make_sqlite_site(cluster.directory / folder.name / "shop.example.com")
    store = {"type": "local", "config": {"path": str(folder)}, "name": folder.name}
    answer = cluster.post("/api/v1/storage/providers", {**store, "is_default": True})
    assert answer.status == 201, answer
    answer = cluster.post("/api/v1/sites/manual", {"path": str(path), "name": folder.name})
    assert answer.status in (200, 201), answer
    site = int(answer.body["id"])
    assert cluster.post(f"/api/v1/sites/{site}/backup/start").status == 202
    assert cluster.wait_for_end(site)["status"] == "completed"
    [backup] = cluster.get(f"/api/v1/sites/{site}/backups").body["backups"]
    return Restorable(cluster, site, path, backup["id"])


def newest_backup(site: Restorable) -> dict[str, Any]:
    backup: dict[str, Any] = site.cluster.get(f"/api/v1/sites/{site.id}/backups").body["backups"][0]
    return backup


def assert_done(job: dict[str, Any]) -> None:
    assert job["status"] == "completed", (job["error"], job["stages"])


def test_site_is_as_backed_up_after_a_restore_and_as_defaced_after_the_undo(
    site: Restorable,
) -> None:
    files, options = site.files(), site.options()
    site.deface()
    defaced, hacked = site.files(), site.options()
    job = site.restore()
    assert_done(job)
    assert site.files() == files
    assert site.options() == options
    assert "wp_intruder" not in site.tables()
    assert (site.content / "cache" / "page.html").read_text() == "cached"
    assert job["checkpoint_job_id"]
    checkpoint = newest_backup(site)
    assert checkpoint["pinned_at"]
    confirmed = site.cluster.post(f"/api/v1/jobs/{job['id']}/confirm")
    assert confirmed.body["backup_id"] == checkpoint["id"], confirmed
    assert newest_backup(site)["pinned_at"] is None
    undo = site.cluster.post(f"/api/v1/jobs/{job['id']}/undo")
    assert undo.status == 202, undo
    assert_done(site.ended(undo.body["job_id"]))
    assert site.files() == defaced
    assert site.options() == hacked
    assert "wp_intruder" in site.tables()
    assert list(site.path.parent.rglob(".holdfast-*")) == []


def test_only_files_are_restored_when_only_they_are_asked_for(site: Restorable) -> None:
    files = site.files()
    site.deface()
    hacked = site.options()
    assert_done(site.restore(what="files", checkpoint=False))
    assert site.files() == files
    assert site.options() == hacked


def test_only_the_database_is_restored_when_only_it_is_asked_for(site: Restorable) -> None:
    options = site.options()
    site.deface()
    defaced = site.files()
    assert_done(site.restore(what="database", checkpoint=False))
    assert site.options() == options
    assert site.files() == defaced


def test_one_file_is_restored_by_its_path(site: Restorable) -> None:
    site.deface()
    hacked = site.options()
    job = site.restore(paths=["wp-content/index.php"], checkpoint=False)
    assert_done(job)
    assert site.options() == hacked, "nobody asked for the database"
    assert "Silence" in (site.content / "index.php").read_text()
    assert (site.content / "shell.php").exists()
    assert not (site.content / "uploads").exists()


def test_an_undo_takes_away_the_path_that_was_not_there(site: Restorable) -> None:
    site.deface()
    defaced = site.files()
    job = site.restore(what="files", paths=["wp-content/uploads", "wp-content/index.php"])
    assert_done(job)
    assert (site.content / "uploads" / "photo.jpg").exists()
    undo = site.cluster.post(f"/api/v1/jobs/{job['id']}/undo")
    assert_done(site.ended(undo.body["job_id"]))
    assert site.files() == defaced
    redo = site.cluster.post(f"/api/v1/jobs/{undo.body['job_id']}/undo")
    assert_done(site.ended(redo.body["job_id"]))
    assert (site.content / "uploads" / "photo.jpg").exists()


def test_a_dry_run_says_what_would_change_and_changes_nothing(site: Restorable) -> None:
    site.deface()
    defaced, hacked = site.files(), site.options()
    job = site.restore(dry_run=True)
    assert_done(job)
    assert job["message"] == "Dry run completed"
    assert job["checkpoint_job_id"] is None
    files, database = job["plan"]["files"], job["plan"]["database"]
    assert files["created"]["names"] == ["wp-content/uploads/photo.jpg"]
    assert files["overwritten"]["names"] == ["wp-content/index.php"]
    assert files["deleted"]["names"] == ["wp-content/shell.php"]
    assert database["tables"] == [{"name": "wp_options", "rows": 3, "exists": True}]
    assert database["dropped"] == ["wp_intruder"]
    assert site.files() == defaced
    assert site.options() == hacked


def test_a_copy_is_put_beside_the_site_which_is_left_alone(site: Restorable) -> None:
    files, options = site.files(), site.options()
    site.deface()
    defaced = site.files()
    job = site.restore(target="copy")
    assert_done(job)
    copy = Path(job["parameters"]["target_path"])
    assert (copy / "wp-content/uploads/photo.jpg").exists()
    assert not (copy / "wp-content/shell.php").exists()
    assert site.options(copy / "wp-content/database/.ht.sqlite") == options
    assert site.files() == defaced
    assert files != defaced


def test_everything_comes_back_when_the_whole_site_is_gone(site: Restorable) -> None:
    files, options = site.files(), site.options()
    shutil.rmtree(site.content)
    (site.path / "wp-config.php").unlink()
    assert_done(site.restore(checkpoint=False))
    restored = site.files()
    assert site.options() == options
    gone = {path for path in files if path.startswith(b"wp-content/cache")}
    assert restored == {path: value for path, value in files.items() if path not in gone}


def test_nothing_is_restored_when_the_checkpoint_fails(site: Restorable) -> None:
    site.deface()
    (site.path / "wp-config.php").unlink()
    defaced = site.files()
    job = site.restore()
    assert (job["status"], job["error_code"]) == ("failed", "checkpoint_failed")
    assert "nothing was restored: " in job["error"], job
    assert "wp-config.php" in job["error"], job
    assert site.files() == defaced


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({"what": "some"}, 400, "valid choice"),
        ({"paths": []}, 400, "leave it out"),
        ({"tables": []}, 400, "leave it out"),
        ({"paths": ["../etc/passwd"]}, 400, "no path in a bundle"),
        ({"paths": ["/etc/passwd"]}, 400, "no path in a bundle"),
        ({"target_path": "/tmp/x"}, 400, "Only a copy"),
        ({"target": "copy", "target_path": "x"}, 400, "absolute path"),
        ({"what": "files", "tables": ["wp_options"]}, 400, "Only a database has tables"),
        ({"target": "copy", "target_path": "/etc/x"}, 400, "outside the folders"),
        ({"backup_id": 10**9}, 404, ""),
        ({"backup": 1}, 400, "Did you mean backup_id?"),
    ],
)
def test_what_cannot_be_is_refused_with_a_sentence(
    untouched: Restorable, body: dict[str, Any], status: int, words: str
) -> None:
    asked = {"backup_id": untouched.backup_id, **body}
    answer = untouched.cluster.post(f"/api/v1/sites/{untouched.id}/restore", asked)
    assert answer.status == status
    assert words in str(answer.body)


def test_a_backup_is_refused_while_a_restore_runs(site: Restorable) -> None:
    answer = site.cluster.post(f"/api/v1/sites/{site.id}/restore", {"backup_id": site.backup_id})
    refused = site.cluster.post(f"/api/v1/sites/{site.id}/backup/start")
    assert refused.status == 409
    assert "A restore of" in refused.body["detail"]
    assert_done(site.ended(answer.body["job_id"]))


def wait_for(job: Callable[[], dict[str, Any]], stage: str) -> None:
    wait_until(lambda: job()["stage"] == stage, 60, f"{stage} begins")


def prove(site: Restorable) -> dict[str, Any]:
    answer = site.cluster.post(f"/api/v1/backups/{site.backup_id}/verify")
    assert answer.status == 202, answer
    return site.ended(answer.body["job_id"])


def test_a_proof_restores_everything_elsewhere_and_leaves_a_receipt(site: Restorable) -> None:
    before = site.files(), site.options()
    job = prove(site)
    assert_done(job)
    [receipt] = site.cluster.get(f"/api/v1/backups/{site.backup_id}/proofs").body
    assert (receipt["outcome"], receipt["differences"]) == ("passed", [])
    assert receipt["seconds"] > 0
    facts = {name: receipt["facts"][name] for name in ("files", "folders", "tables", "rows")}
    assert facts == {"files": 3, "folders": 3, "tables": 1, "rows": 3}
    backup = site.cluster.get(f"/api/v1/backups/{site.backup_id}").body
    assert backup["verified_by"] == "restore"
    assert backup["verified_at"]
    assert (site.files(), site.options()) == before


def test_a_bundle_that_changed_in_the_storage_is_disproved_and_counts_no_more(
    site: Restorable, tmp_path: Path
) -> None:
    [bundle] = tmp_path.rglob("*.tar.zst")
    content = bytearray(bundle.read_bytes())
    content[len(content) // 2] ^= 1
    bundle.chmod(0o600)
    bundle.write_bytes(content)
    job = prove(site)
    assert (job["status"], job["error_code"]) == ("failed", "bundle_damaged")
    backup = site.cluster.get(f"/api/v1/backups/{site.backup_id}").body
    assert (backup["is_suspect"], backup["verified_at"]) == (True, None)
    [receipt] = site.cluster.get(f"/api/v1/backups/{site.backup_id}/proofs").body
    assert receipt["outcome"] == "failed"
    assert "sha256" in receipt["differences"][0]


def test_the_command_restores_and_says_how_to_take_it_back(site: Restorable) -> None:
    files = site.files()
    site.deface()
    plan = site.cluster.manage("restore", str(site.id), "--dry-run").stdout
    assert "1 file deleted" in plan
    assert "wp-content/shell.php" in plan
    assert "1 table dropped: wp_intruder" in plan
    assert "1 table replaced (3 rows, " in plan
    assert "MB needed beside what is there" in plan
    done = site.cluster.manage("restore", str(site.id)).stdout
    assert "/undo" in done
    assert site.files() == files
    refused = site.cluster.manage("restore", str(site.id), "--backup", "999999", check=False)
    assert refused.returncode == 1
    assert "There is no good backup 999999" in refused.stderr


def test_the_command_proves_and_says_how_long_a_restore_takes(site: Restorable) -> None:
    assert "It restores in" in site.cluster.manage("verify", str(site.id)).stdout


def test_a_bundle_is_looked_through_folder_by_folder(site: Restorable) -> None:
    address = f"/api/v1/backups/{site.backup_id}"
    top = site.cluster.get(f"{address}/contents").body
    assert [entry["name"] for entry in top["entries"]] == [
        "wp-content",
        "database.sql",
        "manifest.json",
        "wp-config.php",
    ]
    inside = site.cluster.get(f"{address}/contents?path=wp-content/uploads").body
    [photo] = inside["entries"]
    assert (photo["path"], photo["size"]) == ("wp-content/uploads/photo.jpg", 102_400)
    assert inside["total"] == 1
    found = site.cluster.get(f"{address}/file?path=wp-content/uploads/photo.jpg")
    assert found.body == bytes(range(256)) * 400
    assert found.headers["Content-Disposition"] == 'attachment; filename="photo.jpg"'
    missing = site.cluster.get(f"{address}/file?path=wp-content/none")
    assert (missing.status, missing.body["code"]) == (409, "download_unavailable")
    nowhere = site.cluster.get(f"{address}/contents?path=wp-content/none")
    assert nowhere.status == 422
    dump = site.cluster.get(f"{address}/tables").body
    [options] = dump["tables"]
    assert (options["name"], options["rows"], dump["total"]) == ("wp_options", 3, 1)
    [sql] = [entry["size"] for entry in top["entries"] if entry["name"] == "database.sql"]
    assert 0 < options["size"] < sql
