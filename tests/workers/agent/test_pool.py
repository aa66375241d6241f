"""The pool follows `Node.slots`, and no process that works is ever ended for it."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable

import pytest

from backups.models import Job, Node, Worker
from tests.servers import Daemon, wait_until
from tests.workers.agent.conftest import Workplace, ended, fresh, pool_of

pytestmark = pytest.mark.slow


def scale(slots: int) -> None:
    Node.objects.update(slots=slots)


def has(worker: Daemon, processes: int) -> Callable[[], bool]:
    return lambda: len(pool_of(worker)) == processes


def test_pool_grows_soon_and_shrinks_without_ending_what_runs(
    workplace: Workplace, hanging_job: Callable[[], Job]
) -> None:
    workplace.start_coordinator()
    worker = workplace.start_worker()
    assert len(pool_of(worker)) == 2
    job = hanging_job()
    began = time.monotonic()
    scale(4)
    wait_until(has(worker, 5), 20, "the pool grows")
    print(f"grown from 2 to 5 processes after {time.monotonic() - began:.1f} s")
    second = hanging_job()

    scale(1)
    wait_until(has(worker, 2), 20, "the pool shrinks")
    assert {job.process_id, second.process_id} == set(pool_of(worker))
    for running in (job, second):
        assert (fresh(running).state, fresh(running).token) == ("running", running.token)
    wait_until(
        lambda: Worker.objects.get().concurrency == 2, message="the panel is told of the new size"
    )


def test_busy_pool_shrinks_when_its_stages_have_ended(
    workplace: Workplace, hanging_job: Callable[[], Job]
) -> None:
    scale(2)
    workplace.start_coordinator()
    worker = workplace.start_worker()
    busy = [hanging_job(), hanging_job()]
    workplace.start_worker()  # takes one of the two slots, and so a process from the first
    wait_until(has(worker, 2), 20, "the idle process ends")
    assert {job.process_id for job in busy} == set(pool_of(worker))
    scale(1)
    time.sleep(3)  # some rounds of the pool keeper, none of which may end a busy process
    assert {job.process_id for job in busy} == set(pool_of(worker))
    assert [fresh(job).token for job in busy] == [job.token for job in busy]


def test_number_is_kept_when_the_worker_is_started_again(workplace: Workplace) -> None:
    first = workplace.start_worker()
    scale(3)
    wait_until(has(first, 4), 20, "the pool grows")
    os.kill(first.pid, signal.SIGTERM)
    assert ended(first) == 0
    assert len(pool_of(workplace.start_worker())) == 4


def test_two_workers_share_the_slots_of_their_host(workplace: Workplace) -> None:
    scale(4)
    first = workplace.start_worker()
    assert len(pool_of(first)) == 5
    second = workplace.start_worker()
    wait_until(has(first, 3), 20, "the first one gives up its part")
    wait_until(has(second, 3), 20, "the second one has the rest")
    os.kill(second.pid, signal.SIGTERM)
    assert ended(second) == 0
    wait_until(has(first, 5), 20, "the first one has all of them again")
