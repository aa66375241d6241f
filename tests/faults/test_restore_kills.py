"""Restores that are killed, reset and stopped in each stage: the site is as before or as asked."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.faults.rig import Rig
from tests.faults.sites import SiteDatabase
from tests.servers import wait_until
from tests.workers.engine.bundle.trees import describe
from workers.engine.bundle.container import FRAME_BYTES
from workers.engine.bundle.index import TAIL_BYTES

pytestmark = pytest.mark.slow

STAGES = ("fetch_bundle", "verify_bundle", "restore_files", "restore_db", "cleanup")
CHECKSUMS = "CHECKSUM TABLE wp_options, wp_posts"


@dataclass
class State:
    """What a site is, byte by byte and row by row."""

    files: dict[bytes, tuple[object, ...]]
    rows: str


@dataclass
class Restorable:
    """The large site, its backup, and what it was then and after it was damaged."""

    rig: Rig
    path: Path
    backup_id: int
    asked: State
    before: State = field(init=False)

    @property
    def database(self) -> SiteDatabase:
        return self.rig.database

    def now(self) -> State:
        found = {
            path: value
            for path, value in describe(self.path).items()
            # Its own folder's time changes with what is prepared in it.
            if path != b"."
        }
        tables = self.database.server.execute("SHOW TABLES", self.database.name)
        if "wp_posts" not in tables:
            return State(found, tables)
        checksums = self.database.server.execute(CHECKSUMS, self.database.name)
        return State(found, tables + checksums)

    def damage(self) -> None:
        uploads = self.path / "wp-content" / "uploads"
        (uploads / "0.mp4").write_bytes(os.urandom(1000))
        (uploads / "shell.php").write_text("<?php evil();")
        shutil.rmtree(self.path / "wp-content" / "languages", ignore_errors=True)
        statements = (
            "UPDATE wp_options SET option_value = 'hacked';"
            "DELETE FROM wp_posts LIMIT 5;"
            "CREATE TABLE IF NOT EXISTS wp_intruder (id INT)"
        )
        self.database.server.execute(statements, self.database.name)
        self.before = self.now()

    def start(self, **chosen: object) -> str:
        body = {"backup_id": self.backup_id, "checkpoint": False, **chosen}
        answer = self.rig.cluster.post(f"/api/v1/sites/{self.rig.site}/restore", body)
        assert answer.status == 202, answer
        return str(answer.body["job_id"])

    def leftovers(self) -> list[str]:
        databases = self.database.server.execute("SHOW DATABASES").split()
        scratch = [name for name in databases if name.startswith(f"{self.database.name}_hf_")]
        return [*map(str, self.path.rglob(".holdfast-*")), *scratch]

    def settled(self) -> State:
        """Wait until nothing of the restore is left beside the site, and return what it is then."""
        wait_until(lambda: self.leftovers() == [], 60, "nothing is left beside the site")
        return self.now()


@pytest.fixture(scope="module")
def backed_up(shared_rig: Rig) -> Restorable:
    rig = shared_rig
    rig.make_ready()
    job = rig.wait_for_end(rig.start())
    assert job["state"] == "completed", job
    [newest, *_] = rig.cluster.get(f"/api/v1/sites/{rig.site}/backups").body["backups"]
    site = Restorable(rig, rig.cluster.directory / "large.example.com", newest["id"], None)  # type: ignore[arg-type]
    site.asked = site.now()
    return site


@pytest.fixture
def site(rig: Rig, backed_up: Restorable) -> Iterator[Restorable]:
    backed_up.damage()
    yield backed_up


def met(site: Restorable, job_id: str, stage: str) -> dict[str, Any] | None:
    """Return the job once an attempt is in the stage; None if it was over before it was seen."""
    position = STAGES.index(stage)
    job = site.rig.wait_for_job(
        job_id,
        lambda job: (
            job["stages_done"] > position
            or (job["state"] == "running" and job["stages_done"] == position and job["token"])
        ),
        60,
        f"in {stage}",
    )
    return job if job["stages_done"] == position and job["state"] == "running" else None


def test_only_what_is_wanted_is_fetched_and_told_when_one_file_is_restored(
    site: Restorable,
) -> None:
    cluster = site.rig.cluster
    job_id = site.start(what="files", paths=["wp-content/uploads/0.mp4"])
    ended = site.rig.wait_for_end(job_id)
    assert ended["state"] == "completed", ended["error_message"]
    [backup] = (
        one
        for one in cluster.get(f"/api/v1/sites/{site.rig.site}/backups").body["backups"]
        if one["id"] == site.backup_id
    )
    fetched = cluster.get(f"/api/v1/jobs/{job_id}").body["bytes_fetched"]
    file_bytes = (site.path / "wp-content/uploads/0.mp4").stat().st_size
    # The frames that it is in, at most two, and the bundle's end once, whichever stage read it.
    assert file_bytes == FRAME_BYTES
    assert file_bytes < fetched < 2 * FRAME_BYTES + 1.5 * TAIL_BYTES
    assert fetched < backup["size_bytes"] / 2


def test_site_is_as_asked_after_the_worker_was_killed_in_each_stage(site: Restorable) -> None:
    job_id = site.start()
    killed = []
    for stage in STAGES:
        job = met(site, job_id, stage)
        if job is None:
            continue
        psutil.Process(job["process_id"]).kill()
        killed.append(stage)
        site.rig.wait_for_claim(job, 60)
    assert {"fetch_bundle", "restore_files", "restore_db"} <= set(killed)
    ended = site.rig.wait_for_end(job_id)
    assert ended["state"] == "completed", ended["error_message"]
    assert site.settled() == site.asked


def reset(site: Restorable, job_id: str) -> None:
    answer = site.rig.cluster.post(f"/api/v1/daemon/backup/reset/{site.rig.site}")
    assert answer.status == 200, answer


def stop(site: Restorable, job_id: str) -> None:
    answer = site.rig.cluster.post(f"/api/v1/sites/{site.rig.site}/backup/stop")
    assert answer.status == 202, answer


@pytest.mark.parametrize("ending", [reset, stop])
@pytest.mark.parametrize("stage", ["fetch_bundle", "restore_files", "restore_db"])
def test_site_is_as_before_or_as_asked_when_the_restore_is_ended(
    site: Restorable, stage: str, ending: Callable[[Restorable, str], None]
) -> None:
    job_id = site.start()
    assert met(site, job_id, stage) is not None
    ending(site, job_id)
    site.rig.wait_for_end(job_id)
    state = site.settled()
    assert state in (site.before, site.asked)
    if stage == "fetch_bundle":
        assert state == site.before


def test_site_is_as_before_or_as_asked_when_the_database_server_is_killed(
    site: Restorable,
) -> None:
    job_id = site.start()
    assert met(site, job_id, "restore_db") is not None
    server = site.database.server
    server.kill()
    server.restart()
    ended = site.rig.wait_for_end(job_id, timeout=120)
    state = site.settled()
    assert state == (site.asked if ended["state"] == "completed" else site.before)


def test_site_can_be_restored_again_after_all_of_that(site: Restorable) -> None:
    job = site.rig.wait_for_end(site.start())
    assert job["state"] == "completed", job["error_message"]
    assert site.settled() == site.asked
