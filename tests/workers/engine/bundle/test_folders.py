"""Files and bytes per top folder: the bundle's list and the restored tree say the same."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from workers.engine.bundle import BundleReader, TreeRoot, extract, folders, seal, write_tree
from workers.engine.bundle.folders import FolderCounts, files_of_parts, files_of_tree
from workers.engine.excludes import Excludes
from workers.engine.progress import SilentReporter
from workers.engine.sources import FilesSource


def counted(files) -> dict[str, dict[str, int]]:
    counts = FolderCounts()
    for path, size in files:
        counts.add(path, size)
    return counts.as_json()


def make_tree(root: Path) -> None:
    (root / "uploads" / "2024" / "01").mkdir(parents=True)
    (root / "plugins" / "a").mkdir(parents=True)
    (root / "index.php").write_bytes(b"1234")
    (root / "plugins" / "a" / 'quote"d\\.php').write_bytes(b"12")
    (root / "uploads" / "ü→🎉.jpg").write_bytes(b"123")
    (root / "uploads" / "2024" / "line\nbreak.jpg").write_bytes(b"12345")
    (root / "uploads" / "2024" / "01" / "x.jpg").write_bytes(bytes(70_000))
    with open(os.fsencode(root) + b"/uploads/\xff\xfe.jpg", "wb") as file:
        file.write(b"1")
    (root / "uploads" / "z.jpg").hardlink_to(root / "index.php")
    (root / "link").symlink_to("index.php")
    os.mkfifo(root / "pipe")


@pytest.fixture
def parts(tmp_path: Path) -> list[Path]:
    make_tree(tmp_path / "content")
    (tmp_path / "wp-config.php").write_text("<?php")
    part = tmp_path / "part"
    part.mkdir()
    roots = [
        TreeRoot(tmp_path / "wp-config.php", "wp-config.php"),
        TreeRoot(tmp_path / "content", "wp-content"),
    ]
    write_tree(part, roots, excludes=Excludes(()), reporter=SilentReporter())
    return [part]


def test_folders_are_counted_by_two_parts_of_the_path(parts: list[Path]):
    assert counted(files_of_parts(parts)) == {
        "": {"files": 1, "bytes": 5},
        "wp-content": {"files": 1, "bytes": 4},
        "wp-content/plugins": {"files": 1, "bytes": 2},
        "wp-content/uploads": {"files": 5, "bytes": 3 + 5 + 70_000 + 1},
    }
    names = {path for path, _size in files_of_parts(parts)}
    assert {b"wp-content/uploads/\xff\xfe.jpg", "wp-content/uploads/ü→🎉.jpg".encode()} <= names


def test_a_restored_tree_counts_the_same_as_its_bundle(parts: list[Path], tmp_path: Path):
    sealed_in = tmp_path / "seal"
    sealed_in.mkdir()
    sealed = seal(sealed_in, parts, facts={}, reporter=SilentReporter())
    target = tmp_path / "target"
    with FilesSource(sealed.paths) as source:
        extract(
            BundleReader(source), [b"wp-config.php", b"wp-content"], target, owners=False,
            reporter=SilentReporter(),
        )  # fmt: skip
    assert counted(files_of_tree(target)) == counted(files_of_parts(parts))
    assert sorted(files_of_tree(target)) == sorted(files_of_parts(parts))


def test_folders_above_are_counted_when_there_are_too_many(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(folders, "MOST_FOLDERS", 3)
    files = [(b"a/%d/x" % number, number) for number in range(3)]
    assert len(counted(files)) == 3
    expected = {"": {"files": 1, "bytes": 7}, "a": {"files": 4, "bytes": 6},
                "b": {"files": 1, "bytes": 1}}  # fmt: skip
    files += [(b"top", 7), (b"a/3/y", 3), (b"b/x", 1)]
    assert counted(files) == expected
    assert counted(reversed(files)) == expected


def test_nothing_is_in_an_empty_tree(tmp_path: Path):
    assert counted(files_of_tree(tmp_path)) == {}
