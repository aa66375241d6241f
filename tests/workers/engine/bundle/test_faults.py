from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.workers.engine.bundle.conftest import Built, write
from workers.engine.bundle import (
    BundleReader,
    TreeRoot,
    archiver,
    estimate_tree,
    large,
    reading,
    tasks,
    write_tree,
)
from workers.engine.bundle.archiver import Archiver
from workers.engine.bundle.facts import LeftOut, Tally
from workers.engine.bundle.headers import FolderHeaders
from workers.engine.bundle.segment import (
    OwnAllocator,
    SegmentWriter,
    open_segment,
    read_blocks,
)
from workers.engine.bundle.tree_reader import OpenRoot, TreeReader
from workers.engine.errors import EngineError
from workers.engine.excludes import DEFAULT_PATTERNS, Excludes
from workers.engine.progress import SilentReporter

PROJECT = Path(__file__).resolve().parents[4]


class InOneProcess:
    """A reader's parts without its process, to change files between two of its steps."""

    def __init__(self, folder: Path, tree: Path) -> None:
        folder.mkdir()
        self.tally = Tally()
        self.descriptor = open_segment(folder)
        self.sidecar = (folder / "members").open("wb")
        self.notes = (folder / "left-out").open("wb")
        left_out = LeftOut(self.notes, self.tally)
        writer = SegmentWriter(self.descriptor, self.sidecar, OwnAllocator(), lambda _: None)
        self.archiver = Archiver(writer, left_out, self.tally)
        self.root = os.open(tree, os.O_RDONLY)
        root = OpenRoot(self.root, b"t", os.fsencode(tree))
        self.reader = TreeReader(
            [root], Excludes(), self.archiver, left_out, self.tally, lambda _: None
        )
        self.folder = folder

    def read(self, *names: bytes) -> dict[str, dict[str, object]]:
        self.reader.run(tasks.NAMES + b"\0".join([b"t", *names]))
        self.archiver.finish()
        self.sidecar.close()
        self.notes.close()
        os.close(self.descriptor)
        os.close(self.root)
        with (self.folder / "members").open("rb") as sidecar:
            lines = b",".join(block.lines for block in read_blocks(sidecar) if block.lines)
        return {member["path"]: member for member in json.loads(b"[" + lines + b"]")}


def after_reading(monkeypatch: pytest.MonkeyPatch, change: Callable[[int], None]) -> None:
    """Have `change(count)` happen to real files each time after part of one was really read."""
    count = 0

    def read_then_change(descriptor: int, view: memoryview, offset: int) -> int:
        nonlocal count
        got = reading.read_into(descriptor, view, offset)
        change(count)
        count += 1
        return got

    monkeypatch.setattr(archiver, "read_into", read_then_change)
    monkeypatch.setattr(large, "read_into", read_then_change)


@pytest.fixture
def rig(tmp_path: Path) -> InOneProcess:
    (tmp_path / "tree").mkdir()
    return InOneProcess(tmp_path / "attempt", tmp_path / "tree")


SMALL, LARGE = 1000, 9 << 20


@pytest.mark.parametrize(("size", "name"), [(SMALL, "a.txt"), (LARGE, "a.bin"), (LARGE, "a.jpg")])
def test_the_second_state_is_kept_when_a_file_changes_once(
    rig: InOneProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int, name: str
) -> None:
    path = write(tmp_path / "tree" / name, b"a" * size, mtime_ns=10**18)
    after_reading(monkeypatch, lambda count: write(path, b"b" * size) if count == 0 else None)
    member = rig.read(name.encode())[f"t/{name}"]
    assert member["sha256"] == hashlib.sha256(b"b" * size).hexdigest()
    assert "status" not in member
    assert rig.tally.noted == {}
    assert member["mtime"].replace(".", "") == str(path.stat().st_mtime_ns)


