"""The demo's comparison is only worth something if it finds each difference: all are planted."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from workers.embedded.compare_databases import compare_databases, load_dump
from workers.embedded.compare_files import FileComparison, compare_files
from workers.embedded.sample_database import write_database
from workers.embedded.sample_site import SMALL, make_sample_site

NAMES = ("wp-config.php", "wp-content")
RARE = "wp-content/uploads/rare"


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pristine") / "site"
    make_sample_site(path, SMALL)
    return path


@pytest.fixture
def copy(pristine: Path, tmp_path: Path) -> Path:
    """A copy by hand, since copytree keeps neither hard links nor times of links."""
    make_sample_site(tmp_path / "copy", SMALL)
    return tmp_path / "copy"


def _compare(source: Path, restored: Path) -> FileComparison:
    return compare_files({name: source / name for name in NAMES}, restored)


def test_trees_are_the_same_when_nothing_differs(pristine: Path, copy: Path) -> None:
    found = _compare(pristine, copy)
    expected = [path for name in NAMES for path in (pristine / name, *(pristine / name).rglob("*"))]
    files = [path for path in expected if path.is_file() and not path.is_symlink()]
    assert found.differences == ()
    assert found.left_out == ()
    assert found.files == len(files)
    assert found.bytes_compared == sum(path.stat().st_size for path in files)


def _keeping_time(path: Path, change: Callable[[Path], object]) -> None:
    before, parent = path.lstat(), path.parent.stat()
    change(path)
    with contextlib.suppress(FileNotFoundError):
        os.utime(path, ns=(before.st_mtime_ns, before.st_mtime_ns), follow_symlinks=False)
    os.utime(path.parent, ns=(parent.st_mtime_ns, parent.st_mtime_ns))


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def _break_hard_link(path: Path) -> None:
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content)


def _relink(path: Path) -> None:
    path.unlink()
    path.symlink_to("elsewhere")


def _replace_by_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


PLANTED = {
    "content": (f"{RARE}/original.bin", _flip, "has another content"),
    "size": (f"{RARE}/private.txt", lambda path: path.write_bytes(b"short"), "became 5"),
    "mode": (f"{RARE}/restart.sh", lambda path: path.chmod(0o644), "mode 755 became 644"),
    "folder mode": (f"{RARE}/an empty folder", lambda path: path.chmod(0o700), "became 700"),
    "hard link": (f"{RARE}/same-as-original.bin", _break_hard_link, "hard link"),
    "target": (f"{RARE}/link-to-nothing", _relink, "points elsewhere"),
    "type": (f"{RARE}/an empty file.txt", _replace_by_folder, "another type"),
    "single file": ("wp-config.php", lambda path: path.write_bytes(b"x"), "became 1"),
}


@pytest.mark.parametrize("name", PLANTED)
def test_the_difference_is_found_when_one_is_planted(pristine: Path, copy: Path, name: str) -> None:
    path, change, expected = PLANTED[name]
    _keeping_time(copy / path, change)
    found = _compare(pristine, copy)
    assert any(path == one.path and expected in one.what for one in found.differences)
    # A changed inode shows under both names of the file, nothing else may show.
    assert {one.path for one in found.differences} <= {
        path,
        f"{RARE}/same-as-original.bin",
        f"{RARE}/original.bin",
    }


def test_the_difference_is_found_when_a_time_is_off_by_a_nanosecond(
    pristine: Path, copy: Path
) -> None:
    path = copy / RARE / "private.txt"
    moment = path.stat().st_mtime_ns + 1
    os.utime(path, ns=(moment, moment))
    (found,) = _compare(pristine, copy).differences
    assert "modification time" in found.what


def test_the_difference_is_found_when_the_owner_differs(pristine: Path, copy: Path) -> None:
    path = copy / RARE / "private.txt"
    if os.geteuid() != 0:  # who may not give files away cannot restore owners either
        with pytest.raises(PermissionError):
            os.chown(path, 12345, 12345)
        return
    os.chown(path, 12345, 12345)
    (found,) = _compare(pristine, copy).differences
    assert "owner 0:0 became 12345:12345" in found.what


def test_an_added_file_is_a_difference(pristine: Path, copy: Path) -> None:
    folder = copy / RARE
    before = folder.stat().st_mtime_ns
    (folder / "added.txt").write_bytes(b"")
    os.utime(folder, ns=(before, before))
    (found,) = _compare(pristine, copy).differences
    assert (found.path, found.what) == (f"{RARE}/added.txt", "is not in the source")


def test_only_the_topmost_path_is_left_out_when_a_folder_is_missing(
    pristine: Path, copy: Path
) -> None:
    _keeping_time(copy / "wp-content/cache", shutil.rmtree)
    _keeping_time(copy / "wp-content/debug.log", Path.unlink)
    found = _compare(pristine, copy)
    assert found.left_out == (b"wp-content/cache", b"wp-content/debug.log")
    assert found.differences == ()


def test_everything_is_left_out_when_nothing_was_restored(pristine: Path, tmp_path: Path) -> None:
    found = _compare(pristine, tmp_path)
    assert found.left_out == tuple(map(os.fsencode, NAMES))
    assert found.files == 0


@pytest.fixture
def databases(tmp_path: Path) -> tuple[Path, Path]:
    paths = tmp_path / "a.sqlite", tmp_path / "b.sqlite"
    for path in paths:
        write_database(path, posts=20)
    return paths


def test_databases_are_the_same_when_made_the_same_way(databases: tuple[Path, Path]) -> None:
    found = compare_databases(*databases)
    assert found.differences == ()
    assert found.tables == 7  # six of WordPress's and sqlite_sequence
    assert found.rows > 20 * (1 + 3 + 2)


CHANGES = {
    "a value": ("UPDATE wp_posts SET post_title = 'x' WHERE ID = 3", "table wp_posts: row"),
    "a value's type": (
        "UPDATE wp_postmeta SET meta_value = CAST(meta_value AS BLOB) WHERE meta_id = 7",
        "table wp_postmeta",
    ),
    "an integer that became text": (
        "UPDATE wp_statistics SET page = 1 WHERE views = 1",
        "table wp_statistics",
    ),
    "a missing row": ("DELETE FROM wp_comments WHERE comment_ID = 40", "table wp_comments"),
    "a new row": ("INSERT INTO wp_users (user_login) VALUES ('x')", "table wp_users"),
    "a missing table": ("DROP TABLE wp_statistics", "table wp_statistics is missing"),
    "a new table": ("CREATE TABLE extra (a)", "table extra is new"),
    "a missing index": ("DROP INDEX wp_posts__post_name", "index wp_posts__post_name is missing"),
    "a missing view": ("DROP VIEW wp_published", "view wp_published is missing"),
    "a column": ("ALTER TABLE wp_users ADD COLUMN x", "wp_users is defined differently"),
    "the next number": ("UPDATE sqlite_sequence SET seq = 99", "table sqlite_sequence"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_the_difference_is_found_when_a_database_differs_in(
    databases: tuple[Path, Path], name: str
) -> None:
    statement, expected = CHANGES[name]
    source, restored = databases
    with contextlib.closing(sqlite3.connect(restored)) as connection:
        connection.execute(statement)
        connection.commit()
    assert any(expected in found for found in compare_databases(source, restored).differences)
    assert compare_databases(restored, source).differences != ()


def test_nothing_beside_the_source_is_written_when_comparing(databases: tuple[Path, Path]) -> None:
    folder = databases[0].parent
    before = {path: path.stat().st_mtime_ns for path in (folder, *folder.iterdir())}
    compare_databases(*databases)
    assert {path: path.stat().st_mtime_ns for path in (folder, *folder.iterdir())} == before


def test_a_dump_loads_when_its_statements_span_lines(tmp_path: Path) -> None:
    dump = tmp_path / "dump.sql"
    dump.write_text(
        "-- a comment; with a semicolon\nBEGIN;\nCREATE TABLE t (a TEXT);\n"
        "INSERT INTO t VALUES ('one;\n-- two\nthree');\nCREATE TRIGGER g AFTER INSERT ON t BEGIN\n"
        "  DELETE FROM t WHERE a = 'x';\nEND;\nCOMMIT;\n-- the end\n"
    )
    load_dump(dump, tmp_path / "loaded.sqlite")
    with contextlib.closing(sqlite3.connect(tmp_path / "loaded.sqlite")) as connection:
        assert connection.execute("SELECT a FROM t").fetchall() == [("one;\n-- two\nthree",)]
        assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [("t",), ("g",)]


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("CREATE TABLE t (a", ValueError),
        ("CREATE TABLE t (a);\nINSERT INTO missing VALUES (1);\n", sqlite3.OperationalError),
    ],
)
def test_a_dump_is_refused_when_it_is_damaged(
    tmp_path: Path, text: str, error: type[Exception]
) -> None:
    dump = tmp_path / "dump.sql"
    dump.write_text(text)
    with pytest.raises(error):
        load_dump(dump, tmp_path / "loaded.sqlite")
