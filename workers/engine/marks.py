"""Finds processes by the marks in their environment, and ends them with their groups.

A parent-death signal ends a child with its parent, but not what that child has started: such a
process is adopted by init and looks like anybody's. Its environment still says whose it is.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterable
from dataclasses import dataclass

import psutil

from workers.engine.process import ATTEMPT_MARK, JOB_MARK


@dataclass(frozen=True, slots=True)
class MarkedProcess:
    """A process of this user that was started, however indirectly, for an attempt at a job."""

    process: psutil.Process
    job: str
    attempt: str

    @property
    def age_seconds(self) -> float:
        """How long it has run; 0 if it has ended."""
        with contextlib.suppress(psutil.Error):
            return max(time.time() - self.process.create_time(), 0.0)
        return 0.0


def marked_processes() -> list[MarkedProcess]:
    """Return every marked process of this user, whoever its parent is by now."""
    found = []
    # What cannot be read is None: other users' processes, and those that end just now.
    for process in psutil.process_iter(["environ", "uids"]):
        environment, owners = process.info["environ"], process.info["uids"]
        if environment and owners and owners.real == os.getuid() and JOB_MARK in environment:
            attempt = environment.get(ATTEMPT_MARK, "")
            found.append(MarkedProcess(process, environment[JOB_MARK], attempt))
    return found


def kill_groups(marked: Iterable[MarkedProcess]) -> int:
    """Kill the process groups of these; return how many groups that were.

    A process that was given its number since it was found is another one, and left alone.
    """
    killed: set[int] = set()
    for one in marked:
        with contextlib.suppress(psutil.Error, OSError):
            group = os.getpgid(one.process.pid)
            if group in killed or group == os.getpgrp() or not one.process.is_running():
                continue
            os.killpg(group, signal.SIGKILL)
            killed.add(group)
    return len(killed)
