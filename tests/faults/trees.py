"""The processes of one worker: agent, Celery's main process, its pool, and what stages start."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import psutil

from tests.servers import Daemon, wait_until

GONE = (psutil.NoSuchProcess, psutil.ZombieProcess)


@dataclass
class WorkerTree:
    """A started `manage.py worker`, and ways to hurt it."""

    name: str
    daemon: Daemon
    seen: set[psutil.Process] = field(default_factory=set)

    @property
    def agent(self) -> psutil.Process:
        return psutil.Process(self.daemon.pid)

    @property
    def master(self) -> psutil.Process:
        """Celery's main process, the agent's only child."""
        children = self.agent.children()
        assert len(children) == 1, children
        return children[0]

    def stage_process(self, job: Mapping[str, Any]) -> psutil.Process:
        """The pool's process that runs the job's stage."""
        process = psutil.Process(job["process_id"])
        assert process.ppid() == self.master.pid, (process, self.master)
        return process

    def children_of(self, job: Mapping[str, Any], word: str) -> list[psutil.Process]:
        """The living processes that the attempt has started with `word` in their command."""
        found = []
        with suppress(*GONE):
            for child in self.stage_process(job).children():
                with suppress(*GONE):
                    if word in " ".join(child.cmdline()) and is_alive(child):
                        found.append(child)
        return found

    def everything(self) -> list[psutil.Process]:
        """All of it that the agent leads, itself first; nothing once it has ended."""
        if not self.daemon.alive:
            return []
        with suppress(*GONE):
            found = [self.agent, *self.agent.children(recursive=True)]
            self.seen.update(found)
            return found
        return []

    def is_whole(self) -> bool:
        """Whether it can work: agent and Celery are there, and nothing is stopped."""
        with suppress(*GONE, AssertionError):
            stopped = [one for one in self.everything() if one.status() == psutil.STATUS_STOPPED]
            return self.daemon.alive and is_alive(self.master) and not stopped
        return False

    def freeze(self) -> None:
        """Stop every process, from the top down: none can start another one meanwhile."""
        for process in self.everything():
            process.suspend()

    def thaw(self) -> None:
        """Let every process go on."""
        for process in self.everything():
            with suppress(*GONE):
                process.resume()

    def kill_all(self) -> None:
        """Kill every process as the end of its host would, those too that lost their leader.

        Until the last of them is gone, the broker may hand it a message.
        """
        killed = [*self.everything(), *self.seen]
        for process in killed:
            with suppress(*GONE):
                process.kill()
        self.daemon.kill()
        wait_until(lambda: not any(map(is_alive, killed)), message=f"{self.name} is gone")

    def signal(self, number: signal.Signals) -> None:
        """Send the agent a signal, as systemd does."""
        os.kill(self.daemon.pid, number)

    def wait_for_exit(self, timeout: float) -> None:
        wait_until(lambda: not self.daemon.alive, timeout, f"{self.name} has ended")


def is_alive(process: psutil.Process) -> bool:
    """Whether it still runs; one that nobody has collected does not."""
    with suppress(*GONE):
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    return False
