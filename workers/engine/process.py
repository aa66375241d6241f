"""The only module that starts child processes, so that none is ever left behind.

Each child runs in a session of its own and is killed as a group when its work ends for whatever
reason: normally, with an error, on a stop, or because this process dies (parent-death signal).
The kernel sends that signal when the *thread* that forked ends (prctl(2), PR_SET_PDEATHSIG), so a
child must be started by the thread that waits for it; `spawn` is a context manager for that reason.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import shutil
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence

from workers.engine.errors import EngineError, Fenced

STDERR_LINES = 25
STDERR_LINE_BYTES = 2_000
CHECK_SECONDS = 0.5
TERM_GRACE_SECONDS = 10.0
READ_BYTES = 1 << 20
MASK = "********"

# What a child inherits: enough to find programs and speak UTF-8, nothing that holds a secret.
INHERITED_VARIABLES = ("PATH", "HOME", "TMPDIR", "TZ", "LD_LIBRARY_PATH", "SSL_CERT_FILE")

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


class ProgramMissing(EngineError):
    """A program that the work needs is not installed on this host."""

    code = "program_missing"


class ProcessFailed(EngineError):
    """A child ended with a non-zero status; `stderr` is the masked end of what it said."""

    code = "process_failed"

    def __init__(self, program: str, returncode: int, stderr: str) -> None:
        how = f"exit status {returncode}" if returncode >= 0 else f"signal {-returncode}"
        said = f": {stderr}" if stderr else ""
        super().__init__(f"{program} ended with {how}{said}")
        self.returncode = returncode
        self.stderr = stderr


def find_program(*names: str, hint: str = "") -> str:
    """Return the absolute path of the first of `names` on the PATH, else raise `ProgramMissing`."""
    for name in names:
        if path := shutil.which(name):
            return path
    raise ProgramMissing(
        f"None of these programs is on this host's PATH: {', '.join(names)}",
        hint=hint or f"Install {names[0]} on the node and try again.",
        permanent=True,
    )


def mask_secrets(text: str, secrets: Sequence[str]) -> str:
    """Return `text` with every occurrence of a secret blotted out, longest first."""
    for secret in sorted((secret for secret in secrets if secret), key=len, reverse=True):
        text = text.replace(secret, MASK)
    return text


class Process:
    """A running child. Made by `spawn` only."""

    def __init__(
        self,
        popen: subprocess.Popen[bytes],
        program: str,
        secrets: Sequence[str],
        check: Callable[[], None],
    ) -> None:
        assert popen.stdout is not None
        assert popen.stderr is not None
        self.pid = popen.pid
        self.program = program
        self._popen = popen
        self._secrets = secrets
        self._check = check
        self._stdout_fd = popen.stdout.fileno()
        self._stderr: deque[bytes] = deque(maxlen=STDERR_LINES)
        self._pidfd = os.pidfd_open(popen.pid)
        self._drainer = threading.Thread(target=self._drain_stderr, daemon=True)
        self._drainer.start()

    def read(self, size: int = READ_BYTES) -> bytes:
        """Return up to `size` bytes of standard output, b"" at its end; checks while it waits."""
        self._wait_for(self._stdout_fd)
        return os.read(self._stdout_fd, size)

    def chunks(self, size: int = READ_BYTES) -> Iterator[bytes]:
        """Yield standard output as it comes, then raise `ProcessFailed` unless it ended well."""
        while chunk := self.read(size):
            yield chunk
        self.finish()

    def finish(self) -> None:
        """Wait for the end; raise `ProcessFailed` unless the exit status was 0."""
        self._wait_for(self._pidfd)
        returncode = self._reap()
        if returncode != 0:
            raise ProcessFailed(self.program, returncode, self.stderr_tail())

    def stderr_tail(self) -> str:
        """Return the last lines of standard error, secrets masked."""
        self._drainer.join(timeout=2)
        text = b"\n".join(self._stderr).decode("utf-8", "replace")
        return mask_secrets(text, self._secrets).strip()

    def terminate(self, grace_seconds: float = TERM_GRACE_SECONDS) -> None:
        """End the whole group: TERM, then KILL what is still there after `grace_seconds`."""
        if self._popen.returncode is None and grace_seconds > 0:
            self._signal_group(signal.SIGTERM)
            select.select([self._pidfd], [], [], grace_seconds)
        self._reap()

    def close(self) -> None:
        """Release the descriptors; the child is gone by now."""
        # A grandchild that escaped the group could hold the pipe open: never wait for it.
        self._drainer.join(timeout=2)
        for pipe in (self._popen.stdout, self._popen.stderr):
            if pipe is not None:
                pipe.close()
        os.close(self._pidfd)

    def _wait_for(self, descriptor: int) -> None:
        while not select.select([descriptor], [], [], CHECK_SECONDS)[0]:
            self._check()

    def _signal_group(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, number)

    def _reap(self) -> int:
        """Kill what is left of the group, then collect the leader, in that order.

        While the leader is an uncollected zombie its group id cannot be given to anybody else.
        """
        if self._popen.returncode is None:
            if not select.select([self._pidfd], [], [], 0)[0]:
                self._signal_group(signal.SIGKILL)
                select.select([self._pidfd], [], [])
            self._signal_group(signal.SIGKILL)
            self._popen.wait()
        return int(self._popen.returncode)

    def _drain_stderr(self) -> None:
        """Keep the last lines of standard error, however much there is and however long a line."""
        assert self._popen.stderr is not None
        with contextlib.suppress(OSError, ValueError):
            while line := self._popen.stderr.readline(STDERR_LINE_BYTES):
                self._stderr.append(line.rstrip(b"\r\n"))


@contextlib.contextmanager
def spawn(
    argv: Sequence[str],
    *,
    environment: Mapping[str, str] | None = None,
    secrets: Sequence[str] = (),
    check: Callable[[], None] = lambda: None,
    stdin: int = subprocess.DEVNULL,
    pass_fds: Sequence[int] = (),
    cwd: str | None = None,
) -> Iterator[Process]:
    """Start `argv` and yield it as a `Process`; when the block ends, so has the child's group.

    `environment` is added to a small inherited set (see `INHERITED_VARIABLES`). `secrets` never
    belong in `argv` (any user of the host can read it); they are masked in what is quoted of
    standard error. `check` is called about twice a second while waiting, and may raise.
    Raises `ProgramMissing` when the program cannot be started.
    """
    popen = _start(argv, environment or {}, stdin, pass_fds, cwd)
    process = Process(popen, os.path.basename(argv[0]), secrets, check)  # noqa: PTH119
    try:
        yield process
        process.finish()
    except Fenced:
        process.terminate(grace_seconds=0)
        raise
    except BaseException:
        process.terminate()
        raise
    finally:
        process.close()


def run(
    argv: Sequence[str],
    *,
    environment: Mapping[str, str] | None = None,
    secrets: Sequence[str] = (),
    check: Callable[[], None] = lambda: None,
    stdin: int = subprocess.DEVNULL,
    limit: int = 16 << 20,
) -> bytes:
    """Run `argv` to its end and return its standard output; for small answers only.

    Raises `ProcessFailed`, `ProgramMissing`, or `EngineError` for more than `limit` bytes.
    """
    collected = bytearray()
    with spawn(
        argv, environment=environment, secrets=secrets, check=check, stdin=stdin
    ) as process:
        while chunk := process.read():
            collected += chunk
            if len(collected) > limit:
                raise EngineError(f"{process.program} answered more than {limit} bytes")
    return bytes(collected)


def _start(
    argv: Sequence[str],
    environment: Mapping[str, str],
    stdin: int,
    pass_fds: Sequence[int],
    cwd: str | None,
) -> subprocess.Popen[bytes]:
    inherited = {name: os.environ[name] for name in INHERITED_VARIABLES if name in os.environ}
    parent = os.getpid()
    try:
        return subprocess.Popen(
            list(argv),
            env={**inherited, "LC_ALL": "C.UTF-8", **environment},
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=tuple(pass_fds),
            cwd=cwd,
            start_new_session=True,
            # Runs between fork and exec, where other threads' locks may be held for ever: so it
            # calls only what is already imported and resolved, and takes no lock itself.
            preexec_fn=lambda: _die_with(parent),
        )
    except FileNotFoundError as error:
        raise ProgramMissing(
            f"{argv[0]} cannot be started: no such program",
            hint=f"Install {argv[0]} on the node and try again.",
            permanent=True,
        ) from error


def _die_with(parent: int) -> None:
    """Ask for SIGKILL when the parent dies; leave at once if it already has."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def python_argv(module: str) -> list[str]:
    """Return the command that runs one of our own modules with this interpreter."""
    return [sys.executable, "-m", module]
