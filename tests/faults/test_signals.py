"""A worker that is asked to end in mid-stage: the job goes on elsewhere, at once."""

from __future__ import annotations

import signal
import time

import pytest

from tests.faults.checks import assert_completed_once
from tests.faults.rig import GRACE_SECONDS, LEASE_SECONDS, Rig
from tests.faults.trees import is_alive

pytestmark = pytest.mark.slow

# From the signal to the end of the process, beside the time it gives its stages.
EXIT_SECONDS = 4.0
# The next attempt begins long before the lease of the old one would have run out.
HANDED_OVER_SECONDS = LEASE_SECONDS / 2
SIGNALS = {"SIGTERM": float(GRACE_SECONDS), "SIGQUIT": 0.0}


@pytest.mark.parametrize("name", SIGNALS)
def test_job_goes_on_elsewhere_at_once_when_its_worker_is_asked_to_end(name: str, rig: Rig) -> None:
    leaving = rig.worker
    with rig.held_dump():
        job_id = rig.start()
        inside = rig.wait_until_inside(job_id, "backup_db")
        processes = leaving.everything()
        rig.start_worker(wait=True)
        began = time.monotonic()
        leaving.signal(signal.Signals[name])
        leaving.wait_for_exit(SIGNALS[name] + EXIT_SECONDS)
        took = time.monotonic() - began
        assert leaving.daemon.exit_status == 0
        assert not any(map(is_alive, processes)), "something of the worker is left"
        again = rig.wait_for_claim(inside, HANDED_OVER_SECONDS)
        handed_over = time.monotonic() - began - took
    rig.end_worker(leaving)
    assert again["attempts"] == 0, "to be handed over is not to fail"
    assert again["process_id"] not in {process.pid for process in processes}
    assert_completed_once(rig, job_id)
    print(f"{name}: ended after {took:.1f} s, next attempt {handed_over:.1f} s later")


def test_job_goes_on_after_the_restart_when_its_only_worker_is_asked_to_end(rig: Rig) -> None:
    leaving = rig.worker
    job_id = rig.start()
    inside = rig.wait_until_inside(job_id, "backup_files")
    leaving.signal(signal.SIGTERM)
    leaving.wait_for_exit(GRACE_SECONDS + EXIT_SECONDS)
    rig.end_worker(leaving)
    rig.start_worker(wait=True)
    rig.wait_for_claim(inside, HANDED_OVER_SECONDS)
    assert_completed_once(rig, job_id)
