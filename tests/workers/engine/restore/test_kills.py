"""Whoever is killed, at any step: the next one makes the site as it was, or as was asked."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.workers.engine.restore.conftest import Damaged, leftovers, make_damaged, make_switch
from tests.workers.engine.restore.test_files import assert_as_backed_up
from workers.engine.errors import EngineError
from workers.engine.restore import exchange, file_switch, files, journal
from workers.engine.restore.file_switch import FileSwitch

# Everything that changes something, where it is looked up; pathlib and shutil call these of `os`.
STEPS: tuple[tuple[object, str], ...] = (
    (file_switch, "exchange"),
    (file_switch, "move"),
    (file_switch, "sync_folder"),
    (file_switch, "sync_file_system"),
    (journal, "sync_folder"),
    *((os, name) for name in ("link", "utime", "rename", "replace", "unlink", "mkdir", "rmdir")),
    *((os, name) for name in ("chmod", "chown", "fchmod", "fchown")),
)
# More than any of these works has.
MOST_STEPS = 400

Sites = Iterator[tuple[int, Damaged]]


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Damaged:
    return make_damaged(tmp_path_factory.mktemp("template"), hard=False)


@pytest.fixture(autouse=True)
def nothing_waits_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who is killed leaves what it wrote to the kernel; the disk matters for power cuts only."""
    for module in (file_switch, files, journal):
        for name in ("sync_folder", "sync_file_system"):
            monkeypatch.setattr(module, name, lambda folder: None, raising=False)
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


def copies(template: Damaged, folder: Path) -> Sites:
    """Yield numbers from 0, each with a site that nobody has touched yet."""
    for step in range(MOST_STEPS):
        copy = folder / str(step)
        copy.mkdir()
        subprocess.run(["cp", "-a", template.site.parent, copy], check=True)
        yield step, replace(template, folder=copy, site=copy / "www" / "site")
    pytest.fail("the work never came to its end")


def killed_at(step: int, work: Callable[[], object], *, supported: bool) -> bool:
    """Do the work in a child that is killed at its `step`th change; False if it had fewer."""
    pid = os.fork()
    if not pid:
        try:
            _die_at(step, supported)
            work()
            os._exit(0)
        finally:
            os._exit(1)
    status = os.waitpid(pid, 0)[1]
    if os.WIFSIGNALED(status):
        return True
    assert os.WEXITSTATUS(status) == 0
    return False


def _die_at(step: int, supported: bool) -> None:
    left = [step]

    def counted(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left[0] -= 1
            return function(*args, **kwargs)

        return call

    if not supported:

        def unsupported(one: Path, other: Path) -> None:
            raise exchange.ExchangeUnsupported

        file_switch.exchange = unsupported
    for owner, name in STEPS:
        setattr(owner, name, counted(getattr(owner, name)))


class Refusing(FileSwitch):
    """A switch whose place will not have it."""

    def switch(self) -> None:
        raise EngineError("it refuses")


def refusing(record: Any) -> FileSwitch:
    """Return the switch of a record; that of the configuration, the last one, refuses."""
    is_last = record["target"].endswith("wp-config.php")
    return (Refusing if is_last else FileSwitch).from_record(record)


def assert_as_before_or_as_asked(damaged: Damaged, before: dict[bytes, Any]) -> None:
    assert leftovers(damaged.folder) == []
    if (damaged.site / "wp-config.php").read_bytes() == b"<?php // old":
        assert_as_backed_up(damaged)
    else:
        assert damaged.now() == before


both_ways = pytest.mark.parametrize("supported", [True, False], ids=["exchange", "two-renames"])


@both_ways
def test_site_is_as_before_or_as_asked_when_the_commit_is_killed(
    template: Damaged, tmp_path: Path, supported: bool
) -> None:
    for step, small in copies(template, tmp_path):
        before = small.now()
        switches = small.prepare()

        def work(small: Damaged = small, switches: list[FileSwitch] = switches) -> None:
            small.journal.commit(switches)
            small.journal.settle(make_switch)

        if not killed_at(step, work, supported=supported):
            assert_as_backed_up(small)
            return
        # So is the one that settles, at the same step of its own work; the third one is not.
        killed_at(step, partial(small.journal.settle, make_switch), supported=supported)
        small.journal.settle(make_switch)
        assert_as_before_or_as_asked(small, before)


@both_ways
def test_site_is_as_before_when_the_one_that_takes_back_is_killed(
    template: Damaged, tmp_path: Path, supported: bool
) -> None:
    for step, small in copies(template, tmp_path):
        before = small.now()
        switches = small.prepare()

        def work(small: Damaged = small, switches: list[FileSwitch] = switches) -> None:
            records = [refusing(switch.record()) for switch in switches]
            with pytest.raises(EngineError, match="it refuses"):
                small.journal.commit(records)
            small.journal.settle(refusing)

        was_killed = killed_at(step, work, supported=supported)
        killed_at(step, partial(small.journal.settle, refusing), supported=supported)
        assert small.journal.settle(refusing) == ""
        assert leftovers(small.folder) == []
        assert small.now() == before
        if not was_killed:
            return


def test_site_is_as_before_when_the_preparation_is_killed(
    template: Damaged, tmp_path: Path
) -> None:
    for step, small in copies(template, tmp_path):
        before = small.now()
        was_killed = killed_at(step, small.prepare, supported=True)
        killed_at(step, partial(small.journal.settle, make_switch), supported=True)
        small.journal.settle(make_switch)
        assert leftovers(small.folder) == []
        assert small.now() == before
        if not was_killed:
            return
