"""The only module that starts child processes, so that none is ever left behind.

Each child runs in a session of its own and is killed as a group when its work ends for whatever
reason: normally, with an error, on a stop, or because this process dies (parent-death signal).
The kernel sends that signal when the *thread* that forked ends (prctl(2), PR_SET_PDEATHSIG), so a
child must be started by the thread that waits for it; `spawn` is a context manager for that reason.
The signal reaches the child alone: what a child has started itself is ended by the group kill,
which a SIGKILL of this process cannot run. So nothing here starts programs that fork workers.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import select
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from workers.engine.errors import EngineError, Fenced
from workers.engine.stderr import StderrTail
from workers.engine.stderr import mask_secrets as mask_secrets  # part of what this module offers

CHECK_SECONDS = 0.5
TERM_GRACE_SECONDS = 10.0
KILL_WAIT_SECONDS = 30.0
READ_BYTES = 1 << 20
PIPE_BYTES = 1 << 20
# A tool that writes 4 KiB at a time would wake its reader for each: in a millisecond a pipe gathers
# enough to be worth it, and is not full before the tool writes a gigabyte a second.
GATHER_BYTES = 1 << 16
GATHER_SECONDS = 0.001

# What a child inherits: enough to find programs and speak UTF-8, nothing that holds a secret.
INHERITED_VARIABLES = ("PATH", "HOME", "TMPDIR", "TZ", "LD_LIBRARY_PATH", "SSL_CERT_FILE")
# What every child says of itself in its environment, and hands on to what it starts.
JOB_MARK, ATTEMPT_MARK = "HOLDFAST_JOB", "HOLDFAST_ATTEMPT"

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)
_marks: dict[str, str] = {}


class ProgramMissing(EngineError):
    """A program that the work needs is not installed on this host, or cannot be executed."""

    code = "program_missing"


class ProcessFailed(EngineError):
    """A child did not end with status 0; `stderr` is the masked end of what it said.

    `returncode` is the exit status, minus the signal's number where a signal ended it, or None
    where somebody else collected the child, so that nobody knows how it ended.
    """

    code = "process_failed"

    def __init__(self, program: str, returncode: int | None, stderr: str) -> None:
        if returncode is None:
            how = "an unknown exit status"
        else:
            how = f"exit status {returncode}" if returncode >= 0 else f"signal {-returncode}"
        said = f": {stderr}" if stderr else ""
        super().__init__(f"{program} ended with {how}{said}")
        self.returncode = returncode
        self.stderr = stderr


class ProcessStuck(EngineError):
    """A child that was killed does not go away: the kernel waits for a device or a mount."""

    code = "process_stuck"


def mark_children(*, job: str = "", attempt: str = "") -> None:
    """Have whatever this process starts from now on carry in its environment whose it is.

    A process that outlives its attempt is found and ended by these marks (see `marks`). Without
    arguments, what is started from now on carries none.
    """
    _marks.clear()
    if job:
        _marks.update({JOB_MARK: job, ATTEMPT_MARK: attempt})


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
        self._stdout = popen.stdout
        self._stderr = popen.stderr
        self._check = check
        self._next_check = time.monotonic() + CHECK_SECONDS
        self._collected = False
        self._returncode: int | None = None
        self._tail = StderrTail(secrets)
        self._pidfd = os.pidfd_open(popen.pid)
        self._wake = os.eventfd(0, os.EFD_CLOEXEC)
        with contextlib.suppress(OSError):  # a bigger pipe is only quicker, and may be refused
            fcntl.fcntl(self._stdout, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        self._drainer = threading.Thread(target=self._drain_stderr, daemon=True)
        self._drainer.start()

    def read(self, size: int = READ_BYTES) -> bytes:
        """Return up to `size` bytes of standard output, b"" at its end; checks while it waits.

        The end is where the child and what is left of its group have ended: something that the
        child left running in the background does not keep the reader waiting.
        """
        output = self._stdout.fileno()  # ValueError once closed: the number may be another file's
        if output not in self._wait_for(output, self._pidfd):
            self._collect()
            if output not in _ready((output,), 0):
                return b""  # held open by something that left the group: not ours any more
        return os.read(output, size)

    def chunks(self, size: int = READ_BYTES) -> Iterator[bytes]:
        """Yield standard output as it comes, then raise `ProcessFailed` unless it ended well."""
        while chunk := self.read(size):
            yield chunk
            if len(chunk) < GATHER_BYTES:
                time.sleep(GATHER_SECONDS)
        self.finish()

    def drain(self) -> None:
        """Throw away what can be read of standard output now, for who writes to the child."""
        while _ready((self._stdout.fileno(),), 0) and os.read(self._stdout.fileno(), READ_BYTES):
            pass

    def finish(self) -> None:
        """Wait for the end; raise `ProcessFailed` unless the exit status was 0.

        What was not read of standard output is thrown away, so that the child can end.
        """
        while not self._collected and self.read():
            pass
        self._wait_for(self._pidfd)
        self._collect()
        if self._returncode != 0:
            raise ProcessFailed(self.program, self._returncode, self.stderr_tail())

    def stderr_tail(self) -> str:
        """Return the last lines of standard error, secrets masked; whole once the child ended."""
        if self._collected:
            self._end_draining()
        return self._tail.text()

    def terminate(self, grace_seconds: float = TERM_GRACE_SECONDS) -> None:
        """End the whole group: TERM, then KILL what is still there after `grace_seconds`.

        Raises `ProcessStuck` when the child cannot be killed.
        """
        try:
            if not self._collected and grace_seconds > 0:
                self._signal_group(signal.SIGTERM)
                _ready((self._pidfd,), grace_seconds)
        finally:
            self._collect()

    def close(self) -> None:
        """Release the descriptors. Never waits: something outside the group may hold the pipes."""
        self._end_draining()
        self._stdout.close()
        self._stderr.close()
        os.close(self._wake)
        os.close(self._pidfd)

    def _wait_for(self, *descriptors: int) -> set[int]:
        """Return which of `descriptors` can be read, once there is one; checks twice a second."""
        while True:
            now = time.monotonic()
            if now >= self._next_check:
                self._next_check = now + CHECK_SECONDS
                self._check()
            if ready := _ready(descriptors, CHECK_SECONDS):
                return ready

    def _signal_group(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, number)

    def _collect(self) -> None:
        """Kill what is left of the group, then collect the leader, in that order.

        While the leader is an uncollected zombie its group id cannot be given to anybody else.
        """
        if self._collected:
            return
        self._signal_group(signal.SIGKILL)
        if not _ready((self._pidfd,), KILL_WAIT_SECONDS):
            raise ProcessStuck(
                f"{self.program} (process {self.pid}) was killed but does not end",
                hint="It waits in the kernel: look at the node's disks and network mounts.",
            )
        self._collected = True
        # Not Popen.wait: that takes a child which somebody else collected for a success.
        with contextlib.suppress(ChildProcessError):
            ended = os.waitid(os.P_PIDFD, self._pidfd, os.WEXITED)
            assert ended is not None
            exited = ended.si_code == os.CLD_EXITED
            self._returncode = ended.si_status if exited else -ended.si_status
        self._popen.returncode = -1 if self._returncode is None else self._returncode

    def _end_draining(self) -> None:
        if self._drainer.is_alive():
            os.eventfd_write(self._wake, 1)
            self._drainer.join()

    def _drain_stderr(self) -> None:
        """Read standard error to its end, or to what is in the pipe once the child has ended."""
        output, left = self._stderr.fileno(), PIPE_BYTES
        while output in (ready := _ready((output, self._wake), None)) and left > 0:
            data = os.read(output, 1 << 16)
            if not data:
                return
            self._tail.feed(data)
            if self._wake in ready:
                left -= len(data)


def _ready(descriptors: Sequence[int], timeout_seconds: float | None) -> set[int]:
    """Return which of `descriptors` can be read; poll, since select stops at number 1023."""
    poller = select.poll()
    for descriptor in descriptors:
        poller.register(descriptor, select.POLLIN)
    milliseconds = None if timeout_seconds is None else timeout_seconds * 1000
    return {descriptor for descriptor, _ in poller.poll(milliseconds)}


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
    nice: int = 0,
) -> Iterator[Process]:
    """Start `argv` and yield it as a `Process`; when the block ends, so has the child's group.

    `environment` is added to a small inherited set (see `INHERITED_VARIABLES`). `secrets` never
    belong in `argv` (any user of the host can read it); they are masked in what is quoted of
    standard error. `check` is called about twice a second while waiting, and may raise; `stdin`
    is a descriptor. `nice` is added to the child's niceness.
    Raises `ProgramMissing` when the program cannot be started, `ProcessFailed` at the block's end
    when the child failed.
    """
    popen = _start(argv, environment or {}, stdin, pass_fds, cwd, nice)
    try:
        process = Process(popen, Path(argv[0]).name, secrets, check)
    except BaseException as error:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(popen.pid, signal.SIGKILL)
        popen.wait()
        if isinstance(error, ProcessLookupError):  # somebody else collected it already
            raise ProcessFailed(Path(argv[0]).name, None, "") from error
        raise
    try:
        yield process
        process.finish()
    except BaseException as error:
        # What ends the work matters more than a child that cannot be killed.
        with contextlib.suppress(ProcessStuck):
            process.terminate(0 if isinstance(error, Fenced) else TERM_GRACE_SECONDS)
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
    with spawn(argv, environment=environment, secrets=secrets, check=check, stdin=stdin) as process:
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
    nice: int,
) -> subprocess.Popen[bytes]:
    inherited = {name: os.environ[name] for name in INHERITED_VARIABLES if name in os.environ}
    parent = os.getpid()
    try:
        return subprocess.Popen(
            list(argv),
            bufsize=0,
            env={**inherited, "LC_ALL": "C.UTF-8", **environment, **_marks},
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=tuple(pass_fds),
            cwd=cwd,
            start_new_session=True,
            # Runs between fork and exec, where other threads' locks may be held for ever: so it
            # calls only what is already imported and resolved, and takes no lock itself.
            preexec_fn=lambda: _prepare_child(parent, nice),
        )
    except OSError as error:
        raise _cannot_start(argv[0], cwd, error) from error


def _cannot_start(program: str, cwd: str | None, error: OSError) -> EngineError:
    """Return what to say when the kernel refuses to start `program`, in `cwd`."""
    if cwd is not None and error.filename == cwd:
        return EngineError(f"{program} cannot be started in {cwd}: {error.strerror}")
    message = f"{program} cannot be started: {error.strerror}"
    if isinstance(error, FileNotFoundError):
        hint = f"Install {program} on the node and try again."
        return ProgramMissing(message, hint=hint, permanent=True)
    if isinstance(error, PermissionError):
        hint = f"Let the worker's user execute {program}."
        return ProgramMissing(message, hint=hint, permanent=True)
    return EngineError(message, hint="Look at the node's free memory and its process limits.")


def die_with_parent(parent: int) -> None:
    """Ask for SIGKILL when the thread of `parent` that forked us ends; leave if it already has."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def _prepare_child(parent: int, nice: int) -> None:
    """Have the child die with its parent; let TERM reach it."""
    die_with_parent(parent)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    if nice:
        os.nice(nice)


def python_argv(module: str) -> list[str]:
    """Return the command that runs one of our own modules with this interpreter."""
    return [sys.executable, "-m", module]
