from __future__ import annotations

import contextlib
import os
import resource
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import psutil
import pytest

from tests.servers import wait_until
from workers.engine.errors import EngineError, Fenced, StopRequested
from workers.engine.process import (
    ProcessFailed,
    ProgramMissing,
    find_program,
    python_argv,
    run,
    spawn,
)
from workers.engine.stderr import MASK, STDERR_LINE_BYTES, StderrTail, mask_secrets

ROOT = Path(__file__).parents[3]


def gone(pid: int) -> bool:
    """Whether no process of that number runs; a zombie that init has yet to collect is gone."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    return True


def shell(script: str) -> list[str]:
    return ["sh", "-c", script]


def python(script: str) -> list[str]:
    return [sys.executable, "-c", textwrap.dedent(script)]


class Told:
    """A check that raises `error` from its second call on, as an agent's message would come."""

    def __init__(self, error: BaseException) -> None:
        self.calls = 0
        self.error = error

    def __call__(self) -> None:
        self.calls += 1
        if self.calls > 1:
            raise self.error


def test_output_comes_while_the_child_still_runs_when_read(tmp_path: Path) -> None:
    go_on = tmp_path / "go-on"
    script = f"echo first; while [ ! -e {go_on} ]; do sleep 0.02; done; echo second"
    with spawn(shell(script)) as process:
        assert process.read() == b"first\n"
        go_on.touch()
        assert b"".join(process.chunks()) == b"second\n"


def test_child_dies_with_its_grandchildren_when_the_block_raises() -> None:
    pids: list[int] = []
    with pytest.raises(RuntimeError), spawn(shell("sleep 1000 & echo $! $$; wait")) as process:
        pids += map(int, process.read().split())
        raise RuntimeError
    assert len(pids) == 2
    wait_until(lambda: all(map(gone, pids)), message="the whole group ends")


def test_grandchild_dies_when_its_parent_ends_well() -> None:
    with spawn(shell("sleep 1000 & echo $!")) as process:
        pid = int(b"".join(process.chunks()))
    wait_until(lambda: gone(pid), message="the grandchild ends")


def test_child_is_collected_when_the_block_ends() -> None:
    with spawn(shell("echo done")) as process:
        pass
    assert not psutil.pid_exists(process.pid)


def test_stop_ends_a_silent_child_when_check_raises() -> None:
    told = Told(StopRequested())
    with pytest.raises(StopRequested), spawn(["sleep", "1000"], check=told) as process:
        process.read()
    assert told.calls == 2
    assert not psutil.pid_exists(process.pid)


def test_stop_ends_a_talking_child_when_check_raises() -> None:
    with pytest.raises(StopRequested), spawn(["yes"], check=Told(StopRequested())) as process:
        for _ in process.chunks():
            pass
    assert not psutil.pid_exists(process.pid)


TELLS_OF_TERM = """
    import os, signal, sys, time
    def told(*_):
        open(sys.argv[1], "w").close()
        os._exit(0)
    signal.signal(signal.SIGTERM, told)
    print("ready", flush=True)
    time.sleep(1000)
"""


@pytest.mark.parametrize(
    ("error", "was_asked"), [(StopRequested(), True), (Fenced(), False), (RuntimeError(), True)]
)
def test_child_is_asked_first_when_stopped_but_killed_at_once_when_fenced(
    tmp_path: Path, error: BaseException, was_asked: bool
) -> None:
    asked = tmp_path / "asked"
    with pytest.raises(type(error)), spawn([*python(TELLS_OF_TERM), str(asked)]) as process:
        assert process.read() == b"ready\n"
        raise error
    assert asked.exists() == was_asked
    assert not psutil.pid_exists(process.pid)


@pytest.mark.parametrize("stopped_by", ["ignoring", "suspended"])
def test_child_is_killed_when_it_does_not_heed_term(
    monkeypatch: pytest.MonkeyPatch, stopped_by: str
) -> None:
    monkeypatch.setattr("workers.engine.process.TERM_GRACE_SECONDS", 0.2)
    with (
        pytest.raises(StopRequested),
        spawn(shell("trap '' TERM; echo ready; while :; do sleep 1; done")) as process,
    ):
        assert process.read() == b"ready\n"
        if stopped_by == "suspended":
            os.kill(process.pid, signal.SIGSTOP)
        raise StopRequested
    assert not psutil.pid_exists(process.pid)


def test_term_reaches_the_child_when_the_parent_has_blocked_it(tmp_path: Path) -> None:
    asked = tmp_path / "asked"
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        with (
            pytest.raises(StopRequested),
            spawn([*python(TELLS_OF_TERM), str(asked)]) as process,
        ):
            assert process.read() == b"ready\n"
            raise StopRequested
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    assert asked.exists()


def test_child_dies_when_the_parent_is_killed() -> None:
    script = """
        from workers.engine.process import spawn
        with spawn(["sleep", "1000"]) as process:
            print(process.pid, flush=True)
            process.read()
    """
    parent = subprocess.Popen(python(script), cwd=ROOT, stdout=subprocess.PIPE)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    assert not gone(child)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    wait_until(lambda: gone(child), message="the child dies with its parent")


