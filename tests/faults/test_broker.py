"""Redis that is down, killed or hangs: `start` answers at once, and workers recover alone."""

from __future__ import annotations

import time

import pytest

from tests.faults.checks import assert_completed_once
from tests.faults.rig import CLAIM_SECONDS, STAGES, Rig
from tests.servers.cluster import Answer

pytestmark = pytest.mark.slow

ANSWER_SECONDS = 1.0
OUTAGE_SECONDS = 8.0
# A message is given up after three tries of ten seconds each; that must have happened meanwhile.
HANG_SECONDS = 35.0
# Celery tries again after 2, 4, 6, … seconds; then the coordinator sends what is queued.
RECONNECT_SECONDS = 30.0


def timed_start(rig: Rig, site: int) -> tuple[Answer, float]:
    """Start a backup; return the answer and how long it took."""
    began = time.monotonic()
    answer = rig.cluster.post(f"/api/v1/sites/{site}/backup/start")
    return answer, time.monotonic() - began


def test_start_is_accepted_and_runs_later_when_redis_is_down(rig: Rig) -> None:
    (site,) = rig.add_small_sites(1)
    rig.redis.kill()
    answer, seconds = timed_start(rig, site)
    assert answer.status == 202, answer
    assert seconds < ANSWER_SECONDS
    rig.redis.start()
    began = time.monotonic()
    assert_completed_once(rig, answer.body["job_id"])
    took = time.monotonic() - began
    print(f"Redis down at start: answered in {seconds:.2f} s, completed {took:.1f} s after it came")
    assert took < RECONNECT_SECONDS


def test_finished_stages_are_kept_when_redis_is_killed_over_a_stage_boundary(rig: Rig) -> None:
    (site,) = rig.add_small_sites(1)
    job_id = rig.start()
    inside = rig.wait_until_inside(job_id, "backup_files")
    rig.redis.kill()
    gone_at = time.monotonic()
    answer, seconds = timed_start(rig, site)
    assert answer.status == 202, answer
    assert seconds < ANSWER_SECONDS
    rig.wait_for_job(
        job_id,
        lambda job: job["stages_done"] > inside["stages_done"],
        OUTAGE_SECONDS,
        "the stage ends while Redis is away",
    )
    rig.wait_for_job(
        job_id,
        lambda job: time.monotonic() > gone_at + OUTAGE_SECONDS,
        OUTAGE_SECONDS + 1,
        "Redis was away for long enough",
    )
    rig.redis.start()
    rig.wait_for_end(answer.body["job_id"])
    assert_completed_once(rig, job_id)
    assert_completed_once(rig, answer.body["job_id"])
    done = [event["stage"] for event in rig.events(job_id, "claimed")]
    assert done == list(STAGES)


def test_start_answers_and_the_node_stays_online_while_redis_hangs(rig: Rig) -> None:
    sites = rig.add_small_sites(4)
    running = rig.start()
    rig.wait_until_inside(running, "backup_files")
    rig.redis.freeze()
    thaws_at = time.monotonic() + HANG_SECONDS
    jobs, slowest = [running], 0.0
    try:
        while time.monotonic() < thaws_at:
            for site in sites:
                answer, seconds = timed_start(rig, site)
                slowest = max(slowest, seconds)
                assert answer.status in (202, 409), answer
                assert seconds < ANSWER_SECONDS, f"start took {seconds:.1f} s"
                if answer.status == 202:
                    jobs.append(answer.body["job_id"])
            node = rig.cluster.get(f"/api/v1/nodes/{rig.node['id']}").body
            assert node["status"] == "online", node
            # A viewer's pace; the loop itself is what is waited for.
            time.sleep(CLAIM_SECONDS / 3)
    finally:
        rig.redis.thaw()
    began = time.monotonic()
    assert len(jobs) == 1 + len(sites)
    for job_id in jobs:
        rig.wait_for_end(job_id, RECONNECT_SECONDS)
    took = time.monotonic() - began
    for job_id in jobs:
        assert_completed_once(rig, job_id)
    print(
        f"Redis hung for {HANG_SECONDS:.0f} s: start at most {slowest:.2f} s, done in {took:.1f} s"
    )
