"""Whoever is killed, at any step: the next one makes the site as it was, or as was asked."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.workers.engine.restore.conftest import Damaged, leftovers, make_switch
from tests.workers.engine.restore.test_files import assert_as_backed_up
from workers.engine.restore import exchange, file_switch, journal

# Everything that changes something, where it is looked up.
STEPS: tuple[tuple[object, str], ...] = (
    (file_switch, "exchange"),
    (file_switch, "move"),
    (file_switch, "sync_folder"),
    (os, "link"),
    (os, "utime"),
    (file_switch.shutil, "rmtree"),
    (Path, "rename"),
    (Path, "replace"),
    (Path, "unlink"),
    (Path, "mkdir"),
    (Path, "rmdir"),
    (journal, "sync_folder"),
)


def killed_at(step: int, work: Callable[[], object], *, supported: bool) -> bool:
    """Do the work in a child that is killed at its `step`th change; False if it had fewer."""
    pid = os.fork()
    if not pid:
        _die_at(step, supported)
        work()
        os._exit(0)
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


@pytest.mark.parametrize("supported", [True, False], ids=["exchange", "two-renames"])
@pytest.mark.parametrize("step", range(40))
def test_site_is_as_before_or_as_asked_when_the_commit_is_killed(
    small: Damaged, step: int, supported: bool
) -> None:
    before = small.now()
    switches = small.prepare()

    def work() -> None:
        small.journal.commit(switches)
        small.journal.settle(make_switch)

    if not killed_at(step, work, supported=supported):
        assert_as_backed_up(small)
        return
    # So is the one that settles, at the same step of its own work; the third one is not.
    killed_at(step, lambda: small.journal.settle(make_switch), supported=supported)
    small.journal.settle(make_switch)
    assert leftovers(small.folder) == []
    if (small.site / "wp-config.php").read_bytes() == b"<?php // old":
        assert_as_backed_up(small)
    else:
        assert small.now() == before