def test_nothing_hangs_when_an_escaped_grandchild_holds_the_pipes() -> None:
    escaped_yet = "[ $(cut -d ' ' -f 6 /proc/$!/stat) = $! ]"  # field 6 is the session
    script = f"setsid sleep 1000 & until {escaped_yet}; do :; done; echo $!; echo said >&2"
    with spawn(shell(script)) as process:
        escaped = int(process.read())
        assert process.read() == b""
        process.finish()
        assert process.stderr_tail() == "said"
    assert not gone(escaped)
    os.kill(escaped, signal.SIGKILL)


def test_the_child_ends_when_its_output_is_not_read() -> None:
    with spawn(["head", "-c", "5000000", "/dev/zero"]):
        pass


def test_error_names_the_status_and_what_was_said_when_the_child_fails() -> None:
    with pytest.raises(ProcessFailed) as failure, spawn(shell("echo no room >&2; exit 3")):
        pass
    assert failure.value.returncode == 3
    assert failure.value.message == "sh ended with exit status 3: no room"
    assert not failure.value.permanent


def test_error_names_the_signal_when_the_child_is_killed() -> None:
    with pytest.raises(ProcessFailed, match="signal 9") as failure, spawn(["sleep", "1000"]) as it:
        os.kill(it.pid, signal.SIGKILL)
    assert failure.value.returncode == -9


def test_chunks_raise_when_the_child_fails_after_its_output() -> None:
    seen = b""
    with pytest.raises(ProcessFailed), spawn(shell("echo half; exit 1")) as process:
        for chunk in process.chunks():
            seen += chunk
    assert seen == b"half\n"


def test_a_lost_exit_status_is_a_failure_when_somebody_else_collects_children() -> None:
    script = """
        import signal
        from workers.engine.process import ProcessFailed, run
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        try:
            run(["true"])
        except ProcessFailed as error:
            print(error.returncode, error.message)
    """
    answer = subprocess.run(python(script), cwd=ROOT, capture_output=True, check=True)
    assert answer.stdout == b"None true ended with an unknown exit status\n"


def test_only_the_last_25_lines_are_quoted_when_much_is_said() -> None:
    with pytest.raises(ProcessFailed) as failure, spawn(shell("seq 100000 >&2; exit 1")):
        pass
    assert failure.value.stderr.split("\n") == [str(n) for n in range(99976, 100001)]


@pytest.mark.parametrize("what", ["/dev/zero", "newlines"])
def test_memory_stays_small_when_standard_error_floods(what: str) -> None:
    source = "head -c 500000000 /dev/zero" if what == "/dev/zero" else "yes '' | head -c 100000000"
    script = f"""
        import resource, sys
        from workers.engine.process import spawn
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        with spawn(["sh", "-c", "({source}) >&2; echo >&2; echo the end >&2"]) as process:
            process.finish()
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        assert process.stderr_tail().endswith("the end"), process.stderr_tail()[-100:]
        print(grown)
    """
    answer = subprocess.run(python(script), cwd=ROOT, capture_output=True, check=False)
    assert answer.returncode == 0, answer.stderr
    assert int(answer.stdout) < 8_000  # KiB


@pytest.mark.parametrize("password", ["hunter2", "p@ss w/ %", 'quo"te', "zwei\nzeilen", "é€"])
def test_secrets_are_masked_when_the_child_repeats_them(password: str) -> None:
    script = """
        import os, sys, urllib.parse
        password = os.environ["P"]
        print(password, urllib.parse.quote(password, safe=""), file=sys.stderr)
        sys.exit(1)
    """
    with (
        pytest.raises(ProcessFailed) as failure,
        spawn(python(script), environment={"P": password}, secrets=[password]),
    ):
        pass
    said = str(failure.value)
    assert MASK in said
    for part in password.splitlines():
        assert part not in said


def test_no_part_of_a_secret_is_left_when_a_long_line_is_cut_within_it() -> None:
    secret = "correct horse battery staple"
    for shown in range(1, len(secret)):
        tail = StderrTail([secret])
        tail.feed(b"x" * (STDERR_LINE_BYTES + 1 - shown) + secret.encode() + b" and on" * 100)
        assert "c" not in tail.text()


def test_longer_secrets_are_masked_whole_when_one_is_part_of_another() -> None:
    assert mask_secrets("abc-abcdef", ["abc", "abcdef", ""]) == f"{MASK}-{MASK}"


def test_messages_stay_readable_when_the_secret_is_very_short() -> None:
    said = "permission denied, p was refused: 'p'"
    assert mask_secrets(said, ["p"]) == f"permission denied, {MASK} was refused: '{MASK}'"


@pytest.mark.parametrize("size", [1, 7, 100_000])
def test_the_tail_is_the_same_when_it_comes_in_other_pieces(size: int) -> None:
    text = b"".join(b"%d\r\n" % n + b"y" * (n * 40) + b"\n" for n in range(90)) + b"no newline"
    tail = StderrTail([])
    for start in range(0, len(text), size):
        tail.feed(text[start : start + size])
    lines = tail.text().split("\n")
    assert len(lines) == 25
    assert lines[-1] == "no newline"
    assert lines[-3] == "89"
    assert lines[-2] == "y" * (STDERR_LINE_BYTES + 1) + "…"


