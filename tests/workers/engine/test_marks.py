"""Marked processes are found and ended whoever their parent is by now, and nobody else is."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import uuid
from pathlib import Path

import psutil
import pytest

from tests.servers import wait_until
from tests.workers.engine.test_process import gone
from workers.engine import marks, process

ROOT = Path(__file__).parents[3]


@pytest.fixture
def job() -> str:
    return str(uuid.uuid4())


def mine(job: str) -> list[marks.MarkedProcess]:
    return [one for one in marks.marked_processes() if one.job == job]


def test_children_carry_the_marks_of_their_attempt_and_none_afterwards(job: str) -> None:
    process.mark_children(job=job, attempt="3-abc")
    try:
        with process.spawn(["sleep", "1000"]) as child:
            assert [(one.process.pid, one.attempt) for one in mine(job)] == [(child.pid, "3-abc")]
            os.kill(child.pid, signal.SIGTERM)
            with pytest.raises(process.ProcessFailed):
                child.finish()
            raise InterruptedError
    except InterruptedError:
        pass
    finally:
        process.mark_children()
    printed = process.run([sys.executable, "-c", "import os; print(list(os.environ))"])
    assert process.JOB_MARK not in printed.decode()


LEFT_BEHIND = """
    import os, signal, sys
    from workers.engine import process
    process.mark_children(job=sys.argv[1], attempt="1-a")
    with process.spawn(["sh", "-c", "sleep 1000 & echo $!; setsid sleep 1000 & wait"]) as child:
        print(child.read().decode(), flush=True)
        signal.pause()
"""


def test_groups_that_outlived_a_killed_worker_are_found_and_killed(job: str) -> None:
    worker = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(LEFT_BEHIND), job],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert worker.stdout is not None
    orphan = int(worker.stdout.readline())
    other = subprocess.Popen(["sleep", "1000"], start_new_session=True)
    try:
        wait_until(lambda: len(mine(job)) == 3, message="shell and both sleepers run")
        worker.kill()
        worker.wait()
        wait_until(lambda: len(mine(job)) == 2, message="the parent-death signal ends the shell")
        assert orphan in [one.process.pid for one in mine(job)]
        assert marks.kill_groups(mine(job)) == 2
        wait_until(lambda: not mine(job), message="nothing is left")
        assert gone(orphan)
        assert other.poll() is None
    finally:
        marks.kill_groups(mine(job))
        other.kill()
        other.wait()


def test_our_own_group_is_never_killed(job: str) -> None:
    assert marks.kill_groups([marks.MarkedProcess(psutil.Process(), job, "1-a")]) == 0
