"""The power goes at any step: what the disk has by then is enough to be as before, or as asked.

A file system of its own lies in a file. At each step the work is halted, and what was written to
that file until then is what a disk would hold; mounted anew it is settled, as after a restart.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.workers.engine.restore import test_kills
from tests.workers.engine.restore.conftest import Damaged, leftovers, make_damaged, make_switch
from tests.workers.engine.restore.test_files import assert_as_backed_up
from workers.engine.restore.exchange import sync_file_system

IMAGE_BYTES = 24 << 20


class Disk:
    """A file with a file system in it, and where that is mounted."""

    def __init__(self, folder: Path) -> None:
        self.image = folder / "disk"
        self.place = folder / "mounted"
        self.place.mkdir()

    def make(self) -> None:
        """Make an empty file system; skips the test where nobody may mount one."""
        with self.image.open("wb") as file:
            file.truncate(IMAGE_BYTES)
        tool = shutil.which("mkfs.ext4", path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
        if tool is None or os.geteuid() != 0:
            pytest.skip("needs root and mkfs.ext4")
        subprocess.run([tool, "-q", "-E", "lazy_itable_init=0", self.image], check=True)

    @contextmanager
    def mounted(self, image: Path | None = None) -> Iterator[None]:
        """Have the file system there."""
        argv = ["mount", "-o", "loop", str(image or self.image), str(self.place)]
        if subprocess.run(argv, capture_output=True, check=False).returncode:
            pytest.skip("needs leave to mount a file")
        try:
            yield
        finally:
            subprocess.run(["umount", self.place], check=True)


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    disk = Disk(tmp_path)
    disk.make()
    return disk


def halted_at(step: int, synced_at: int, work: Callable[[], object], disk: Disk) -> int | None:
    """Do the work in a child that stops at its `step`th change; return its id, None if it ended.

    At another change the kernel happens to write out all that it has by then.
    """
    pid = os.fork()
    if not pid:
        try:
            _halt_at(step, synced_at, disk.place)
            work()
            os._exit(0)
        finally:
            os._exit(1)
    status = os.waitpid(pid, os.WUNTRACED)[1]
    if os.WIFSTOPPED(status):
        return pid
    assert os.WEXITSTATUS(status) == 0
    return None


def _halt_at(step: int, synced_at: int, place: Path) -> None:
    taken = [0]

    def counted(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            number, taken[0] = taken[0], taken[0] + 1
            if number == synced_at:
                sync_file_system(place)
            if number == step:
                os.kill(os.getpid(), signal.SIGSTOP)
            return function(*args, **kwargs)

        return call

    for owner, name in test_kills.STEPS:
        setattr(owner, name, counted(getattr(owner, name)))


# Two neighbours differ by one change, so not every step is taken.
@pytest.mark.parametrize(("written_before", "stride"), [(None, 2), (5, 6)], ids=["least", "some"])
def test_site_is_as_before_or_as_asked_when_the_power_was_cut(
    disk: Disk, tmp_path: Path, written_before: int | None, stride: int
) -> None:
    with disk.mounted():
        site = make_damaged(disk.place, hard=False)
        before = site.now()
    was_asked = False
    for step in range(0, test_kills.MOST_STEPS, stride):
        begun, cut = tmp_path / "begun", tmp_path / "cut"
        shutil.copyfile(disk.image, begun)
        with disk.mounted(begun):
            synced_at = -1 if written_before is None else step - written_before
            pid = halted_at(step, synced_at, lambda: _restore(site), disk)
            shutil.copyfile(begun, cut)
            if pid is not None:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
        with disk.mounted(cut):
            site.journal.settle(make_switch)
            assert leftovers(site.folder) == []
            if (site.site / "wp-config.php").read_bytes() == b"<?php // old":
                assert_as_backed_up(site)
                was_asked = True
            else:
                assert site.now() == before
                assert not was_asked, f"step {step} undoes what was done"
        if pid is None:
            assert was_asked
            return
    pytest.fail("the work never came to its end")


def _restore(site: Damaged) -> None:
    site.journal.commit(site.prepare())
    site.journal.settle(make_switch)
