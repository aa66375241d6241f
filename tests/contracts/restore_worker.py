"""A worker that restores, and kills itself where it is told to: a child of the kill suite."""

from __future__ import annotations

import os
import signal
import time
import traceback
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

from workers.engine import process
from workers.engine.databases import open_restorer, sqlite, sqlite_switch
from workers.engine.databases.base import DatabaseSpec


def in_a_child(order: dict[str, Any]) -> int:
    """Do what `order` says in a child; return minus the number of the signal that ended it, or 0.

    It is forked, since to start a Python for each of some hundred steps takes minutes.
    """
    pid = os.fork()
    if not pid:
        status = 1
        try:
            _do(order)
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert status in {0, -signal.SIGKILL}
    return status


def _do(order: dict[str, Any]) -> None:
    """Do what `order` says; die at the step of its number, `delay` seconds into it."""
    steps = count()

    def step() -> None:
        if next(steps) == order["kill_at"]:
            time.sleep(order["delay"])
            os.kill(os.getpid(), signal.SIGKILL)

    spec: DatabaseSpec = order["spec"]
    check = _watch_files(step) if spec.engine == "sqlite" else lambda: None
    start = process._start

    def start_and_step(*arguments: Any) -> Any:
        popen = start(*arguments)
        step()
        return popen

    process._start = start_and_step
    restorer = open_restorer(spec)
    if order["what"] == "prepare":
        restorer.prepare(
            [Path(order["dump"]).read_bytes()],
            label=order["label"],
            tables=order["tables"],
            scratch_directory=order["scratch"],
            check=check,
        )
    else:
        getattr(restorer.from_record(order["record"], check=check), order["what"])()


def _watch_files(step: Callable[[], None]) -> Callable[[], None]:
    """Count as steps whatever changes the folder, and how far SQLite is; return the `check`."""
    sqlite.CHECK_INSTRUCTIONS = 50_000
    sqlite_switch.STEP_PAGES = 8
    for owner, name in ((os, "fsync"), (Path, "replace"), (Path, "unlink"), (Path, "touch")):
        setattr(owner, name, _stepping(getattr(owner, name), step))
    return step


def _stepping(function: Callable[..., Any], step: Callable[[], None]) -> Callable[..., Any]:
    def stepping(*arguments: Any, **more: Any) -> Any:
        step()
        return function(*arguments, **more)

    return stepping
