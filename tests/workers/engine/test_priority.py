"""What the kernel says of the work's priority, and of what it starts."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest

from workers.engine.errors import StopRequested
from workers.engine.priority import run_giving_way
from workers.engine.process import run as run_process

ROOT = Path(__file__).parents[3]
TELL = "import os, psutil; print(os.getpriority(0, 0), int(psutil.Process().ionice().ioclass))"


def of_child() -> tuple[int, int]:
    nice, io_class = run_process([sys.executable, "-c", TELL]).split()
    return int(nice), int(io_class)


def of_this_thread() -> tuple[int, int]:
    thread = threading.get_native_id()
    return os.getpriority(os.PRIO_PROCESS, thread), int(psutil.Process(thread).ionice().ioclass)


@pytest.mark.parametrize(
    ("io_class", "expected"),
    [
        ("low", psutil.IOPRIO_CLASS_BE),
        ("idle", psutil.IOPRIO_CLASS_IDLE),
        ("normal", psutil.IOPRIO_CLASS_NONE),
    ],
)
def test_work_and_its_children_give_way_and_this_thread_does_not(
    io_class: str, expected: int
) -> None:
    before = of_this_thread()
    told: list[str] = []
    found = run_giving_way(
        lambda: (of_this_thread(), of_child()), nice=7, io_class=io_class, refused=told.append
    )
    assert found == ((7, expected), (7, expected))
    assert of_this_thread() == before
    assert told == []


IN_TURN = """
import json, os
from tests.workers.engine.test_priority import of_child
from workers.engine.priority import run_giving_way
print(json.dumps([
    run_giving_way(of_child, nice=nice, io_class="low", refused=print)[0] for nice in (12, 4, 0)
]))
"""


def test_next_work_gets_more_again_when_nobody_may_take_it_back() -> None:
    """Without CAP_SYS_NICE, as a worker's user has no such right."""
    argv = [sys.executable, "-c", IN_TURN]
    if os.geteuid() == 0:
        setpriv = shutil.which("setpriv")
        assert setpriv, "setpriv is part of util-linux"
        argv = [setpriv, "--bounding-set", "-sys_nice", *argv]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [12, 4, 0]


def test_work_gets_no_more_than_the_process_has() -> None:
    script = "import os; os.nice(15)" + IN_TURN
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert json.loads(done.stdout) == [15, 15, 15], done.stderr


def test_an_interruption_of_the_work_comes_through() -> None:
    def stop() -> None:
        raise StopRequested

    with pytest.raises(StopRequested):
        run_giving_way(stop, nice=5, io_class="normal", refused=print)


def test_work_is_done_when_the_host_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a container's seccomp filter may; there is no such filter to be had in a test."""

    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "setpriority", refuse)
    told: list[str] = []
    assert run_giving_way(lambda: "done", nice=19, io_class="low", refused=told.append) == "done"
    assert len(told) == 1
    assert "Operation not permitted" in told[0]
