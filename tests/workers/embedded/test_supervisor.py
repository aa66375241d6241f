"""The supervisor: services start, their end is noticed, and nothing outlives the demo."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.servers import wait_until
from workers.embedded import broker
from workers.embedded.supervisor import ServiceEnded, Supervisor, supervise

# A service that forks as Celery does, whose child leaves the group and the session as a dump does.
FORKING = """
import os, sys, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        open(sys.argv[1] + '/grandchild', 'w').write(str(os.getpid()))
    else:
        open(sys.argv[1] + '/child', 'w').write(str(os.getpid()))
else:
    open(sys.argv[1] + '/service', 'w').write(str(os.getpid()))
time.sleep(600)
"""
# What a demo does, in a process that a test may kill.
DEMO = """
import sys, time
from pathlib import Path
from workers.embedded.supervisor import supervise
folder = Path(sys.argv[1])
with supervise(folder, folder / "logs") as supervisor:
    ready = lambda: all((folder / name).exists() for name in ("service", "child", "grandchild"))
    argv = [sys.executable, "-c", sys.argv[2], str(folder)]
    supervisor.launch("forking", argv, environment={})
    supervisor.wait_until_ready("forking", ready, seconds=30)
    (folder / "ready").touch()
    time.sleep(600)
"""
PROJECT = Path(__file__).parents[3]


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[Supervisor]:
    with supervise(tmp_path, tmp_path / "logs") as started:
        yield started


def _started(folder: Path) -> list[int]:
    names = ("service", "child", "grandchild")
    wait_until(lambda: all((folder / name).exists() for name in names))
    wait_until(lambda: all((folder / name).read_text() for name in names))
    return [int((folder / name).read_text()) for name in names]


def _alive(process_ids: list[int]) -> list[int]:
    """Zombies are dead: in a container nobody may collect those that lost their parent."""
    alive = []
    for process_id in process_ids:
        try:
            if psutil.Process(process_id).status() != psutil.STATUS_ZOMBIE:
                alive.append(process_id)
        except psutil.NoSuchProcess:
            pass
    return alive


def test_every_descendant_ends_when_the_block_ends(tmp_path: Path) -> None:
    with supervise(tmp_path, tmp_path / "logs") as supervisor:
        argv = [sys.executable, "-c", FORKING, str(tmp_path)]
        supervisor.launch("forking", argv, environment={})
        started = _started(tmp_path)
        assert _alive(started) == started
    assert _alive(started) == []


def test_every_descendant_ends_when_the_block_raises(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), supervise(tmp_path, tmp_path / "logs") as supervisor:
        argv = [sys.executable, "-c", FORKING, str(tmp_path)]
        supervisor.launch("forking", argv, environment={})
        started = _started(tmp_path)
        raise KeyboardInterrupt
    assert _alive(started) == []


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGHUP, signal.SIGTERM])
def test_every_descendant_ends_when_the_demo_is_ended_by_a_signal(
    tmp_path: Path, number: signal.Signals
) -> None:
    demo = subprocess.Popen(
        [sys.executable, "-c", DEMO, str(tmp_path), FORKING],
        cwd=PROJECT,
        start_new_session=True,
    )
    try:
        wait_until((tmp_path / "ready").exists)
        started = _started(tmp_path)
        guards = [child.pid for child in psutil.Process(demo.pid).children()]
        assert len(guards) == 1
        os.kill(demo.pid, number)
        demo.wait(30)
        wait_until(lambda: not _alive([*guards, *started]), message="all have ended")
    finally:
        demo.kill()
        demo.wait()


def test_the_services_end_when_the_guard_is_killed(tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    script = f'echo $$ > "{ready}.partial"; mv "{ready}.partial" "{ready}"; exec sleep 600'
    with (
        pytest.raises(ServiceEnded, match="guard"),
        supervise(tmp_path, tmp_path / "logs") as supervisor,
    ):
        argv = ["/bin/sh", "-c", script]
        supervisor.launch("plain", argv, environment={})
        supervisor.wait_until_ready("plain", ready.exists, seconds=30)
        service = psutil.Process(int(ready.read_text()))
        guard = service.parent()
        assert guard is not None
        guard.kill()
        wait_until(lambda: not _alive([service.pid]))
        supervisor.check()


def test_the_error_quotes_the_log_when_a_service_ends_by_itself(supervisor: Supervisor) -> None:
    argv = ["/bin/sh", "-c", "echo what went wrong >&2; exit 3"]
    with pytest.raises(ServiceEnded, match=r"broken ended by itself.*exit status 3") as caught:
        supervisor.launch("broken", argv, environment={})
        supervisor.wait_until_ready("broken", lambda: False, seconds=30)
    assert "what went wrong" in caught.value.hint


def test_the_error_names_the_log_when_a_service_is_never_ready(supervisor: Supervisor) -> None:
    argv = ["/bin/sh", "-c", "exec sleep 600"]
    with pytest.raises(ServiceEnded, match="in vain for slow to be ready") as caught:
        supervisor.launch("slow", argv, environment={})
        supervisor.wait_until_ready("slow", lambda: False, seconds=0.3)
    assert "slow.log is empty" in caught.value.hint


def test_a_program_that_is_missing_is_named_in_the_log(supervisor: Supervisor) -> None:
    with pytest.raises(ServiceEnded) as caught:
        argv = ["/nonexistent/program"]
        supervisor.launch("missing", argv, environment={})
        supervisor.wait_until_ready("missing", lambda: False, seconds=30)
    assert "/nonexistent/program" in caught.value.hint


def test_the_environment_reaches_the_service_and_no_argument_list(
    supervisor: Supervisor, tmp_path: Path
) -> None:
    secret = "a-secret-that-ps-must-not-show"
    out = tmp_path / "seen"
    argv = ["/bin/sh", "-c", f'printf %s "$SECRET" > "{out}"; exec sleep 600']
    supervisor.launch("secretive", argv, environment={"SECRET": secret})
    supervisor.wait_until_ready(
        "secretive", lambda: out.exists() and out.read_text() == secret, seconds=30
    )
    lines = [" ".join(child.cmdline()) for child in psutil.Process().children(recursive=True)]
    assert any("sleep" in line for line in lines)
    assert not any(secret in line for line in lines)


def test_the_broker_answers_only_to_its_password(supervisor: Supervisor, tmp_path: Path) -> None:
    port = broker.free_port()
    configuration = tmp_path / "redis.conf"
    broker.write_configuration(configuration, port=port, password="right")
    assert configuration.stat().st_mode & 0o777 == 0o600
    supervisor.launch("redis", [broker.find_server(), str(configuration)], environment={})
    supervisor.wait_until_ready("redis", lambda: broker.answers(port, "right"), seconds=30)
    assert not broker.answers(port, "wrong")


def test_another_port_is_taken_when_the_preferred_one_is_in_use() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        taken = listener.getsockname()[1]
        assert broker.free_port(taken) != taken
    assert broker.free_port(taken) == taken
