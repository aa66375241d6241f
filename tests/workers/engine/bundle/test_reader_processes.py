"""The processes that read a tree: killed, hanging, stopped, out of room, among many files."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest

from tests.workers.engine.bundle.conftest import write
from workers.engine.bundle import ReaderLost, TreeRoot, tasks, write_tree
from workers.engine.errors import StopRequested
from workers.engine.excludes import Excludes
from workers.engine.progress import SilentReporter

PROJECT = Path(__file__).resolve().parents[4]


def reader_processes() -> list[psutil.Process]:
    found = []
    for child in psutil.Process().children():
        # One that was killed just now has no command line any more.
        with contextlib.suppress(psutil.Error):
            if any("bundle.reader_process" in word for word in child.cmdline()):
                found.append(child)
    return found


class Killer(SilentReporter):
    """Kills a reader after the first bytes."""

    def advance(self, bytes_done: int) -> None:
        for process in reader_processes()[:1]:
            process.kill()
        super().advance(bytes_done)


def make_large_tree(tree: Path) -> None:
    for number in range(12):
        write(tree / f"file-{number}.jpg", bytes([number]) * (6 << 20))


def test_an_error_comes_when_a_reader_is_killed(tmp_path: Path) -> None:
    make_large_tree(tmp_path / "tree")
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(ReaderLost, match="signal 9") as caught:
        write_tree(out, [TreeRoot(tmp_path / "tree", "t")], excludes=Excludes(), reporter=Killer())
    assert not caught.value.permanent
    assert reader_processes() == []
    assert not (out / "members").exists()


class Stopper(SilentReporter):
    def check(self) -> None:
        if self.bytes_done > 8 << 20:
            raise StopRequested


def test_the_readers_are_gone_when_a_stop_comes_in_the_middle(tmp_path: Path) -> None:
    make_large_tree(tmp_path / "tree")
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(StopRequested):
        write_tree(out, [TreeRoot(tmp_path / "tree", "t")], excludes=Excludes(), reporter=Stopper())
    assert reader_processes() == []


class Suspender(SilentReporter):
    """Suspends every reader as soon as there is one, and stops once it was asked again."""

    def __init__(self, after_bytes: int) -> None:
        super().__init__()
        self.after_bytes = after_bytes
        self.suspended = 0

    def check(self) -> None:
        if self.suspended:
            raise StopRequested
        if self.bytes_done >= self.after_bytes:
            for process in reader_processes():
                process.suspend()
                self.suspended += 1


@pytest.mark.parametrize("after_bytes", [0, 8 << 20])
def test_a_stop_is_heard_and_ends_the_readers_when_they_hang(
    tmp_path: Path, after_bytes: int
) -> None:
    make_large_tree(tmp_path / "tree")
    out = tmp_path / "out"
    out.mkdir()
    reporter = Suspender(after_bytes)
    with pytest.raises(StopRequested):
        write_tree(out, [TreeRoot(tmp_path / "tree", "t")], excludes=Excludes(), reporter=reporter)
    assert reporter.suspended
    assert reader_processes() == []


def test_a_stop_is_heard_when_nobody_takes_a_long_message() -> None:
    asked = 0

    def check() -> None:
        nonlocal asked
        asked += 1
        if asked == 2:
            raise StopRequested

    ours, theirs = socket.socketpair()
    with ours, theirs, pytest.raises(StopRequested):
        tasks.Channel(ours).send_checked(tasks.TASKS, bytes(8 << 20), check)


def test_a_long_message_arrives_whole_when_it_is_taken_slowly() -> None:
    ours, theirs = socket.socketpair()
    payload = os.urandom(4 << 20)
    with ours, theirs:
        sender = threading.Thread(
            target=tasks.Channel(ours).send_checked, args=(tasks.TASKS, payload, lambda: None)
        )
        sender.start()
        assert next(tasks.Channel(theirs).messages()) == (tasks.TASKS, payload)
        sender.join()


MANY_DESCRIPTORS = """
import os, resource, sys
from pathlib import Path
resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))
held = [os.open(os.devnull, os.O_RDONLY) for _ in range(3000)]
from workers.engine.bundle import TreeRoot, write_tree
from workers.engine.excludes import Excludes
from workers.engine.progress import SilentReporter
print(write_tree(Path(sys.argv[2]), [TreeRoot(Path(sys.argv[1]), "t")], excludes=Excludes(),
                 reporter=SilentReporter()).files)
"""


def test_a_tree_is_written_when_the_process_has_thousands_of_files_open(tmp_path: Path) -> None:
    write(tmp_path / "tree/a")
    out = tmp_path / "out"
    out.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", MANY_DESCRIPTORS, str(tmp_path / "tree"), str(out)],
        cwd=PROJECT,
        capture_output=True,
        check=True,
    )
    assert done.stdout == b"1\n"


FULL = """
import resource, sys
from pathlib import Path
resource.setrlimit(resource.RLIMIT_FSIZE, (5 << 20, 5 << 20))
from workers.engine.bundle import TreeRoot, write_tree
from workers.engine.errors import EngineError
from workers.engine.excludes import Excludes
from workers.engine.progress import SilentReporter
try:
    write_tree(Path(sys.argv[2]), [TreeRoot(Path(sys.argv[1]), "t")], excludes=Excludes(),
               reporter=SilentReporter())
except EngineError as error:
    print(error.code, error.message)
"""


def test_a_clear_error_comes_when_nothing_more_can_be_written(tmp_path: Path) -> None:
    make_large_tree(tmp_path / "tree")
    out = tmp_path / "out"
    out.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path / "tree"), str(out)],
        cwd=PROJECT,
        capture_output=True,
        check=True,
        text=True,
    )
    assert done.stdout.startswith("work_directory_failed The bundle cannot be written to"), done
