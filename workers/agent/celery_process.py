"""The Celery worker as a child of its agent: forked, watched, and ended with all it started."""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import select
import signal
import sys
import traceback
from dataclasses import dataclass
from typing import NoReturn

from celery import current_app

from workers.agent.board import Board
from workers.agent.pool import IGNORED_SIGNALS, PoolKeeper
from workers.engine.process import die_with_parent

logger = logging.getLogger(__name__)

# Between many workers these three cost far more than they give; see docs/architecture.md.
QUIET = ("--without-gossip", "--without-mingle", "--without-heartbeat")
_KILL_WAIT_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class CeleryOptions:
    """What a Celery worker is started with; `name` is its whole node name."""

    name: str
    queue: str
    loglevel: str

    def argv(self, processes: int) -> list[str]:
        """Return the words of Celery's command line."""
        argv = ["worker", "-n", self.name, "-Q", self.queue, "-P", "prefork"]
        return [*argv, "-c", str(processes), "-l", self.loglevel, *QUIET]


class CeleryProcess:
    """A running Celery worker. It dies with the thread that made it, its pool with it.

    Its pool inherits the writing end of a pipe that programs which the pool starts do not: the
    pipe's end says that the last Python process of the worker is gone, whoever was its parent.
    """

    def __init__(self, options: CeleryOptions, board: Board) -> None:
        self._life, holding = os.pipe()
        parent = os.getpid()
        # Nothing that is there now is garbage, and a collection would copy shared pages.
        gc.freeze()
        self.pid = os.fork()
        if not self.pid:
            os.close(self._life)
            _become_celery(options, board, parent)
        os.close(holding)
        self.descriptor = os.pidfd_open(self.pid)
        self.exit_status: int | None = None

    def collect(self) -> bool:
        """Return whether the Celery worker's main process has ended.

        As a container's first process the agent is given every orphan in it: those are collected
        as well. It has no other child of its own.
        """
        with contextlib.suppress(ChildProcessError):
            pid, status = os.waitpid(-1, os.WNOHANG)
            while pid:
                if pid == self.pid:
                    self.exit_status = os.waitstatus_to_exitcode(status)
                pid, status = os.waitpid(-1, os.WNOHANG)
        return self.exit_status is not None

    def end_when_idle(self) -> None:
        """Ask for a warm shutdown: nothing new begins, what runs goes on to its end."""
        self._signal(signal.SIGTERM)

    def kill(self) -> bool:
        """Kill it and its pool; False if one of them does not die, and may still write.

        A process that waits in the kernel for a broken disk cannot be killed.
        """
        self._signal(signal.SIGKILL)
        with select.epoll() as poller:
            poller.register(self._life, select.EPOLLIN)
            are_gone = bool(poller.poll(_KILL_WAIT_SECONDS))
        self.collect()
        return are_gone

    def _signal(self, number: int) -> None:
        if not self.collect():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)


def _become_celery(options: CeleryOptions, board: Board, parent: int) -> NoReturn:
    """Run the Celery worker in the child; never return into what the parent was doing."""
    code = 1
    try:
        die_with_parent(parent)
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        for number in IGNORED_SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        PoolKeeper.board = board
        current_app.steps["worker"].add(PoolKeeper)
        code = 0
        current_app.worker_main(options.argv(board.wanted))
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:
        code = 1
        traceback.print_exc()
    finally:
        exit_at_once(code)


def exit_at_once(status: int) -> NoReturn:
    """End this process without running what belongs to its parent, or waiting for threads."""
    with contextlib.suppress(Exception):
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(status)