@pytest.mark.parametrize(("size", "name"), [(SMALL, "a.txt"), (LARGE, "a.bin"), (LARGE, "a.jpg")])
@pytest.mark.parametrize("by", [100, -100])
def test_a_file_is_marked_changed_when_it_grows_or_shrinks_all_the_time(
    rig: InOneProcess,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    size: int,
    name: str,
    by: int,
) -> None:
    path = write(tmp_path / "tree" / name, b"a" * size)
    after_reading(monkeypatch, lambda count: os.truncate(path, size + by * (count + 1)))
    member = rig.read(name.encode())[f"t/{name}"]
    assert member["status"] == "changed"
    assert rig.tally.noted_as("changed").count == 1


def test_a_hole_that_is_filled_is_no_silent_loss_when_a_sparse_file_changes(
    rig: InOneProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "tree/holes"
    with path.open("wb") as file:
        file.write(b"a" * 4096)
        file.truncate(1 << 20)

    def fill(count: int) -> None:
        if count == 0:
            with path.open("r+b") as file:
                file.seek(1 << 19)
                file.write(b"b" * 4096)

    after_reading(monkeypatch, fill)
    assert rig.read(b"holes")["t/holes"]["status"] == "changed"


def test_a_file_is_listed_as_vanished_when_it_goes_between_listing_and_reading(
    rig: InOneProcess, tmp_path: Path
) -> None:
    write(tmp_path / "tree/stays", b"x")
    os.mkfifo(tmp_path / "tree/became-fifo")
    os.symlink("stays", tmp_path / "tree/became-link")
    members = rig.read(b"gone", b"became-fifo", b"became-link", b"stays")
    assert list(members) == ["t/stays"]
    assert rig.tally.noted_as("vanished").count == 3


@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_a_file_is_listed_as_unreadable_when_reading_fails(
    rig: InOneProcess, tmp_path: Path, size: int
) -> None:
    path = write(tmp_path / "tree/a.bin", b"a" * size)
    # A descriptor that is open for writing only makes every read fail, by the kernel's own word.
    descriptor = os.open(path, os.O_WRONLY)
    added = rig.archiver.add_file(descriptor, FolderHeaders(b"t"), b"a.bin", path.stat())
    os.close(descriptor)
    members = rig.read()
    assert rig.tally.noted_as("unreadable").count == 1
    if size == SMALL:
        assert added is None
        assert members == {}
    else:
        assert members["t/a.bin"]["status"] == "unreadable"


def test_a_warning_comes_when_the_kernel_refuses_to_read_a_file(
    build: Callable[..., Built], tmp_path: Path
) -> None:
    # Reading the speed of the loopback interface fails with EINVAL although it can be opened.
    source = Path("/sys/class/net/lo/speed")
    write(tmp_path / "tree/a")
    roots = [TreeRoot(tmp_path / "tree", "t"), TreeRoot(source, "speed")]
    built = build(tmp_path / "tree", roots=roots)
    assert built.tree.unreadable.count == 1
    assert built.tree.unreadable.examples[0].startswith("speed: ")
    assert any(warning.startswith("Could not be read") for warning in built.reporter.warnings)


UNPRIVILEGED = """
import json, sys
from dataclasses import asdict
from pathlib import Path
from workers.engine.bundle import TreeRoot, write_tree
from workers.engine.excludes import Excludes
from workers.engine.progress import SilentReporter
facts = write_tree(Path(sys.argv[2]), [TreeRoot(Path(sys.argv[1]), "t")], excludes=Excludes(),
                   reporter=SilentReporter())
print(json.dumps([facts.unreadable.count, sorted(facts.unreadable.examples), facts.files,
                  facts.folders]))
"""


def test_files_and_folders_are_listed_as_unreadable_when_permission_is_missing(
    tmp_path: Path,
) -> None:
    tree, out = tmp_path / "tree", tmp_path / "out"
    write(tree / "secret.txt")
    write(tree / "open.txt")
    write(tree / "closed/inside.txt")
    out.mkdir()
    (tree / "secret.txt").chmod(0)
    (tree / "closed").chmod(0)
    # Permissions do not bind root, unless it gives up the capabilities that say so.
    drop = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]
    done = subprocess.run(
        [*(drop if os.geteuid() == 0 else []), sys.executable, "-c", UNPRIVILEGED, tree, out],
        cwd=PROJECT,
        capture_output=True,
        check=True,
    )
    (tree / "closed").chmod(0o700)
    expected = ["t/closed: Permission denied", "t/secret.txt: Permission denied"]
    assert json.loads(done.stdout) == [2, expected, 1, 2]


