"""An installation's code, loaded once: its commands and daemons are forked from that process.

A start of `manage.py` costs two thirds of a second of a core, nearly all of it to import, and the
tests start hundreds of panels, coordinators and workers. What a test is about is what the process
does then, with its own connections, signals and exit: that is the same here. Tests of the demo, the
units and the images start programs as their users do.

Each installation's process is itself forked from one that has loaded what needs no settings, of
which there is one in a test run. That one is sent an environment and a socket for each; the others
read lines of JSON from theirs, one `Question` each: what begins a process is answered with its
number, the number of one that has ended with its exit code.
"""

from __future__ import annotations

import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import traceback
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any, NotRequired, TextIO, TypedDict

from tests.servers import Daemon, call_process, die_with_parent, wait_until

ROOT = Path(__file__).resolve().parents[2]
# What commands, panel, coordinator and workers import; none of it connects to anything.
LIBRARIES = (
    "boto3",
    "botocore.auth",
    "celery.apps.worker",
    "celery.bin.celery",
    "celery.concurrency.prefork",
    "django.contrib.admin",
    "django.core.handlers.asgi",
    "django.core.management.commands.shell",
    "django.db.backends.mysql.base",
    "django.db.backends.postgresql.base",
    "django.db.backends.sqlite3.base",
    "django.test.client",
    "environs",
    "jsonschema",
    "kombu.transport.redis",
    "redis.asyncio",
    "requests",
    "uvicorn.lifespan.on",
    "uvicorn.loops.auto",
    "uvicorn.main",
    "uvicorn.protocols.http.auto",
    "uvicorn.protocols.websockets.auto",
)
OURS = (
    "panel.asgi",
    "panel.urls",
    "backups.management.commands.coordinator",
    "workers.management.commands.worker",
)
ENVIRONMENT_BYTES = 1 << 20
COMMAND = "manage:main"
READY = "ready\n"


class Question(TypedDict):
    """What is asked of the warm process: to begin `argv` by a call of `target`, or an exit code.

    A daemon has a session of its own, and appends both streams to `out`.
    """

    target: NotRequired[str]
    argv: NotRequired[list[str]]
    out: NotRequired[str]
    err: NotRequired[str]
    ended: NotRequired[int]


class ForkedProcess:
    """A process that the warm one has forked, as `subprocess.Popen` shows a child."""

    def __init__(self, warm: Warm, question: Question) -> None:
        self.returncode: int | None = None
        self._warm = warm
        self._lock = threading.Lock()
        self.pid: int = warm.ask(question)
        self._descriptor = os.pidfd_open(self.pid)

    def poll(self) -> int | None:
        """Return how it ended, None while it runs."""
        return self._collect(0)

    def wait(self, timeout: float | None = None) -> int:
        """Return how it ended; raises `TimeoutExpired`."""
        code = self._collect(None if timeout is None else timeout * 1000)
        if code is None:
            raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0)
        return code

    def _collect(self, milliseconds: float | None) -> int | None:
        with self._lock:
            if self.returncode is None:
                end = select.poll()
                end.register(self._descriptor, select.POLLIN)
                if end.poll(milliseconds):
                    self.returncode = int(self._warm.ask({"ended": self.pid}))
                    os.close(self._descriptor)
            return self.returncode


class Fork:
    """A command that was begun; what it says is in `out` and `err`."""

    def __init__(self, warm: Warm, target: str, argv: list[str], out: Path, err: Path) -> None:
        self.out, self.err = out, err
        question: Question = {"target": target, "argv": argv, "out": str(out), "err": str(err)}
        self._process = ForkedProcess(warm, question)
        self.pid = self._process.pid

    def said(self) -> str:
        return self.out.read_text() if self.out.exists() else ""

    def wait(self) -> int:
        """Return how it ended."""
        return self._process.wait()


class WarmDaemon(Daemon):
    """A daemon of the installation: a function, `module:name`, that is called as a program."""

    def __init__(self, warm: Warm, target: str, argv: Sequence[str], *, log: Path) -> None:
        super().__init__(argv, log=log)
        self._warm = warm
        self._target = target

    def begin(self) -> None:
        assert not self.alive, f"{self.argv[0]} runs already"
        question: Question = {"target": self._target, "argv": self.argv, "out": str(self.log)}
        self._popen = ForkedProcess(self._warm, question)


