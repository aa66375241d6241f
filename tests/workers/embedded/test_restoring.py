"""Restoring with the system's tar, with and without its zstd, and what a verdict says."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from workers.embedded import restoring
from workers.embedded.restoring import Source
from workers.embedded.sample_site import DATABASE, LEFT_OUT, SMALL, make_sample_site
from workers.engine.errors import EngineError

ROOTS = ("wp-config.php", "wp-content")


def quiet() -> None:
    """Never asks to end."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("site") / "site"
    make_sample_site(path, SMALL)
    return path


@pytest.fixture(scope="module")
def bundle(site: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle that no code of ours made: tar, zstd and the sqlite3 shell, in two frames."""
    folder = tmp_path_factory.mktemp("bundle")
    dump = subprocess.run(
        ["sqlite3", str(site / DATABASE), ".dump"], check=True, capture_output=True
    ).stdout
    (folder / "database.sql").write_bytes(dump)
    excludes = [f"--exclude={name}" for name in (*LEFT_OUT, DATABASE)]
    subprocess.run(
        [
            "tar",
            "--format=posix",
            *excludes,
            "-cf",
            "all.tar",
            "database.sql",
            "-C",
            str(site),
            *ROOTS,
        ],
        cwd=folder,
        check=True,
    )
    content = (folder / "all.tar").read_bytes()
    with (folder / "bundle.tar.zst").open("wb") as out:
        for part in (content[:100_000], content[100_000:]):
            out.write(
                subprocess.run(["zstd", "-qc"], input=part, check=True, capture_output=True).stdout
            )
    return folder / "bundle.tar.zst"


def _verdict(
    site: Path, restored: Path, scratch: Path, is_sample: bool = True
) -> restoring.Verdict:
    source = restoring.source_of(site, is_sample=is_sample)
    return restoring.compare(source, restored, scratch / "scratch.sqlite3")


def test_the_restored_site_is_the_same_when_tar_has_zstd(
    site: Path, bundle: Path, tmp_path: Path
) -> None:
    (tmp_path / "restored").mkdir()
    (tmp_path / "restored/of an earlier start").touch()
    command = restoring.restore(bundle, tmp_path / "restored", check=quiet)
    assert command == "tar --zstd -xpf"
    for is_sample in (True, False):
        verdict = _verdict(site, tmp_path / "restored", tmp_path, is_sample)
        assert verdict.problems == ()
        assert any("7 tables" in line for line in verdict.lines)


def _only(folder: Path, monkeypatch: pytest.MonkeyPatch, *programs: str) -> None:
    folder.mkdir()
    for program in programs:
        found = shutil.which(program)
        assert found
        (folder / program).symlink_to(found)
    monkeypatch.setenv("PATH", str(folder))


def test_the_restored_site_is_the_same_when_there_is_no_zstd_program(
    site: Path, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _only(tmp_path / "bin", monkeypatch, "tar")
    command = restoring.restore(bundle, tmp_path / "restored", check=quiet)
    assert "there is no zstd program" in command
    assert _verdict(site, tmp_path / "restored", tmp_path).problems == ()


def test_the_error_names_tar_when_there_is_none(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _only(tmp_path / "bin", monkeypatch)
    with pytest.raises(EngineError, match="tar"):
        restoring.restore(bundle, tmp_path / "restored", check=quiet)


@pytest.mark.parametrize("programs", [("tar", "zstd"), ("tar",)])
@pytest.mark.parametrize("damage", ["cut", "flipped"])
def test_restoring_fails_when_the_bundle_is_damaged(
    bundle: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    programs: tuple[str, ...],
    damage: str,
) -> None:
    content = bytearray(bundle.read_bytes())
    if damage == "cut":
        del content[len(content) // 2 :]
    else:
        content[len(content) - 100] ^= 0x10
    broken = tmp_path / "broken.tar.zst"
    broken.write_bytes(content)
    _only(tmp_path / "bin", monkeypatch, *programs)
    with pytest.raises(EngineError):
        restoring.restore(broken, tmp_path / "restored", check=quiet)


def _remove_row(restored: Path) -> None:
    dump = restored / "database.sql"
    lines = dump.read_bytes().split(b"\n")
    dump.write_bytes(b"\n".join(line for line in lines if b"Visitor 7'" not in line))


PLANTED: dict[str, tuple[Callable[[Path], object], str]] = {
    "a row is missing": (_remove_row, "database: table wp_comments"),
    "the dump is missing": (
        lambda restored: (restored / "database.sql").unlink(),
        "database.sql was not restored",
    ),
    "the dump is cut": (
        lambda restored: os.truncate(restored / "database.sql", 5_000),
        "database.sql: ",
    ),
    "the dump is empty": (
        lambda restored: os.truncate(restored / "database.sql", 0),
        "database: table wp_options is missing",
    ),
    "a file is missing": (
        lambda restored: (restored / "wp-content/db.php").unlink(),
        "wp-content/db.php: was not restored",
    ),
    "a folder is missing": (
        lambda restored: shutil.rmtree(restored / "wp-content/themes"),
        "wp-content/themes: was not restored",
    ),
    "the configuration is missing": (
        lambda restored: (restored / "wp-config.php").unlink(),
        "wp-config.php: was not restored",
    ),
    "a byte is another": (
        lambda restored: (restored / "wp-content/db.php").write_bytes(b"x" * 55),
        "wp-content/db.php: ",
    ),
}


@pytest.mark.parametrize("is_sample", [True, False])
@pytest.mark.parametrize("planted", PLANTED)
def test_the_verdict_names_the_problem_when(
    site: Path, bundle: Path, tmp_path: Path, planted: str, is_sample: bool
) -> None:
    change, expected = PLANTED[planted]
    restored = tmp_path / "restored"
    restoring.restore(bundle, restored, check=quiet)
    change(restored)
    problems = _verdict(site, restored, tmp_path, is_sample).problems
    assert any(problem.startswith(expected) for problem in problems), problems


def test_the_verdict_says_so_when_what_should_be_left_out_was_kept(
    site: Path, bundle: Path, tmp_path: Path
) -> None:
    restored = tmp_path / "restored"
    restoring.restore(bundle, restored, check=quiet)
    shutil.copy2(site / "wp-content/debug.log", restored / "wp-content/debug.log")
    problems = _verdict(site, restored, tmp_path).problems
    assert "wp-content/debug.log: should have been left out" in problems


def test_nothing_restored_is_never_a_success(site: Path, tmp_path: Path) -> None:
    (tmp_path / "restored").mkdir()
    problems = _verdict(site, tmp_path / "restored", tmp_path).problems
    assert "not one file was restored" in problems
    assert "database.sql was not restored" in problems


def test_a_dump_without_tables_is_never_a_success(tmp_path: Path) -> None:
    source, restored = tmp_path / "source", tmp_path / "restored"
    for folder in (source, restored):
        (folder / "wp-content").mkdir(parents=True)
        (folder / "wp-config.php").write_text("<?php\n")
    sqlite3.connect(source / "empty.sqlite").close()
    (source / "empty.sqlite").touch()
    (restored / "database.sql").write_text("-- nothing\n")
    roots = {name: source / name for name in ROOTS}
    empty = Source(roots=roots, engine="sqlite", sqlite=source / "empty.sqlite", planted=None)
    problems = restoring.compare(empty, restored, tmp_path / "scratch").problems
    assert "database: there is not one table in it" in problems


def test_the_dump_is_not_called_compared_when_there_is_no_server_for_it(
    site: Path, bundle: Path, tmp_path: Path
) -> None:
    restored = tmp_path / "restored"
    restoring.restore(bundle, restored, check=quiet)
    roots = {name: site / name for name in ROOTS}
    source = Source(roots=roots, engine="mysql", sqlite=None, planted=None)
    lines = restoring.compare(source, restored, tmp_path / "scratch").lines
    assert any("not compared" in line and "mysql" in line for line in lines)


def test_too_little_room_is_an_error_that_says_how_much(tmp_path: Path) -> None:
    restoring.require_room(tmp_path, 1)
    with pytest.raises(EngineError, match=r"needs 1000000000\.0 GB"):
        restoring.require_room(tmp_path, 10**18)