def test_program_missing_when_there_is_no_such_program() -> None:
    with pytest.raises(ProgramMissing) as failure, spawn(["/no/such/program"]):
        pass
    assert failure.value.permanent
    assert "Install /no/such/program" in failure.value.hint
    with pytest.raises(ProgramMissing, match="no-such-a, no-such-b"):
        find_program("no-such-a", "no-such-b")


def test_program_missing_when_it_may_not_be_executed(tmp_path: Path) -> None:
    (tmp_path / "tool").write_text("#!/bin/sh\n")
    with pytest.raises(ProgramMissing, match="Permission denied") as failure:
        run([str(tmp_path / "tool")])
    assert failure.value.permanent
    assert "execute" in failure.value.hint


def test_error_names_the_folder_when_there_is_no_such_folder(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="absent") as failure:
        spawn(["true"], cwd=str(tmp_path / "absent")).__enter__()
    assert not isinstance(failure.value, ProgramMissing)


def test_error_is_temporary_when_the_kernel_refuses_to_start() -> None:
    with pytest.raises(EngineError, match="Argument list too long") as failure:
        run(["true", "x" * 3_000_000])
    assert not failure.value.permanent


def test_program_is_found_when_one_of_the_names_exists() -> None:
    assert find_program("no-such-program", "sh").endswith("/sh")


def test_reads_work_when_descriptors_are_beyond_1023() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))
    held = [os.open("/dev/null", os.O_RDONLY) for _ in range(1100)]
    try:
        assert run(["echo", "far"]) == b"far\n"
    finally:
        for descriptor in held:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_no_descriptor_is_left_when_children_end_in_any_way() -> None:
    def open_descriptors() -> int:
        return len(os.listdir("/proc/self/fd"))

    before = open_descriptors()
    run(["true"])
    for argv in (["false"], ["/no/such"]):
        with pytest.raises(EngineError):
            run(argv)
    with pytest.raises(Fenced), spawn(["sleep", "1000"]):
        raise Fenced
    assert open_descriptors() == before


def test_reading_is_refused_when_the_child_was_closed() -> None:
    with spawn(["echo", "x"]) as process:
        pass
    with pytest.raises(ValueError, match="closed"):
        process.read()


def test_reading_goes_on_to_the_end_when_the_child_has_ended_meanwhile() -> None:
    with spawn(["echo", "kept"]) as process:
        wait_until(lambda: psutil.Process(process.pid).status() == psutil.STATUS_ZOMBIE)
        assert process.read() == b"kept\n"
        assert process.read() == b""
        assert process.read() == b""


def test_answer_is_refused_when_it_is_longer_than_the_limit() -> None:
    with pytest.raises(EngineError, match="more than 1000 bytes"):
        run(["yes"], limit=1000)


def test_environment_holds_no_secret_of_ours_when_a_child_starts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HOLDFAST_SECRET_KEY", "s3cret")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s3cret")
    answer = run(["env"], environment={"GIVEN": "yes"})
    assert b"s3cret" not in answer
    assert b"GIVEN=yes" in answer
    assert b"PATH=" in answer


def test_descriptors_reach_the_child_only_when_passed(tmp_path: Path) -> None:
    target = os.open(tmp_path / "out", os.O_WRONLY | os.O_CREAT)
    with spawn(["bash", "-c", f"echo through >&{target}"], pass_fds=[target]):
        pass
    with pytest.raises(ProcessFailed):
        run(["bash", "-c", f"echo through >&{target}"])
    os.close(target)
    assert (tmp_path / "out").read_text() == "through\n"


def test_child_is_nicer_when_asked_to_be() -> None:
    with spawn(["nice"], nice=7) as process:
        assert int(b"".join(process.chunks())) == os.nice(0) + 7


def test_child_works_in_the_folder_when_given(tmp_path: Path) -> None:
    with spawn(["pwd"], cwd=str(tmp_path)) as process:
        assert b"".join(process.chunks()) == os.fsencode(tmp_path) + b"\n"


def test_our_own_module_runs_when_named() -> None:
    assert b"usage" in run([*python_argv("json.tool"), "--help"])


def test_nothing_is_left_when_the_process_object_cannot_be_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    started: list[int] = []

    def refuse(pid: int) -> int:
        started.append(pid)
        raise OSError("too many open files")

    monkeypatch.setattr("os.pidfd_open", refuse)
    with pytest.raises(OSError, match="too many"), spawn(["sleep", "1000"]):
        pass
    assert not psutil.pid_exists(started[0])


def test_check_is_asked_again_and_again_when_the_child_is_silent(tmp_path: Path) -> None:
    enough = tmp_path / "enough"
    calls: list[int] = []

    def check() -> None:
        calls.append(1)
        if len(calls) == 3:
            enough.touch()

    run(shell(f"while [ ! -e {enough} ]; do sleep 0.02; done"), check=check)
    assert len(calls) >= 3