class Base:
    """The process that has loaded the libraries; it ends with the test run."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._socket, given = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        number = given.fileno()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.servers.warm", str(number)],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            pass_fds=[number],
        )
        given.close()

    def fork(self, environment: Mapping[str, str]) -> tuple[int, socket.socket]:
        """Return the number of a process with that environment, and what it is spoken to by."""
        ours, theirs = socket.socketpair()
        with self._lock:
            socket.send_fds(self._socket, [json.dumps(environment).encode()], [theirs.fileno()])
            theirs.close()
            return int(self._socket.recv(100)), ours


@cache
def _base() -> Base:
    return Base()


class Warm:
    """Begins processes of one installation; `directory` takes what commands say."""

    def __init__(self, directory: Path, environment: Mapping[str, str]) -> None:
        self.environment = dict(environment)
        self._directory = directory / "warm"
        self._directory.mkdir()
        self._names = count(1)
        self._lock = threading.Lock()
        whole = {**os.environ, **environment, "DJANGO_SETTINGS_MODULE": "panel.settings"}
        pid, self._socket = _base().fork(whole)
        self._end = os.pidfd_open(pid)
        self._lines = self._socket.makefile("rw")

    def begin(self, target: str, *arguments: str) -> Fork:
        """Begin a process that calls a function, `module:name`, as if it were a program."""
        path = self._directory / str(next(self._names))
        argv = [target.partition(":")[0], *arguments]
        return Fork(self, target, argv, path, path.with_suffix(".err"))

    def daemon(self, argv: Sequence[str], log: Path) -> Daemon:
        """Return what begins a daemon: the arguments of Python, a script's or a module's."""
        match list(argv):
            case ["-m", module, *arguments]:
                return WarmDaemon(self, f"{module}.main:main", [module, *arguments], log=log)
            case [script, *arguments]:
                target = f"{script.removesuffix('.py')}:main"
                return WarmDaemon(self, target, [script, *arguments], log=log)
        raise AssertionError("nothing to begin")

    def manage(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a management command to its end."""
        fork = self.begin(COMMAND, *arguments)
        code = fork.wait()
        argv = ["manage.py", *arguments]
        return subprocess.CompletedProcess(argv, code, fork.said(), fork.err.read_text())

    def race(self, target: str, each: Iterable[Sequence[str]]) -> list[str]:
        """Let processes, each with arguments of its own, go on at the same moment.

        Each has a path as one more argument, says `ready`, and goes on when a file is there. What
        they say after that is returned.
        """
        barrier = self._directory / f"go-{next(self._names)}"
        racers = [self.begin(target, *arguments, str(barrier)) for arguments in each]
        for racer in racers:
            wait_until(lambda: racer.said() == READY, 60, "it is ready")  # noqa: B023
        barrier.touch()
        ends = [racer.wait() for racer in racers]
        assert set(ends) == {0}, [racer.err.read_text() for racer in racers]
        return [racer.said().removeprefix(READY).strip() for racer in racers]

    def ask(self, question: Question) -> Any:
        with self._lock:
            self._lines.write(json.dumps(question) + "\n")
            self._lines.flush()
            answer = self._lines.readline()
        assert answer, "the warm process has ended"
        return json.loads(answer)

    def close(self) -> None:
        """End it, and with it whatever it began that still runs."""
        self._lines.close()
        self._socket.close()
        assert select.select([self._end], [], [], 20)[0], "the warm process does not end"
        os.close(self._end)


def _speak_into(out: str, err: str, mode: int) -> None:
    """Let the standard streams be nothing and these files, for libraries and programs as well."""
    for number, path in ((0, os.devnull), (1, out), (2, err)):
        flags = os.O_RDONLY if number == 0 else os.O_WRONLY | os.O_CREAT | mode
        descriptor = os.open(path, flags, 0o600)
        os.dup2(descriptor, number)
        os.close(descriptor)
    # Line by line, as what reads a log that grows expects it.
    sys.stdin, sys.stdout, sys.stderr = (
        os.fdopen(at, kind, buffering=1) for at, kind in enumerate("rww")
    )


def _run_command(target: str, argv: list[str]) -> int:
    """Do in this fork what was asked for, and return its exit code."""
    try:
        _call(target, argv)
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
        return 1 if isinstance(end.code, str) else end.code or 0
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def _call(target: str, argv: list[str]) -> None:
    module, _, name = target.partition(":")
    sys.argv = argv
    call_process(argv[1] if argv[0] == "manage.py" else module)
    getattr(importlib.import_module(module), name)()


def _begin(question: Question) -> int:
    """Fork what is asked for and return its number; in the fork this does not return."""
    is_daemon = "err" not in question
    reading, holding = os.pipe()
    pid = os.fork()
    if pid:
        os.close(holding)
        os.read(reading, 1)
        os.close(reading)
        return pid
    die_with_parent()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if is_daemon:
        os.setsid()
    # The group that it may be killed with is there when its number is known.
    os.close(reading)
    os.close(holding)
    out = question["out"]
    if is_daemon:
        _speak_into(out, out, os.O_APPEND)
        _call(question["target"], question["argv"])
        # It ends as any interpreter does, with its threads and what is registered for the end.
        sys.exit()
    _speak_into(out, question["err"], os.O_TRUNC)
    code = _run_command(question["target"], question["argv"])
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):
            stream.flush()
    os._exit(code)


def _serve(lines: TextIO) -> None:
    """Load the installation, then begin what is asked for, until nobody asks any more."""
    import django

    django.setup()
    for module in OURS:
        importlib.import_module(module)
    from django.db import connection

    from workers.agent.start import load_work

    load_work()
    assert connection.connection is None, "a connection must not be shared with forks"
    for line in lines:
        question: Question = json.loads(line)
        if "ended" in question:
            answer = os.waitstatus_to_exitcode(os.waitpid(question["ended"], 0)[1])
        else:
            answer = _begin(question)
        lines.write(json.dumps(answer) + "\n")
        lines.flush()


def main() -> None:
    """Load the libraries, then fork a process for each environment that is sent."""
    for module in LIBRARIES:
        importlib.import_module(module)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Whoever asked sees by itself that one of them has ended.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    asked = socket.socket(fileno=int(sys.argv[1]))
    while True:
        sent, descriptors, _, _ = socket.recv_fds(asked, ENVIRONMENT_BYTES, 1)
        if not sent:
            return
        pid = os.fork()
        if not pid:
            break
        os.close(descriptors[0])
        asked.send(str(pid).encode())
    die_with_parent()
    asked.close()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.environ.clear()
    os.environ.update(json.loads(sent))
    with socket.socket(fileno=descriptors[0]) as channel, channel.makefile("rw") as lines:
        _serve(lines)


if __name__ == "__main__":
    main()