def test_every_file_is_there_once_when_a_log_grows_while_the_tree_is_read(
    build: Callable[..., Built], tmp_path: Path
) -> None:
    path = write(tmp_path / "tree/access.txt", b"line\n" * 5_000_000)
    ended = threading.Event()

    def append() -> None:
        with path.open("ab", buffering=0) as file:
            while not ended.is_set():
                file.write(b"one more line\n")

    writer = threading.Thread(target=append)
    writer.start()
    try:
        built = build(tmp_path / "tree")
    finally:
        ended.set()
        writer.join()
    assert built.tree.changed.count == 1
    with built.source() as source:
        member = BundleReader(source).member("wp-content/access.txt")
        assert member.status == "changed"
        assert sum(map(len, BundleReader(source).read(member.path))) == member.size


def test_a_permanent_error_comes_when_a_root_is_missing_or_a_link(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    for path in (tmp_path / "missing", tmp_path / "link", Path("/dev/null")):
        out = tmp_path / f"out-{path.name}"
        out.mkdir()
        with pytest.raises(EngineError) as caught:
            write_tree(out, [TreeRoot(path, "t")], excludes=Excludes(), reporter=SilentReporter())
        assert caught.value.permanent
        assert caught.value.code == "root_unusable"


def test_what_is_excluded_is_counted_in_files_and_bytes_when_left_out(
    build: Callable[..., Built], tmp_path: Path
) -> None:
    tree = tmp_path / "tree"
    for name, size in (("cache/a", 100), ("cache/b/c", 23), ("x/node_modules/y", 7), ("e.log", 5)):
        write(tree / name, b"x" * size)
    write(tree / "kept.txt", b"kept")
    write(tree / "db.sqlite", b"dumped")
    excludes = Excludes(DEFAULT_PATTERNS, [b"wp-content/db.sqlite"])
    built = build(tree, excludes=excludes)
    counted = {key: (total.files, total.bytes) for key, total in built.tree.excluded.items()}
    assert counted.pop("(in the bundle in another form)") == (1, 6)
    assert counted == {"wp-content/cache/": (2, 123), "node_modules/": (1, 7), "*.log": (1, 5)}
    assert (built.tree.excluded_files, built.tree.excluded_bytes) == (5, 141)
    assert (built.tree.files, built.tree.bytes_total) == (1, 4)
    estimate = estimate_tree([TreeRoot(tree, "wp-content")], excludes, SilentReporter())
    assert (estimate.files, estimate.bytes) == (1, 4)


def test_the_work_is_shared_and_whole_when_a_folder_holds_very_many_files(
    build: Callable[..., Built], tmp_path: Path
) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    for number in range(5000):
        (tree / f"f{number}").write_bytes(b"%d" % number)
    built = build(tree)
    assert built.tree.files == 5000
    with built.source() as source:
        bundle = BundleReader(source)
        assert len({member.path for member in bundle.members("wp-content")}) == 5001
        assert b"".join(bundle.read("wp-content/f4321")) == b"4321"


def test_tasks_come_back_last_in_first_out_when_they_wait_in_a_file(tmp_path: Path) -> None:
    with (tmp_path / "spill").open("w+b") as spill:
        stack = tasks.TaskStack(spill, limit=1000)
        numbers = [b"task %d" % number for number in range(5000)]
        for task in numbers:
            stack.push(task)
        assert spill.seek(0, 2) > 30_000
        assert [stack.pop() for _ in range(2500)] == numbers[:2499:-1]
        stack.push(b"new")
        assert stack.pop() == b"new"
        assert [stack.pop() for _ in range(2500)] == numbers[2499::-1]
        assert len(stack) == 0
