"""Attempts that were given up and wake up again: they can change nothing any more."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from typing import Any

import psutil
import pytest

from tests.faults.checks import assert_completed_once, assert_done_once
from tests.faults.rig import CHILDREN, LEASE_SECONDS, Rig
from tests.faults.trees import WorkerTree, is_alive
from tests.servers import wait_until

pytestmark = pytest.mark.slow

# Until the coordinator sees the lost lease and sends the job again, to a worker that may be frozen
# and is not: then once more.
TAKEOVER_SECONDS = 3 * LEASE_SECONDS
NOTICED_SECONDS = 15
REFUSALS = ("is fenced", "is not due, refused")


def everything_that_counts(rig: Rig, job_id: str) -> dict[str, Any]:
    """The job's rows, the stored objects, and the folders in the spool."""
    return {
        "job": rig.job(job_id),
        "events": rig.events(job_id),
        "backups": rig.console.ask("backups"),
        "objects": rig.objects(),
        "uploads": rig.uploads(),
        "folders": sorted(path.name for path in rig.cluster.spool.iterdir()),
    }


@contextmanager
def frozen_in(rig: Rig, job_id: str, stage: str, *, whole_tree: bool) -> Iterator[WorkerTree]:
    """Freeze the attempt in a stage; it is thawed at the end, if the test has not done so."""
    tree = rig.worker
    try:
        # The dump is held until its reader is frozen; then it runs on.
        with rig.held_dump() if stage == "backup_db" else nullcontext():
            held = rig.hold(job_id, stage)
            if whole_tree:
                tree.freeze()
                while not rig.console.ask("writable"):
                    tree.thaw()
                    tree.freeze()
        if not whole_tree and stage == "backup_db":
            assert tree.children_of(held, CHILDREN[stage])
        yield tree
    finally:
        tree.thaw()


def wait_until_noticed(rig: Rig, tree: WorkerTree, zombie: psutil.Process) -> None:
    """Wait until the thawed attempt has given itself up, or has been ended."""
    begin = rig.cluster.log_of(tree.name).stat().st_size
    tree.thaw()
    refusals = [rig.cluster.says(tree.name, words, begin) for words in REFUSALS]
    wait_until(
        lambda: not is_alive(zombie) or any(says() for says in refusals),
        NOTICED_SECONDS,
        "the zombie has noticed",
    )
    with suppress(psutil.Error):
        wait_until(lambda: not zombie.children(), NOTICED_SECONDS, "its children are gone")
    assert not rig.cluster.says(tree.name, "internal error", begin)()


def test_zombie_changes_nothing_when_it_wakes_after_another_attempt_has_finished(rig: Rig) -> None:
    job_id = rig.start()
    with frozen_in(rig, job_id, "upload_remote", whole_tree=True) as tree:
        held = rig.job(job_id)
        zombie = psutil.Process(held["process_id"])
        rig.start_worker()
        rig.wait_for_claim(held, TAKEOVER_SECONDS)
        assert_done_once(rig, job_id)
        before = everything_that_counts(rig, job_id)
        wait_until_noticed(rig, tree, zombie)
        assert everything_that_counts(rig, job_id) == before
    assert_completed_once(rig, job_id)


def test_zombie_changes_nothing_when_it_wakes_while_its_subprocess_ran_on_and_the_job_went_on(
    rig: Rig,
) -> None:
    job_id = rig.start()
    with frozen_in(rig, job_id, "backup_db", whole_tree=False) as tree:
        held = rig.job(job_id)
        zombie = psutil.Process(held["process_id"])
        # The same worker takes the job again: it has another process free.
        done = rig.wait_for_job(
            job_id,
            lambda job: job["stages_done"] > 0 and job["token"],
            TAKEOVER_SECONDS,
            "another attempt is done, and one at the next stage runs",
        )
        wait_until_noticed(rig, tree, zombie)
    job = rig.wait_for_end(job_id)
    kept = done["stages"]["backup_db"]
    assert job["stages"]["backup_db"] == kept
    assert kept["outputs"]["directory"].split("-")[1] == str(held["epoch"] + 1)
    late = [event for event in rig.events(job_id) if event["epoch"] == held["epoch"]]
    assert [event["kind"] for event in late] == ["queued", "dispatched", "claimed"]
    assert_completed_once(rig, job_id)
