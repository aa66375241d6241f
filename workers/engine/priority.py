"""How much of the CPUs' and disks' time the work gets while other programs want it too.

Linux keeps niceness and I/O class for each thread, and whatever a thread starts inherits both. Who
has given way cannot take it back without a privilege. So the work runs in a thread of its own that
gives way and ends with it: the next one begins from where the process began.
"""

from __future__ import annotations

import contextvars
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import psutil

Result = TypeVar("Result")

# Class and level within it, as in ioprio_set(2); "normal" leaves it to the niceness.
_LOWEST_LEVEL = 7
INPUT_OUTPUT_CLASSES = {
    "normal": None,
    "low": (psutil.IOPRIO_CLASS_BE, _LOWEST_LEVEL),
    "idle": (psutil.IOPRIO_CLASS_IDLE, None),
}


def run_giving_way(
    work: Callable[[], Result], *, nice: int, io_class: str, refused: Callable[[str], None]
) -> Result:
    """Return what `work` returns, or raise what it raises, run with less priority than others.

    It never gets more than this process has itself. A host that refuses keeps it from nothing:
    `refused` is told.
    """

    def give_way_and_work() -> Result:
        _give_way(nice, io_class, refused)
        return work()

    with ThreadPoolExecutor(1, thread_name_prefix="stage") as pool:
        # What the work logs belongs to what the caller works for.
        return pool.submit(contextvars.copy_context().run, give_way_and_work).result()


def _give_way(nice: int, io_class: str, refused: Callable[[str], None]) -> None:
    thread = threading.get_native_id()
    try:
        if nice > os.getpriority(os.PRIO_PROCESS, thread):
            os.setpriority(os.PRIO_PROCESS, thread, nice)
        if chosen := INPUT_OUTPUT_CLASSES[io_class]:
            psutil.Process(thread).ionice(*chosen)
    except (OSError, psutil.Error) as error:
        refused(f"the work does not give way to other programs: {error}")
