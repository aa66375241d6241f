"""A worker that restores, and kills itself where it is told to: run as a program by the kill suite.

Reads one JSON object from its standard input; writes the record of what it prepared.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

from workers.engine import process
from workers.engine.databases import open_restorer, sqlite, sqlite_switch
from workers.engine.databases.base import DatabaseSpec


def main(order: dict[str, Any]) -> None:
    """Do what `order` says; die at the step of its number, `delay` seconds into it."""
    steps = count()

    def step() -> None:
        if next(steps) == order["kill_at"]:
            time.sleep(order["delay"])
            os.kill(os.getpid(), signal.SIGKILL)

    spec = DatabaseSpec(**order["spec"])
    check = _watch_files(step) if spec.engine == "sqlite" else lambda: None
    start = process._start

    def start_and_step(*arguments: Any) -> Any:
        popen = start(*arguments)
        step()
        return popen

    process._start = start_and_step
    restorer = open_restorer(spec)
    if order["what"] == "prepare":
        switch = restorer.prepare(
            [Path(order["dump"]).read_bytes()],
            label=order["label"],
            tables=order["tables"],
            scratch_directory=order["scratch"],
            check=check,
        )
        print(json.dumps(switch.record()))
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


if __name__ == "__main__":
    main(json.load(sys.stdin))
