"""An installation's code, loaded once: each command runs in a process that is forked from it.

A start of `manage.py` costs a second of a core, nearly all of it to import. What a test is about is
what the process does then, with its own connections: that is the same here.

Run as a process of its own, it reads lines of JSON: `[target, arguments, stdout, stderr]` begins a
process and is answered with its number, `[number]` with its exit code once it has ended.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

from tests.servers import die_with_parent, wait_until

ROOT = Path(__file__).resolve().parents[2]
# Nearly everything imports these; none of them connects to anything.
LOADED = ("django.core.management.commands.shell", "panel.urls", "backups.actions.jobs")
COMMAND = "manage:main"
READY = "ready\n"


class Fork:
    """A process that was begun; what it says is in `out` and `err`."""

    def __init__(self, warm: Warm, target: str, arguments: list[str], out: Path, err: Path) -> None:
        self.out, self.err = out, err
        self._warm = warm
        self.pid: int = warm.ask([target, arguments, str(out), str(err)])

    def said(self) -> str:
        return self.out.read_text() if self.out.exists() else ""

    def wait(self) -> int:
        """Return how it ended."""
        return int(self._warm.ask([self.pid]))


class Warm:
    """Begins processes of one installation; `directory` takes what they say."""

    def __init__(self, directory: Path, environment: Mapping[str, str]) -> None:
        self._directory = directory / "warm"
        self._directory.mkdir()
        self._names = count(1)
        self._lock = threading.Lock()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.servers.warm"],
            cwd=ROOT,
            env={**os.environ, **environment, "DJANGO_SETTINGS_MODULE": "panel.settings"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
            preexec_fn=die_with_parent,
        )

    def begin(self, target: str, *arguments: str) -> Fork:
        """Begin a process that calls a function, `module:name`, as if it were a program."""
        path = self._directory / str(next(self._names))
        return Fork(self, target, list(arguments), path, path.with_suffix(".err"))

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

    def ask(self, question: list[Any]) -> Any:
        with self._lock:
            self._process.stdin.write(json.dumps(question) + "\n")
            answer = self._process.stdout.readline()
        assert answer, "the warm process has ended"
        return json.loads(answer)

    def close(self) -> None:
        self._process.stdin.close()
        self._process.wait(timeout=20)
        self._process.stdout.close()


def _become(target: str, arguments: list[str], out: str, err: str) -> int:
    """Do in this fork what was asked for, and return its exit code."""
    die_with_parent()
    for number, path in ((0, os.devnull), (1, out), (2, err)):
        flags = os.O_RDONLY if number == 0 else os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        descriptor = os.open(path, flags, 0o600)
        os.dup2(descriptor, number)
        os.close(descriptor)
    sys.stdin, sys.stdout, sys.stderr = (os.fdopen(at, mode) for at, mode in enumerate("rww"))
    module, _, name = target.partition(":")
    sys.argv = [module, *arguments]
    try:
        getattr(importlib.import_module(module), name)()
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
        return 1 if isinstance(end.code, str) else end.code or 0
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def main() -> None:
    """Load everything, then begin what is asked for, until nobody asks any more."""
    import django

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    django.setup()
    for module in LOADED:
        importlib.import_module(module)
    from django.db import connection

    assert connection.connection is None, "a connection must not be shared with forks"
    for line in sys.stdin:
        match json.loads(line):
            case [int() as pid]:
                answer = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            case question:
                answer = os.fork()
                if answer == 0:
                    code = _become(*question)
                    for stream in (sys.stdout, sys.stderr):
                        with suppress(Exception):
                            stream.flush()
                    os._exit(code)
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
