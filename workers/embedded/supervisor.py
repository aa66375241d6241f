"""Starts the guard and, through it, the services; notices when one of them ends by itself."""

from __future__ import annotations

import contextlib
import json
import os
import select
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from workers.embedded.guard import Service
from workers.engine.errors import EngineError
from workers.engine.process import Process, python_argv, spawn

PROJECT = Path(__file__).resolve().parents[2]
POLL_SECONDS = 0.1
LOG_TAIL_LINES = 15


class ServiceEnded(EngineError):
    """A process of the cluster ended by itself, or never became ready."""

    code = "service_ended"


class Supervisor:
    """The services of one cluster. Made by `supervise` only."""

    def __init__(self, guard: Process, orders: int, reports: int, folder: Path, logs: Path) -> None:
        self._guard = guard
        self._orders = orders
        self._reports = reports
        self._folder = folder
        self._logs = logs
        self._unread = b""

    def log_of(self, name: str) -> Path:
        """Return where the service's output goes."""
        return self._logs / f"{name}.log"

    def launch(self, name: str, argv: list[str], *, environment: dict[str, str]) -> None:
        """Start a service without waiting until it is ready."""
        log = self.log_of(name)
        log.write_bytes(b"")
        service = Service(name, argv, environment, str(log), str(self._folder))
        remaining = memoryview(service.as_line())
        # A guard that is gone shows in `check` as well, with a sentence for a person.
        with contextlib.suppress(BrokenPipeError):
            while remaining:
                remaining = remaining[os.write(self._orders, remaining) :]

    def wait_until_ready(self, name: str, ready: Callable[[], object], *, seconds: float) -> None:
        """Return once `ready()` is true.

        Raises `ServiceEnded` when any service ends meanwhile, or after `seconds`.
        """
        deadline = time.monotonic() + seconds
        while not ready():
            self.check()
            if time.monotonic() > deadline:
                raise ServiceEnded(
                    f"Waited {seconds:.0f} s in vain for {name} to be ready",
                    hint=_what_it_said(self.log_of(name)),
                )
            time.sleep(POLL_SECONDS)

    def check(self) -> None:
        """Raise `ServiceEnded` if a service ended by itself, else return at once."""
        while select.select([self._reports], [], [], 0)[0]:
            data = os.read(self._reports, 1 << 16)
            if not data:
                raise ServiceEnded(
                    "The guard of the cluster's processes ended by itself",
                    hint=self._guard.stderr_tail(),
                )
            self._unread += data
        line, newline, rest = self._unread.partition(b"\n")
        if newline:
            self._unread = rest
            report = json.loads(line)
            log = self.log_of(report["name"])
            raise ServiceEnded(
                f"{report['name']} ended by itself: {report['reason']}", hint=_what_it_said(log)
            )


@contextlib.contextmanager
def supervise(folder: Path, logs: Path, *, held: tuple[int, ...] = ()) -> Iterator[Supervisor]:
    """Yield a supervisor; when the block ends, so has every process below it.

    The services run in `folder` and write to `logs`. The guard keeps the descriptors in `held`
    open as long as anything runs, also when this process is killed.
    """
    logs.mkdir(mode=0o700, exist_ok=True)
    orders_in, orders = os.pipe()
    reports, reports_out = os.pipe()
    with contextlib.ExitStack() as ours, contextlib.ExitStack() as the_guards:
        for descriptor, owner in (
            (reports, ours),
            (orders_in, the_guards),
            (reports_out, the_guards),
        ):
            owner.callback(os.close, descriptor)
        end_guard = ours.enter_context(contextlib.ExitStack())
        end_guard.callback(os.close, orders)
        argv = [*python_argv("workers.embedded.guard"), str(reports_out)]
        with spawn(
            argv, stdin=orders_in, pass_fds=(reports_out, *held), cwd=str(PROJECT)
        ) as process:
            # With only the guard at the other ends, its death shows on both pipes.
            the_guards.close()
            try:
                yield Supervisor(process, orders, reports, folder, logs)
            except BaseException:
                end_guard.close()
                # What ended the block matters more than how the guard fared.
                with contextlib.suppress(EngineError):
                    process.finish()
                raise
            end_guard.close()


def _what_it_said(log: Path) -> str:
    lines = log.read_text("utf-8", "replace").splitlines() if log.exists() else []
    said = "\n".join(lines[-LOG_TAIL_LINES:])
    return f"The end of {log}:\n{said}" if said else f"{log} is empty."
