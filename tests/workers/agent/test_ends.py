"""Ways that a worker ends: by signals, by orders, by the death of its processes."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable

import psutil
import pytest

from backups.models import Job, Node
from tests.servers import wait_until
from tests.workers.agent.conftest import (
    Workplace,
    celery_of,
    children_of,
    ended,
    fresh,
    kill_tree,
    pool_of,
    workers,
)

pytestmark = pytest.mark.slow

# Far below the lease of these tests.
AT_ONCE_SECONDS = 8


def kinds(job: Job) -> list[str]:
    return list(job.events.order_by("id").values_list("kind", flat=True))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP])
def test_idle_worker_ends_well_and_signs_off_when_it_gets_a_signal(
    workplace: Workplace, number: signal.Signals
) -> None:
    worker = workplace.start_worker()
    assert len(workers()) == 1
    # As a terminal sends it: to every process of the group.
    os.killpg(worker.pid, number)
    assert ended(worker) == 0, worker.log_tail()
    assert workers() == []
    assert list((workplace.spool / ".workers").glob("web*")) == []


def test_running_stage_is_handed_over_when_the_grace_period_is_over(
    workplace: Workplace, hanging_job: Callable[[], Job]
) -> None:
    workplace.start_coordinator()
    first = workplace.start_worker()
    job = hanging_job()
    os.kill(first.pid, signal.SIGTERM)
    time.sleep(1)  # within the grace period of 2 s nothing may change
    assert (fresh(job).state, fresh(job).token) == ("running", job.token)
    assert ended(first) == 0, first.log_tail()
    assert "handed_over" in kinds(job)
    after = fresh(job)
    assert (after.attempts, after.epoch) == (0, job.epoch + 1)
    assert children_of(job) == []

    workplace.start_worker()
    wait_until(lambda: fresh(job).state == "running", message="another worker goes on")


@pytest.mark.parametrize("numbers", [[signal.SIGQUIT], [signal.SIGTERM, signal.SIGINT]])
def test_running_stage_is_handed_over_at_once_when_asked_urgently(
    workplace: Workplace, hanging_job: Callable[[], Job], numbers: list[signal.Signals]
) -> None:
    workplace.start_coordinator()
    worker = workplace.start_worker(HOLDFAST_GRACE_SECONDS="600")
    job = hanging_job()
    for number in numbers:
        os.kill(worker.pid, number)
        time.sleep(0.5)  # signals of a person come one after the other
    assert ended(worker, AT_ONCE_SECONDS) == 0, worker.log_tail()
    assert "handed_over" in kinds(job)
    assert children_of(job) == []
    assert workers() == []


def test_job_is_taken_back_at_once_when_its_pool_process_is_killed(
    workplace: Workplace, hanging_job: Callable[[], Job]
) -> None:
    workplace.start_coordinator()
    worker = workplace.start_worker()
    job = hanging_job()
    assert job.process_id in pool_of(worker)
    os.kill(job.process_id, signal.SIGKILL)
    wait_until(lambda: fresh(job).epoch > job.epoch, AT_ONCE_SECONDS, "the job is taken back")
    wait_until(lambda: fresh(job).state == "running", message="it runs again, in the same worker")
    assert fresh(job).attempts == 1
    assert worker.alive


def test_worker_ends_to_be_started_again_when_its_celery_is_killed(
    workplace: Workplace, hanging_job: Callable[[], Job]
) -> None:
    workplace.start_coordinator()
    worker = workplace.start_worker()
    job = hanging_job()
    celery_of(worker).kill()
    assert ended(worker, AT_ONCE_SECONDS) == 1, worker.log_tail()
    assert fresh(job).epoch == job.epoch + 1
    assert children_of(job) == []
    assert workers() == []


def test_next_worker_takes_back_at_once_what_a_killed_one_ran(
    workplace: Workplace, hanging_job: Callable[[], Job]
) -> None:
    workplace.start_coordinator()
    first = workplace.start_worker()
    job = hanging_job()
    kill_tree(first)
    assert fresh(job).token == job.token
    workplace.start_worker()
    assert fresh(job).epoch == job.epoch + 1, "before Celery was ready"
    wait_until(lambda: fresh(job).state == "running", message="the new one goes on")
    assert len(workers()) == 1


def test_sibling_takes_back_what_a_killed_worker_of_the_same_host_ran(
    workplace: Workplace, hanging_job: Callable[[], Job]
) -> None:
    workplace.start_coordinator()
    first = workplace.start_worker()
    job = hanging_job()
    sibling = workplace.start_worker()
    assert len(workers()) == 2
    kill_tree(first)
    wait_until(lambda: fresh(job).epoch > job.epoch, AT_ONCE_SECONDS, "the sibling takes it back")
    wait_until(lambda: len(workers()) == 1, message="the dead one is forgotten")
    assert sibling.alive


def test_nothing_outlives_the_agent_when_it_alone_is_killed(workplace: Workplace) -> None:
    worker = workplace.start_worker()
    below = psutil.Process(worker.pid).children(recursive=True)
    assert len(below) == 3
    os.kill(worker.pid, signal.SIGKILL)
    wait_until(
        lambda: not any(process.is_running() and process.status() != "zombie" for process in below),
        message="Celery and its pool end with the agent",
    )


def test_worker_ends_and_says_why_when_another_host_took_the_node_over(
    workplace: Workplace,
) -> None:
    worker = workplace.start_worker()
    Node.objects.update(held_by="another/host")
    assert ended(worker) == 78, worker.log_tail()
    assert "another host works as this node now" in worker.log_tail()
    assert workers() == []


def test_worker_stays_when_its_node_is_disabled(workplace: Workplace) -> None:
    Node.objects.update(is_enabled=False)
    worker = workplace.start_worker()
    assert "this node is disabled" in worker.log_tail()
    assert worker.alive
