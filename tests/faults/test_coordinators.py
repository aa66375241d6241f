"""Two coordinators, one of them killed or frozen: one leads, nothing is sent twice."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import Iterator

import pytest

from tests.faults.checks import assert_nothing_left
from tests.faults.conftest import RigMaker
from tests.faults.rig import SETTINGS, Rig
from tests.faults.steps import Sampler
from tests.servers import Daemon, wait_until

pytestmark = pytest.mark.slow

LEADER_SECONDS = float(SETTINGS["HOLDFAST_LEADER_SECONDS"])
# A copy that stands by asks once a second; the rest is for a busy machine.
TAKEOVER_SECONDS = LEADER_SECONDS + 1 + 2
SITES = 8
SLOTS = 2


@pytest.fixture(scope="module")
def rig_of_two(panel_database_url: str, make_rig: RigMaker) -> Iterator[Rig]:
    """An installation with a second coordinator, and many small sites."""
    with make_rig(panel_database_url) as rig:
        start_coordinator(rig, "second")
        yield rig


def start_coordinator(rig: Rig, name: str) -> Daemon:
    ready = rig.cluster.says(name, "started")
    return rig.cluster.start(name, "manage.py", "coordinator", ready=ready)


def coordinators(rig: Rig) -> dict[str, Daemon]:
    return {name: rig.cluster.daemons[name] for name in ("coordinator", "second")}


def name_of_leader(rig: Rig) -> str:
    """The leader's name here; the holder's name holds its process id."""
    holder = (rig.console.ask("leader") or "").split(".")
    living = (name for name, one in coordinators(rig).items() if one.alive)
    return next((name for name in living if str(coordinators(rig)[name].pid) in holder), "")


@pytest.mark.parametrize("panel_database_url", ["postgres"], indirect=True)
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "frozen"])
def test_other_takes_over_when_the_leader_is_gone(rig_of_two: Rig, number: signal.Signals) -> None:
    rig = rig_of_two
    wait_until(lambda: name_of_leader(rig), TAKEOVER_SECONDS, "one leads")
    sites = rig.add_small_sites(SITES)
    with Sampler(rig.cluster, "slots_in_use") as sampler:
        jobs = [rig.start(site) for site in sites]
        wait_until(lambda: rig.events(jobs[0], "stage_done"), 30, "work is under way")
        first = name_of_leader(rig)
        os.kill(coordinators(rig)[first].pid, number)
        gone_at = time.monotonic()
        wait_until(
            lambda: name_of_leader(rig) not in ("", first), TAKEOVER_SECONDS, "the other one leads"
        )
        seconds = time.monotonic() - gone_at
        # What only a coordinator mends: a message that is lost with the worker that had it.
        rig.worker.kill_all()
        rig.end_worker(rig.worker)
        rig.start_worker(wait=True)
        if number == signal.SIGSTOP:
            os.kill(coordinators(rig)[first].pid, signal.SIGCONT)
        ends = Counter(rig.wait_for_end(job_id)["state"] for job_id in jobs)
    print(f"taken over after {seconds:.1f} s, {len(sampler.answers)} samples of the slots")
    assert ends == {"completed": SITES}
    assert max(sampler.answers) == SLOTS
    for job_id in jobs:
        assert_nothing_twice(rig, job_id)
    assert_nothing_left(rig)
    if number == signal.SIGKILL:
        coordinators(rig)[first].kill()
        start_coordinator(rig, first)


def assert_nothing_twice(rig: Rig, job_id: str) -> None:
    """Demand one sending per epoch, one claim per epoch and stage, and each stage done once."""
    events = rig.events(job_id)
    sent = Counter(event["epoch"] for event in events if event["kind"] == "dispatched")
    claims = Counter(
        (event["epoch"], event["stage"]) for event in events if event["kind"] == "claimed"
    )
    done = Counter(event["stage"] for event in events if event["kind"] == "stage_done")
    assert set(sent.values()) == set(claims.values()) == set(done.values()) == {1}, events
    assert len(done) == 5
    assert len(rig.console.ask("backups", job_id=job_id)) == 1
