"""The number of stages at once, changed while all of them are busy."""

from __future__ import annotations

import time
from collections.abc import Iterator

import psutil
import pytest

from tests.faults.checks import assert_nothing_left
from tests.faults.rig import Rig
from tests.faults.steps import add_sites_with_the_large_ones_database
from tests.faults.trees import WorkerTree, is_alive
from tests.servers import wait_until

pytestmark = pytest.mark.slow

# One process more than slots answers questions.
ANSWERING = 1
GROW_SECONDS = 5
SLOTS = 2


@pytest.fixture
def busy_rig(rig: Rig) -> Iterator[Rig]:
    """The shared installation, with its number of slots as it was when the test has ended."""
    yield rig
    scale(rig, SLOTS)


def scale(rig: Rig, slots: int) -> None:
    answer = rig.cluster.post(f"/api/v1/nodes/{rig.node['id']}/scale", {"concurrency": slots})
    assert answer.status == 202, answer


def pool_of(worker: WorkerTree) -> list[psutil.Process]:
    """The processes of a worker's pool."""
    return [process for process in worker.master.children() if is_alive(process)]


def running(rig: Rig, jobs: list[str]) -> list[str]:
    return [job_id for job_id in jobs if rig.job(job_id)["state"] == "running"]


def test_nothing_is_killed_when_a_busy_node_grows_and_shrinks(busy_rig: Rig) -> None:
    rig, worker = busy_rig, busy_rig.worker
    sites = add_sites_with_the_large_ones_database(rig, 6)
    with rig.held_dump():
        jobs = [rig.start(site) for site in sites]
        wait_until(lambda: len(running(rig, jobs)) == 2, 30, "two run")
        asked_at = time.monotonic()
        scale(rig, 6)
        wait_until(lambda: len(running(rig, jobs)) == 6, 30, "six run")
        seconds = time.monotonic() - asked_at
        assert seconds < GROW_SECONDS, f"the fourth to sixth began after {seconds:.1f} s"
        wait_until(lambda: len(pool_of(worker)) == 6 + ANSWERING, 10, "a process for each")
        scale(rig, 1)
        busy = {rig.job(job_id)["process_id"] for job_id in jobs}
        # One process of seven is idle, and is the only one that may go.
        wait_until(lambda: len(pool_of(worker)) == 6, 10, "the idle one has gone")
        assert busy == {process.pid for process in pool_of(worker)}
        assert len(running(rig, jobs)) == 6
    for job_id in jobs:
        assert rig.wait_for_end(job_id)["state"] == "completed"
        kinds = [event["kind"] for event in rig.events(job_id)]
        assert (kinds.count("claimed"), kinds.count("dispatched")) == (5, 1), kinds
    wait_until(lambda: len(pool_of(worker)) == 1 + ANSWERING, 20, "one slot is left")
    print(f"six ran {seconds:.1f} s after they were asked for")
    assert_nothing_left(rig)


def test_number_is_kept_when_the_worker_starts_again(busy_rig: Rig) -> None:
    rig = busy_rig
    scale(rig, 4)
    wait_until(lambda: len(pool_of(rig.worker)) == 4 + ANSWERING, 10, "grown")
    rig.end_worker(rig.worker)
    again = rig.start_worker(wait=True)
    wait_until(lambda: len(pool_of(again)) == 4 + ANSWERING, 10, "the same number")
    listed = rig.cluster.get("/api/v1/nodes/").body[0]
    assert listed["concurrency"] == 4


def test_workers_share_the_number_when_there_are_several(busy_rig: Rig) -> None:
    rig = busy_rig
    scale(rig, 5)
    first = rig.worker
    second = rig.start_worker(wait=True)
    sizes = lambda: sorted(len(pool_of(one)) - ANSWERING for one in (first, second))  # noqa: E731
    wait_until(lambda: sizes() == [2, 3], 15, "both have their share")
    rig.end_worker(second)
    wait_until(lambda: len(pool_of(first)) == 5 + ANSWERING, 15, "the one that is left has all")
