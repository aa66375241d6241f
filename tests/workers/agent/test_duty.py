"""The agent keeps its word whatever happens to Redis, and sees when Celery only looks alive."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from backups.models import Worker
from tests.servers import server_directory, wait_until
from tests.servers.redis import RedisServer
from tests.workers.agent.conftest import Workplace, ended, workers
from workers.agent import duty
from workers.agent.board import Board
from workers.agent.duty import Duty, Standstill
from workers.agent.post import Post


@pytest.fixture
def own_redis() -> Iterator[RedisServer]:
    """A Redis that a test may kill."""
    with server_directory("redis") as directory:
        server = RedisServer(directory)
        server.start()
        try:
            yield server
        finally:
            server.kill()


@pytest.mark.slow
def test_heart_goes_on_beating_and_the_worker_ends_soon_when_redis_is_away(
    workplace: Workplace, own_redis: RedisServer
) -> None:
    worker = workplace.start_worker(HOLDFAST_GRACE_SECONDS="600", HOLDFAST_BROKER_URL=own_redis.url)
    own_redis.kill()
    wait_until(lambda: "Connection refused" in worker.log_tail(1 << 20), message="it is noticed")
    for _ in range(4):
        seen = Worker.objects.get().last_seen_at
        wait_until(lambda: Worker.objects.get().last_seen_at > seen, 5, "the next beat")  # noqa: B023
    os.kill(worker.pid, signal.SIGTERM)
    assert ended(worker, 20) == 0, worker.log_tail()
    assert workers() == []


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch, settings: Any) -> Iterator[list[float]]:
    """The agent's clock, as a list whose only number a test moves."""
    settings.HOLDFAST_AGENT_SECONDS = 2.0
    now = [1000.0]
    monkeypatch.setattr(duty.time, "monotonic", lambda: now[0])
    yield now


def test_loop_that_stands_still_is_seen_only_while_redis_answers(
    own_redis: RedisServer, settings: Any, clock: list[float]
) -> None:
    settings.CELERY_BROKER_URL = own_redis.url
    board = Board(2)
    standstill = Standstill(board)

    def after(looks: int) -> float:
        for _ in range(looks):
            clock[0] += 2.0
            seconds = standstill.seconds()
        return seconds

    board.tick()
    assert after(1) == 0
    assert after(70) == 140 > duty.STUCK_SECONDS
    board.tick()
    assert after(1) == 0, "it goes round again"
    own_redis.kill()
    assert after(70) < duty.STUCK_SECONDS, "Celery waits for Redis, and rightly so"


def test_agent_that_slept_with_its_celery_does_not_judge_it(
    own_redis: RedisServer, settings: Any, clock: list[float]
) -> None:
    settings.CELERY_BROKER_URL = own_redis.url
    standstill = Standstill(Board(2))
    standstill.seconds()
    clock[0] += 3600
    assert standstill.seconds() <= 4


def test_step_that_fails_is_told_once_and_keeps_no_other_from_its_turn(
    tmp_path: Any, caplog: pytest.LogCaptureFixture
) -> None:
    post = Post(1, None, "w", "here", tmp_path, 1)  # type: ignore[arg-type]
    nothing = lambda _: None  # noqa: E731
    worker = Duty(post, Board(1), 1, supersede=nothing, give_up=nothing, clean=nothing)
    broken = True

    def step() -> None:
        if broken:
            raise KeyError("a bug")

    with caplog.at_level("INFO"):
        worker._do(step)
        worker._do(step)
        broken = False
        worker._do(step)
    assert [record.getMessage().partition(" failed")[0] for record in caplog.records] == [
        "step",
        "step works again",
    ]
