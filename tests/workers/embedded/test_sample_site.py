"""The sample site: the same each time, whole or not at all, and with rarities in it."""

from __future__ import annotations

import contextlib
import hashlib
import os
import sqlite3
import stat
from pathlib import Path

import pytest

from workers.embedded.sample_site import DATABASE, LEFT_OUT, SMALL, make_sample_site


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sample") / "site"
    assert make_sample_site(path, SMALL)
    return path


def _description(site: Path) -> dict[str, object]:
    described: dict[str, object] = {}
    for path in sorted(site.rglob("*")):
        entry = path.lstat()
        name = str(path.relative_to(site))
        described[name] = (oct(entry.st_mode), entry.st_mtime_ns, entry.st_nlink)
        if stat.S_ISREG(entry.st_mode) and name != DATABASE:
            described[name] = (described[name], hashlib.sha256(path.read_bytes()).hexdigest())
    # The file itself names the version of the library that wrote it.
    with contextlib.closing(sqlite3.connect(site / DATABASE)) as database:
        described["rows"] = list(database.iterdump())
    return described


def test_the_site_is_the_same_when_made_again(site: Path, tmp_path: Path) -> None:
    assert make_sample_site(tmp_path / "site", SMALL)
    assert _description(tmp_path / "site") == _description(site)


def test_nothing_is_touched_when_the_site_is_there(tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    assert not make_sample_site(tmp_path / "site", SMALL)
    assert list((tmp_path / "site").iterdir()) == []


def test_the_site_is_whole_when_an_earlier_start_was_interrupted(
    site: Path, tmp_path: Path
) -> None:
    left = tmp_path / "site.partial/wp-content/left-behind"
    left.mkdir(parents=True)
    assert make_sample_site(tmp_path / "site", SMALL)
    assert _description(tmp_path / "site") == _description(site)
    assert not (tmp_path / "site.partial").exists()


def test_the_site_has_what_backups_get_wrong(site: Path) -> None:
    entries = list((site / "wp-content/uploads/rare").rglob("*"))
    assert any(path.is_symlink() and not path.exists() for path in entries)
    assert any(path.lstat().st_nlink > 1 for path in entries if path.is_file())
    assert any(path.is_dir() and not any(path.iterdir()) for path in entries)
    assert any(path.lstat().st_mode & 0o111 for path in entries if path.is_file())
    assert any(len(os.fsencode(path.relative_to(site))) > 256 for path in entries)
    assert any("\n" in path.name for path in entries)
    assert any(path.lstat().st_mtime_ns % 1_000 for path in entries)
    for name in LEFT_OUT:
        assert (site / name).exists()
