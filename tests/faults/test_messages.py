"""Messages that are lost, that come twice, late, or from before a reset: the row is the queue."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.faults.checks import assert_completed_once, assert_nothing_left
from tests.faults.rig import CLAIM_SECONDS, STAGES, Rig
from tests.servers import wait_until

pytestmark = pytest.mark.slow

# The deadline of the claim, the coordinator's next look, and the message's way.
SENT_AGAIN_SECONDS = CLAIM_SECONDS + 5.0


@contextmanager
def nobody_listening(rig: Rig) -> Iterator[None]:
    """Keep messages in Redis: Celery's main process is frozen and its connections are cut."""
    master = rig.worker.master
    master.suspend()
    try:
        rig.redis.client().client_kill_filter(_type="normal")
        yield
    finally:
        master.resume()


def claims(rig: Rig, job_id: str) -> list[str]:
    """The stages that were begun, in order."""
    return [event["stage"] for event in rig.events(job_id, "claimed")]


def test_job_is_sent_again_when_redis_is_flushed_while_it_is_queued(rig: Rig) -> None:
    (site,) = rig.add_small_sites(1)
    with nobody_listening(rig):
        job_id = rig.start(site)
        wait_until(rig.queued_messages, message="the message is in Redis")
        (lost,) = rig.queued_messages()
        rig.redis.client().flushall()
    rig.wait_for_job(job_id, lambda job: job["epoch"] == 2, SENT_AGAIN_SECONDS, "sent again")
    # The lost message turns up after all: it is of an epoch that has passed.
    rig.redis.client().lpush(rig.node["queue"], lost)
    assert_completed_once(rig, job_id)
    assert claims(rig, job_id) == list(STAGES)
    wait_until(lambda: not rig.queued_messages(), message="the old message was taken and refused")


def test_finished_stages_are_not_repeated_when_redis_is_flushed_between_stages(rig: Rig) -> None:
    job_id = rig.start()
    rig.wait_until_inside(job_id, "backup_files")
    with nobody_listening(rig):
        wait_until(rig.queued_messages, message="the next stage's message is in Redis")
        between = rig.job(job_id)
        assert (between["state"], between["stages_done"]) == ("between", 2)
        rig.redis.client().flushall()
    rig.wait_for_claim(between, SENT_AGAIN_SECONDS)
    assert_completed_once(rig, job_id)
    assert claims(rig, job_id) == list(STAGES)


def test_each_stage_runs_once_when_the_same_chain_comes_three_times(rig: Rig) -> None:
    with nobody_listening(rig):
        job_id = rig.start()
        wait_until(rig.queued_messages, message="the message is in Redis")
        (first,) = rig.queued_messages()
        for _ in range(2):
            assert rig.console.ask("publish", job_id=job_id)
        assert len(rig.queued_messages()) == 3
    rig.wait_until_inside(job_id, "backup_files")
    with nobody_listening(rig):
        wait_until(rig.queued_messages, message="the next stage's message is in Redis")
        # A stage that is done comes once more, before the one whose turn it is.
        for _ in range(2):
            rig.redis.client().rpush(rig.node["queue"], first)
    assert_completed_once(rig, job_id)
    wait_until(lambda: not rig.queued_messages(), message="all of them were taken")
    assert claims(rig, job_id) == list(STAGES)
    assert {event["epoch"] for event in rig.events(job_id)} == {1}


def test_saved_message_is_refused_when_its_job_was_reset(rig: Rig) -> None:
    (site,) = rig.add_small_sites(1)
    with nobody_listening(rig):
        job_id = rig.start(site)
        wait_until(rig.queued_messages, message="the message is in Redis")
        (saved,) = rig.queued_messages()
        answer = rig.cluster.post(f"/api/v1/daemon/backup/reset/{site}")
        assert (answer.status, answer.body["status"]) == (200, "idle"), answer
        before = rig.job(job_id), rig.events(job_id)
        next_id = rig.start(site)
        for _ in range(2):
            rig.redis.client().lpush(rig.node["queue"], saved)
    assert_completed_once(rig, next_id)
    wait_until(lambda: not rig.queued_messages(), message="the old messages were taken")
    assert claims(rig, next_id) == list(STAGES)
    assert (rig.job(job_id), rig.events(job_id)) == before
    assert rig.console.ask("backups", job_id=job_id) == []


def test_job_is_sent_again_when_a_frozen_idle_worker_took_its_message_to_the_grave(
    rig: Rig,
) -> None:
    (site,) = rig.add_small_sites(1)
    frozen = rig.worker
    frozen.freeze()
    job_id = rig.start(site)
    rig.wait_for_job(job_id, lambda job: job["state"] == "dispatched", 10, "it is sent")
    # Its socket has taken the message that it will never read.
    wait_until(lambda: not rig.queued_messages(), message="the frozen worker was given the message")
    began = time.monotonic()
    rig.end_worker(frozen)
    rig.start_worker()
    assert_completed_once(rig, job_id)
    print(f"message lost with a frozen worker: completed after {time.monotonic() - began:.1f} s")
    assert claims(rig, job_id) == list(STAGES)
    assert_nothing_left(rig)
