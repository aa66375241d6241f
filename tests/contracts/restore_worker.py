"""A worker that restores, and kills itself where it is told to: run as a program by the kill suite.

Reads one JSON object from its standard input; writes the record of what it prepared.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from itertools import count
from pathlib import Path
from typing import Any

from workers.engine import process
from workers.engine.databases import open_restorer
from workers.engine.databases.base import DatabaseSpec


def main(order: dict[str, Any]) -> None:
    """Do what `order` says; die at the step of its number, `delay` seconds into it."""
    steps = count()

    def step() -> None:
        if next(steps) == order["kill_at"]:
            time.sleep(order["delay"])
            os.kill(os.getpid(), signal.SIGKILL)

    spec = DatabaseSpec(**order["spec"])
    check = step if spec.engine == "sqlite" else lambda: None
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


if __name__ == "__main__":
    main(json.load(sys.stdin))
