"""`kill -9` of each part of a worker, in each of the five stages."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import psutil
import pytest

from tests.faults.checks import assert_completed_once
from tests.faults.rig import LEASE_SECONDS, STAGES, Rig
from tests.faults.trees import WorkerTree, is_alive
from tests.servers import wait_until

pytestmark = pytest.mark.slow

# From the kill, or from the start of another worker where it took the agent along. With an agent
# that lives, nothing waits for the lease.
BOUNDS = {"pool_child": LEASE_SECONDS - 1.0}
# Whatever the killed process had started is gone soon after it.
GONE_SECONDS = 5.0


def kill_pool_child(tree: WorkerTree, child: psutil.Process) -> None:
    child.kill()


def kill_master(tree: WorkerTree, child: psutil.Process) -> None:
    tree.master.kill()


def kill_agent(tree: WorkerTree, child: psutil.Process) -> None:
    tree.agent.kill()


def kill_tree(tree: WorkerTree, child: psutil.Process) -> None:
    tree.kill_all()


Kill = Callable[[WorkerTree, psutil.Process], None]
# The agent and Celery die together, whichever is first: to kill it in two stages shows as much.
KILLS: dict[str, tuple[Kill, tuple[str, ...]]] = {
    "pool_child": (kill_pool_child, STAGES),
    "master": (kill_master, STAGES),
    "tree": (kill_tree, STAGES),
    "agent": (kill_agent, ("backup_db", "upload_remote")),
}


@pytest.mark.parametrize("kind", KILLS)
def test_job_goes_on_from_each_stage_when_its_worker_is_killed_in_it(kind: str, rig: Rig) -> None:
    job_id = rig.start()
    kill, stages = KILLS[kind]
    took: dict[str, float] = {}
    for stage in stages:
        held = rig.hold(job_id, stage)
        tree, child = rig.worker, psutil.Process(held["process_id"])
        doomed = [child, *child.children()] if kind == "pool_child" else tree.everything()
        began = time.monotonic()
        kill(tree, child)
        wait_until(lambda: not any(map(is_alive, doomed)), GONE_SECONDS, f"{doomed} are gone")  # noqa: B023
        if kind != "pool_child":
            tree.wait_for_exit(GONE_SECONDS)
            rig.end_worker(tree)
            # How long a process takes to start is this machine's affair.
            rig.start_worker(wait=True)
        again = rig.wait_for_claim(held, BOUNDS.get(kind, LEASE_SECONDS))
        took[stage] = time.monotonic() - began
        assert again["epoch"] > held["epoch"]
        assert again["stages_done"] >= held["stages_done"], "a finished stage is done again"
    assert_completed_once(rig, job_id)
    seconds = ", ".join(f"{stage} {value:.1f}" for stage, value in took.items())
    median = statistics.median(took.values())
    print(f"recovery after kill -9 of {kind}: median {median:.1f} s ({seconds})")
