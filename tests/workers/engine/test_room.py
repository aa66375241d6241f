"""What is said, and what is left, when a disk has too little room. Each disk here is a real one."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from tests.servers.small_disk import MEBIBYTE, SmallDisk
from workers.engine import room
from workers.engine.bundle import TreeRoot, tasks, write_dump, write_seal, write_tree
from workers.engine.bundle.archiver import Archiver
from workers.engine.bundle.facts import UNREADABLE, LeftOut, Tally
from workers.engine.bundle.later import LaterWork
from workers.engine.bundle.segment import OwnAllocator, SegmentWriter
from workers.engine.bundle.tree_reader import OpenRoot, TreeReader
from workers.engine.databases import open_database
from workers.engine.databases.base import DatabaseSpec
from workers.engine.errors import EngineError
from workers.engine.excludes import Excludes
from workers.engine.progress import SilentReporter

MakeDisk = Callable[[int], SmallDisk]


def noise(size: int, seed: bytes = b"noise") -> bytes:
    return hashlib.shake_256(seed).digest(size)


def write_files(folder: Path, number: int, size: int) -> Path:
    folder.mkdir()
    for index in range(number):
        (folder / f"{index:05}.txt").write_bytes(noise(size, b"%d" % index))
    return folder


def read_tree(tree: Path, out: Path, readers: int | None = None) -> None:
    out.mkdir()
    root = TreeRoot(tree, "wp-content")
    write_tree(out, [root], excludes=Excludes(), reporter=SilentReporter(), readers=readers)


def assert_says_disk_full(error: EngineError, disk: SmallDisk) -> None:
    assert (error.code, error.permanent) == ("disk_full", True)
    assert f"The disk of {disk.path}" in error.message
    assert "is full" in error.message
    assert disk.size_said in error.message
    assert "Free some room on the node" in error.hint


def test_numbers_are_said_when_something_would_not_fit(small_disk: MakeDisk) -> None:
    disk = small_disk(4 * MEBIBYTE)
    room.require_room(disk.path, 3 * MEBIBYTE, reserve=MEBIBYTE, purpose="the files")
    with pytest.raises(EngineError) as caught:
        room.require_room(disk.path, 3 * MEBIBYTE + 1, reserve=MEBIBYTE, purpose="the files")
    error = caught.value
    assert (error.code, error.permanent) == ("not_enough_space", True)
    for said in ("the files", "3.0 MB are needed", disk.size_said, "4.0 MB free", "1.0 MB are"):
        assert said in error.message
    assert str(disk.path) in error.message


def test_nothing_is_refused_when_the_disk_does_not_answer(tmp_path: Path) -> None:
    room.require_room(tmp_path / "gone", 1 << 60, reserve=0, purpose="the files")


def test_dump_says_what_is_full_when_it_has_no_room(small_disk: MakeDisk) -> None:
    disk = small_disk(2 * MEBIBYTE)
    pieces = (noise(MEBIBYTE, b"%d" % number) for number in range(8))
    with pytest.raises(EngineError) as caught:
        write_dump(disk.path, pieces, modified_at_ns=0, reporter=SilentReporter())
    assert_says_disk_full(caught.value, disk)


@pytest.mark.parametrize(("number", "size"), [(400, 16 << 10), (1, 20 * MEBIBYTE)])
@pytest.mark.parametrize("readers", [1, 3])
def test_files_say_what_is_full_when_a_reader_has_no_room(
    number: int, size: int, readers: int, small_disk: MakeDisk, tmp_path: Path
) -> None:
    tree = write_files(tmp_path / "tree", number, size)
    disk = small_disk(2 * MEBIBYTE)
    with pytest.raises(EngineError) as caught:
        read_tree(tree, disk.path / "out", readers)
    assert_says_disk_full(caught.value, disk)


def test_full_disk_is_no_fault_of_a_link_when_links_fill_it(
    small_disk: MakeDisk, tmp_path: Path
) -> None:
    """Reading a link and writing its header fail with the same kind of error."""
    tree = tmp_path / "tree"
    tree.mkdir()
    for number in range(3000):
        (tree / f"link{number}").symlink_to(noise(1900, b"%d" % number).hex())
    disk = small_disk(3 * MEBIBYTE)
    with pytest.raises(EngineError) as caught:
        read_tree(tree, disk.path / "out", 1)
    assert_says_disk_full(caught.value, disk)


def test_waiting_folders_say_what_is_full_when_they_have_no_room(
    small_disk: MakeDisk, tmp_path: Path
) -> None:
    """What waits for the end of the walk is in a small database of its own."""
    disk = small_disk(2 * MEBIBYTE)
    with (
        pytest.raises(EngineError) as caught,
        room.out_of_room(disk.path),
        closing(LaterWork(disk.path / "later")) as later,
    ):
        for number in range(20_000):
            later.add_folder(noise(1000, b"%d" % number))
    assert_says_disk_full(caught.value, disk)


def test_seal_says_what_is_full_when_the_manifest_has_no_room(
    small_disk: MakeDisk, tmp_path: Path
) -> None:
    tree = write_files(tmp_path / "tree", 5000, 40)
    disk = small_disk(16 * MEBIBYTE)
    read_tree(tree, disk.path / "files")
    (disk.path / "sealed").mkdir()
    disk.leave(100_000)
    with pytest.raises(EngineError) as caught:
        write_seal(disk.path / "sealed", [disk.path / "files"], facts={}, reporter=SilentReporter())
    assert_says_disk_full(caught.value, disk)
    assert (disk.path / "sealed" / "segment").stat().st_size > 0, "not in the middle of it"


def test_snapshot_says_what_is_full_when_it_has_no_room(
    small_disk: MakeDisk, tmp_path: Path
) -> None:
    file = tmp_path / "site.sqlite"
    with closing(sqlite3.connect(file)) as database, database:
        database.execute("CREATE TABLE things (thing BLOB)")
        rows = ((noise(10_000, b"%d" % number),) for number in range(500))
        database.executemany("INSERT INTO things VALUES (?)", rows)
    disk = small_disk(2 * MEBIBYTE)
    database = open_database(DatabaseSpec("sqlite", str(file)))
    with (
        pytest.raises(EngineError) as caught,
        database.dump(scratch_directory=str(disk.path), check=lambda: None),
    ):
        pytest.fail("the snapshot cannot be there")
    assert_says_disk_full(caught.value, disk)
    assert disk.used_by_tests == []


def test_disk_is_named_when_the_folder_on_it_is_gone(small_disk: MakeDisk) -> None:
    disk = small_disk(2 * MEBIBYTE)
    disk.fill()
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    error = room.disk_full(disk.path / "job" / "stage", full)
    assert f"({disk.size_said}, 0.0 MB free)" in error.message


def test_quota_is_named_when_it_is_what_is_used_up(tmp_path: Path) -> None:
    with pytest.raises(EngineError) as caught, room.out_of_room(tmp_path), room.writing():
        raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))
    assert caught.value.code == "disk_full"
    assert "The quota of the worker's user on the disk of" in caught.value.message


def test_inodes_are_named_when_they_are_what_is_used_up() -> None:
    assert str(room.Room(10 * MEBIBYTE, 5 * MEBIBYTE, has_inodes=False)) == (
        "10.0 MB in all, 5.0 MB free, but no inodes for more files"
    )


def test_other_errors_pass_when_they_do_not_come_from_writing(tmp_path: Path) -> None:
    with pytest.raises(PermissionError), room.out_of_room(tmp_path):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    with pytest.raises(EngineError) as caught, room.out_of_room(tmp_path), room.writing():
        raise OSError(errno.EACCES, os.strerror(errno.EACCES))
    assert caught.value.code == "work_directory_failed"


def test_a_write_that_fails_is_not_noted_as_a_link_that_cannot_be_read(tmp_path: Path) -> None:
    """/dev/full answers every write with the kernel's own ENOSPC, reading stays possible."""
    tree = tmp_path / "tree"
    tree.mkdir()
    for number in range(1200):
        (tree / f"link{number}").symlink_to("x" * 3900)
    tally = Tally()
    left_out = LeftOut(io.BytesIO(), tally)
    descriptors = [os.open("/dev/full", os.O_RDWR), os.open(tree, os.O_RDONLY)]
    writer = SegmentWriter(descriptors[0], io.BytesIO(), OwnAllocator(), lambda size: None)
    root = OpenRoot(descriptors[1], b"tree", os.fsencode(tree), b"")
    archiver = Archiver(writer, left_out, tally)
    reader = TreeReader([root], Excludes(), archiver, left_out, tally, lambda task: None)
    with pytest.raises(room.WriteFailed):
        reader.run(tasks.LIST + b"tree")
    assert tally.noted_as(UNREADABLE).count == 0
    for descriptor in descriptors:
        os.close(descriptor)
