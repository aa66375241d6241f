"""A reset, whatever the job is doing: from then on the old attempt can change nothing."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from tests.faults.checks import (
    assert_completed_once,
    assert_nothing_left,
    foreign_objects,
    job_folders,
    marked_processes,
)
from tests.faults.rig import Rig
from tests.faults.steps import at_once, freeze, stored_by_way_of
from tests.faults.trees import is_alive
from tests.servers import wait_until
from tests.servers.cluster import Answer
from tests.servers.faults import FaultProxy

pytestmark = pytest.mark.slow

ROUNDS = 8
# The agent looks every half second here, and twice until nothing comes back.
CLEAN_UP_SECONDS = 8


def reset(rig: Rig, site: int) -> Answer:
    answer = rig.cluster.post(f"/api/v1/daemon/backup/reset/{site}")
    assert answer.status == 200, answer
    return answer


def assert_reset_for_good(rig: Rig, job_id: str) -> None:
    """Demand that the job is reset, once, with nothing left, and that the site may go on."""
    wait_until(lambda: not rig.job(job_id)["cleanup_pending"], CLEAN_UP_SECONDS, "cleaned up")
    ends = [event["kind"] for event in rig.events(job_id)]
    assert ends.count("reset") == 1
    assert "completed" not in ends
    assert rig.job(job_id)["state"] == "reset"
    assert rig.console.ask("backups", job_id=job_id) == []


@pytest.mark.parametrize("stage", ["backup_db", "backup_files", "create_bundle", "upload_remote"])
def test_evidence_is_given_when_a_running_job_is_reset(rig: Rig, stage: str) -> None:
    job_id = rig.start()
    rig.wait_until_inside(job_id, stage)
    before = rig.job(job_id)
    answer = reset(rig, rig.site).body
    assert (answer["success"], answer["status"]) == (True, "idle")
    unfinished = [one for one in before["stages"].values() if one["state"] != "completed"]
    assert set(answer["revoked"]) == {one["task_id"] for one in unfinished}
    evidence = answer["cleanup"]
    assert (evidence["done"], evidence["dirs_removed"]) == (True, 1), evidence
    assert evidence["space_freed_mb"] > 0 or stage == "backup_db"
    if stage == "upload_remote":
        assert evidence["uploads_aborted"] == 1, evidence
    status = rig.cluster.get(f"/api/v1/sites/{rig.site}/backup/status").body
    assert status["status"] == "idle"
    assert_reset_for_good(rig, job_id)
    assert_nothing_left(rig)
    nothing = reset(rig, rig.site).body
    assert (nothing["status"], nothing["revoked"]) == ("idle", [])


def test_one_wins_when_two_reset_at_once(rig: Rig) -> None:
    job_id = rig.start()
    rig.wait_until_inside(job_id, "backup_files")
    answers = at_once(lambda: reset(rig, rig.site).body, 2)
    assert Counter(bool(answer["revoked"]) for answer in answers) == {True: 1, False: 1}
    assert_reset_for_good(rig, job_id)
    assert_nothing_left(rig)
    assert rig.job(job_id)["epoch"] == 2


def test_one_wins_when_a_reset_meets_the_completion(rig: Rig) -> None:
    """Either the backup counts and stays, or there is none and no object of it."""
    [site] = rig.add_small_sites(1)
    chance, ends = random.Random(7), Counter()
    for _ in range(ROUNDS):
        job_id = rig.start(site)
        rig.wait_for_job(
            job_id, lambda job: job["stages_done"] >= 3 or job["finished_at"], 60, "the end is near"
        )
        time.sleep(chance.uniform(0, 0.3))  # no condition to wait for: any moment must do
        answer = reset(rig, site).body
        job = rig.wait_for_end(job_id, timeout=10)
        ends[job["state"]] += 1
        backups = [one["status"] for one in rig.console.ask("backups", job_id=job_id)]
        kinds = [event["kind"] for event in rig.events(job_id)]
        assert len({"completed", "reset"} & set(kinds)) == 1, kinds
        assert (job["state"], backups, bool(answer["revoked"])) in (
            ("completed", ["SUCCESS"], False),
            ("reset", [], True),
        )
        status = rig.cluster.get(f"/api/v1/sites/{site}/backup/status").body
        assert status["status"] == "idle"
    # On a busy host the last request of an upload may arrive after the object was looked for; the
    # node looks again soon, and two minutes later for the last time.
    assert_nothing_left(rig, seconds=150)
    print(f"{ROUNDS} resets at the end of a job: {dict(ends)}")


def test_what_is_left_goes_when_the_node_returns(
    rig: Rig, fault_proxy: Callable[..., FaultProxy]
) -> None:
    proxy = fault_proxy(rig.s3.port)
    with stored_by_way_of(rig, proxy.port):
        job_id = rig.start()
        rig.wait_until_inside(job_id, "upload_remote")
        rig.end_worker(rig.worker)
        began = time.monotonic()
        answer = reset(rig, rig.site).body
        assert time.monotonic() - began < CLEAN_UP_SECONDS
        assert not answer["cleanup"]["done"], answer
        assert job_folders(rig)
        assert rig.uploads()
        # A new one may begin at once, and waits for the node.
        again = rig.start()
        rig.start_worker(wait=True)
        assert_reset_for_good(rig, job_id)
        report = rig.job(job_id)["cleanup_report"]
        assert (report["folders_removed"], report["uploads_aborted"]) == (1, 1), report
        assert_completed_once(rig, again)


@pytest.mark.parametrize("stage", ["backup_db", "upload_remote"])
def test_new_job_completes_when_the_old_attempt_still_hangs(rig: Rig, stage: str) -> None:
    """One process of the pool stands still, and the agent has to see to it."""
    job_id = rig.start()
    held = rig.hold(job_id, stage)
    zombie = rig.worker.stage_process(held)
    reset(rig, rig.site)
    again = rig.start()
    assert_completed_once(rig, again)
    _thaw(zombie)
    assert_old_one_changes_nothing(rig, job_id, again)


def test_new_job_completes_when_a_whole_frozen_worker_holds_the_old_one(rig: Rig) -> None:
    job_id = rig.start()
    rig.hold(job_id, "upload_remote")
    frozen = rig.worker
    freeze(rig, frozen)
    second = rig.start_worker(wait=True)
    reset(rig, rig.site)
    again = rig.start()
    new = rig.wait_for_end(again)
    assert new["state"] == "completed", new["error_message"]
    assert second.agent.is_running()
    frozen.thaw()
    assert_old_one_changes_nothing(rig, job_id, again)


def _thaw(process: Any) -> None:
    if is_alive(process):
        process.resume()


def assert_old_one_changes_nothing(rig: Rig, old: str, new: str) -> None:
    """Demand that all of the new job is as it was, now that the old attempt may go on."""
    before = rig.job(new), rig.console.ask("backups"), rig.objects()
    wait_until(lambda: not marked_processes(rig), CLEAN_UP_SECONDS, "no process is left")
    assert_reset_for_good(rig, old)
    assert_completed_once(rig, new)
    assert (rig.job(new), rig.console.ask("backups"), rig.objects()) == before
    assert foreign_objects(rig) == set()
