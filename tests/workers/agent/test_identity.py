"""One host is one node: what a worker refuses, and whom it may replace."""

from __future__ import annotations

import os
import signal
import stat
import uuid
from pathlib import Path

import pytest

from backups.models import Node, Worker
from tests.servers import Daemon, wait_until
from tests.workers.agent.conftest import Workplace, ended, workers
from workers.agent import presence
from workers.agent.identity import FILE_NAME, SpoolRefused, host_identity

NODE = uuid.uuid4()


def test_host_keeps_its_identity_in_a_file_that_only_it_may_read(tmp_path: Path) -> None:
    first = host_identity(tmp_path, NODE)
    assert host_identity(tmp_path, NODE) == first
    assert stat.S_IMODE((tmp_path / FILE_NAME).stat().st_mode) == 0o600


def test_two_spools_of_one_machine_are_two_hosts(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
    assert host_identity(tmp_path / "a", NODE) != host_identity(tmp_path / "b", NODE)


def test_spool_is_refused_when_it_is_another_nodes(tmp_path: Path) -> None:
    host_identity(tmp_path, NODE)
    with pytest.raises(SpoolRefused, match=f"belongs to another node .{NODE}"):
        host_identity(tmp_path, uuid.uuid4())


@pytest.mark.parametrize("text", ["nonsense", "{}", "[]", '{"node": "x", "host": "y"}'])
def test_error_says_what_to_do_when_the_file_is_damaged(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE_NAME).write_text(text)
    with pytest.raises(SpoolRefused) as refused:
        host_identity(tmp_path, NODE)
    assert "Remove that file" in refused.value.sentences()


def test_worker_is_dead_exactly_when_no_process_holds_its_lock(tmp_path: Path) -> None:
    lock = presence.announce(tmp_path, "web-01.1@host")
    assert list(presence.dead_workers(tmp_path)) == []
    child = os.fork()
    if not child:
        signal.pause()
        os._exit(0)
    try:
        lock.close()
        assert list(presence.dead_workers(tmp_path)) == [], "a child still holds it"
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    ((name, dead),) = presence.dead_workers(tmp_path)
    assert name == "web-01.1@host"
    assert list(presence.dead_workers(tmp_path)) == [], "one who looks at the same time"
    dead.remove()
    assert list(presence.dead_workers(tmp_path)) == []


def test_second_worker_of_one_name_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(presence, "TAKING_SECONDS", 0.3)
    lock = presence.announce(tmp_path, "web-01.1@host")
    with pytest.raises(presence.NameTaken):
        presence.announce(tmp_path, "web-01.1@host")
    lock.remove()
    presence.announce(tmp_path, "web-01.1@host").remove()


def second_host(workplace: Workplace, ready: str) -> Daemon:
    return workplace.start_worker(
        ready, HOLDFAST_SPOOL_DIRECTORY=str(workplace.directory / "other-spool")
    )


@pytest.mark.slow
def test_second_host_is_refused_while_the_first_one_beats(workplace: Workplace) -> None:
    first = workplace.start_worker()
    second = second_host(workplace, "waiting whether")
    assert ended(second) == 78
    assert "One host is one node" in second.log_tail()
    assert first.alive
    assert len(workers()) == 1
    assert Node.objects.get().held_by == Worker.objects.get().identity


@pytest.mark.slow
def test_host_takes_the_place_of_one_that_has_fallen_silent(workplace: Workplace) -> None:
    first = workplace.start_worker()
    held_by = Node.objects.get().held_by
    first.kill()  # the agent's session; nobody is left to sign off
    wait_until(lambda: not first.alive)
    second = second_host(workplace, " ready.")
    assert Node.objects.get().held_by != held_by
    assert second.alive


@pytest.mark.slow
def test_worker_that_waits_for_its_node_ends_well_when_it_gets_a_signal(
    workplace: Workplace,
) -> None:
    first = workplace.start_worker(HOLDFAST_HEARTBEAT_SECONDS="60")
    second = second_host(workplace, "waiting whether")
    os.kill(second.pid, signal.SIGTERM)
    assert ended(second) == 0
    assert first.alive
