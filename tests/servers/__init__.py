"""Real servers for tests: started in temporary folders on free loopback ports, ended by pid."""

from __future__ import annotations

import contextlib
import ctypes
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

UNPRIVILEGED_USER = "nobody"
# From one look to the next: often at first, and after some seconds now and then. What is looked at
# costs a processor more than the wait, and the tests share two of them.
POLL_SECONDS, MOST_POLL_SECONDS, POLL_SHARE = 0.02, 0.2, 0.05
MEMORY_FOLDER = "/dev/shm"
MEMORY_BYTES = 4 << 30

_PR_SET_PDEATHSIG, _PR_SET_NAME = 1, 15
_libc = ctypes.CDLL(None)


def free_port() -> int:
    """Return a TCP port of the loopback interface that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def accepts(port: int) -> bool:
    """Whether somebody accepts connections on the loopback interface's `port`."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def wait_until(condition: Callable[[], object], timeout: float = 30, message: str = "") -> None:
    """Return once `condition()` is true; AssertionError with `message` after `timeout` seconds."""
    began = time.monotonic()
    while not condition():
        if time.monotonic() > began + timeout:
            raise AssertionError(f"not within {timeout} s: {message or condition}")
        pause(began)


def pause(began: float) -> None:
    """Wait between two looks at what is waited for since `began`, by the monotonic clock."""
    so_far = time.monotonic() - began
    time.sleep(min(MOST_POLL_SECONDS, max(POLL_SECONDS, so_far * POLL_SHARE)))


def unprivileged_user() -> str | None:
    """Return whom servers that refuse to be root run as; None where we are not root anyway."""
    return UNPRIVILEGED_USER if os.geteuid() == 0 else None


def _memory_folder() -> str | None:
    with contextlib.suppress(OSError):
        if shutil.disk_usage(MEMORY_FOLDER).free > MEMORY_BYTES and os.access(
            MEMORY_FOLDER, os.W_OK
        ):
            return MEMORY_FOLDER
    return None


@contextlib.contextmanager
def server_directory(name: str) -> Iterator[Path]:
    """Yield a new folder with a short path (sockets allow 107 bytes) that a server may write to.

    In memory where there is room: making and removing thousands of files takes minutes on a disk.
    """
    directory = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=_memory_folder()))
    if user := unprivileged_user():
        entry = pwd.getpwnam(user)
        os.chown(directory, entry.pw_uid, entry.pw_gid)
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def die_with_parent() -> None:
    """Let the calling process be killed when the one that started it is gone."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def call_process(name: str) -> None:
    """Let `ps` and `top` call this process so; of what was forked they show the parent's words."""
    _libc.prctl(_PR_SET_NAME, name.encode())


class Daemon:
    """A server process in a session of its own, with what it says in a log file.

    It dies with the test run, however that ends. `user` is whom it runs as when we are root.
    """

    def __init__(
        self,
        argv: Sequence[str],
        *,
        log: Path,
        environment: Mapping[str, str] | None = None,
        user: str | None = None,
        cwd: Path | None = None,
    ) -> None:
        self.argv = list(argv)
        self.log = log
        self._environment = {**os.environ, **(environment or {})}
        self._user = user
        self._cwd = cwd
        self._popen: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The process id; only while started."""
        assert self._popen is not None, f"{self.argv[0]} was not started"
        return self._popen.pid

    @property
    def alive(self) -> bool:
        """Whether the process runs now."""
        return self._popen is not None and self._popen.poll() is None

    @property
    def exit_code(self) -> int | None:
        """What the process ended with, minus the number of a signal; None while it runs."""
        return None if self._popen is None else self._popen.poll()

    @property
    def exit_status(self) -> int | None:
        """How the process ended by itself; None while it runs and after it was killed."""
        return None if self._popen is None else self._popen.poll()

    def start(self, ready: Callable[[], object], timeout: float = 60) -> None:
        """Start the process and return once `ready()` is true; its log is in the error if not."""
        self.begin()
        self.await_ready(ready, timeout)

    def begin(self) -> None:
        """Start the process."""
        assert not self.alive, f"{self.argv[0]} runs already"
        with self.log.open("ab") as log:
            self._popen = subprocess.Popen(
                self.argv,
                env=self._environment,
                cwd=self._cwd,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                user=self._user,
                group=None if self._user is None else pwd.getpwnam(self._user).pw_gid,
                extra_groups=None if self._user is None else [],
                preexec_fn=die_with_parent,
            )

    def await_ready(self, ready: Callable[[], object], timeout: float = 60) -> None:
        """Return once `ready()` is true; else the process is killed, its log in the error."""
        assert self._popen is not None, f"{self.argv[0]} was not started"
        try:
            wait_until(lambda: not self.alive or ready(), timeout, f"{self.argv[0]} is ready")
            assert self.alive, f"{self.argv[0]} ended with {self._popen.returncode}"
        except BaseException as error:
            self.kill()
            error.add_note(self.log_tail())
            raise

    def ask_to_end(self, number: int = signal.SIGTERM) -> None:
        """Send the signal, and wait for nothing."""
        if self.alive:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def stop(self, number: int = signal.SIGTERM, timeout: float = 60) -> None:
        """Ask the process to end, and kill it if it has not after `timeout` seconds."""
        if self._popen is None:
            return
        self.ask_to_end(number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._popen.wait(timeout)
        self.kill()

    def kill(self) -> None:
        """Kill the process and everything it started, as a crash would; return when it is gone."""
        if self._popen is None:
            return
        # Once the leader is collected its number may be somebody else's.
        if self._popen.returncode is None:
            os.killpg(self._popen.pid, signal.SIGKILL)
            self._popen.wait()
        self._popen = None

    def log_tail(self, size: int = 4000) -> str:
        """Return the end of what the process said."""
        if not self.log.exists():
            return ""
        return self.log.read_bytes()[-size:].decode("utf-8", "replace")
