"""Holds the cluster's processes, and ends every one of them when whoever started it is gone.

Run as a child (`python -m workers.embedded.guard REPORT_DESCRIPTOR`): each line of standard input
is a `Service` as JSON, to be started; the end of standard input, for whatever reason, ends them
all. On the report descriptor it writes one line of JSON for each service that ends by itself.

A parent-death signal alone does not do: it reaches a child, not that child's children. As a
"child subreaper" (prctl(2), PR_SET_CHILD_SUBREAPER) the guard inherits every orphan below it, so
what is left in the end can be found and ended.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import sys
import threading
import time
from dataclasses import asdict, dataclass
from types import FrameType

import psutil

from workers.engine.errors import EngineError, StopRequested
from workers.engine.process import spawn

SWEEP_SECONDS = 10.0
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36

# Output goes to the log without passing through the guard: it is whole even if the guard is killed.
_TO_LOG = 'exec >>"$0" 2>&1 && exec "$@"'


@dataclass(frozen=True, slots=True)
class Service:
    """One process to keep: `environment` may hold secrets, `argv` must not."""

    name: str
    argv: list[str]
    environment: dict[str, str]
    log: str
    directory: str

    def as_line(self) -> bytes:
        """Return the service as the guard reads it."""
        return json.dumps(asdict(self)).encode() + b"\n"


class Keeper:
    """Runs one service in a thread of its own, which is what its parent-death signal hangs on."""

    def __init__(self, service: Service, report: int) -> None:
        self._service = service
        self._report = report
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=service.name)
        self._thread.start()

    def stop(self) -> None:
        """Have the service ended; `join` waits for it."""
        self._stop.set()

    def join(self) -> None:
        """Return when the service and its process group are gone."""
        self._thread.join()

    def _check(self) -> None:
        if self._stop.is_set():
            raise StopRequested

    def _run(self) -> None:
        service = self._service
        argv = ["/bin/sh", "-c", _TO_LOG, service.log, *service.argv]
        try:
            with spawn(
                argv,
                environment=service.environment,
                check=self._check,
                cwd=service.directory,
            ) as process:
                process.finish()
            reason = "it ended with exit status 0"
        except StopRequested:
            return
        except EngineError as error:
            reason = error.message
        line = json.dumps({"name": service.name, "reason": reason}).encode() + b"\n"
        # Nobody reads it any more when the demo is gone, which its closed pipe tells as well.
        with contextlib.suppress(BrokenPipeError):
            os.write(self._report, line)


def _end_all(keepers: list[Keeper]) -> None:
    """End the services that came last first of all, and the first (the broker) after the others."""
    for group in (keepers[1:], keepers[:1]):
        for keeper in group:
            keeper.stop()
        for keeper in group:
            keeper.join()


def _sweep() -> None:
    """Kill what the services left behind, which as orphans are children of this process now."""
    deadline = time.monotonic() + SWEEP_SECONDS
    while time.monotonic() < deadline:
        for orphan in psutil.Process().children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                orphan.kill()
        try:
            while os.waitpid(-1, os.WNOHANG) != (0, 0):
                pass
        except ChildProcessError:
            return
        time.sleep(0.02)


def _end_input(number: int, frame: FrameType | None) -> None:
    raise EOFError


def main() -> None:
    """See the module."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_CHILD_SUBREAPER, 1)
    # Whoever started the guard may be killed: then the guard must live on until all is ended. It
    # learns that from its standard input.
    libc.prctl(_PR_SET_PDEATHSIG, 0)
    signal.signal(signal.SIGTERM, _end_input)
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    report = int(sys.argv[1])
    keepers: list[Keeper] = []
    with contextlib.suppress(EOFError):
        for line in sys.stdin.buffer:
            service = Service(**json.loads(line))
            keepers.append(Keeper(service, report))
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    _end_all(keepers)
    _sweep()


if __name__ == "__main__":
    main()
