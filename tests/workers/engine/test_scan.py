"""Sites are found below a folder."""

from __future__ import annotations

import contextlib
import os
import pwd
import tempfile
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest

from tests.servers import UNPRIVILEGED_USER
from tests.workers.engine.wordpress.trees import make_site
from workers.engine.errors import EngineError, StopRequested
from workers.engine.scan import ScanLimits, ScanReport, scan


@contextlib.contextmanager
def as_user(name: str, *folders: Path) -> Iterator[None]:
    """Give up root's rights over files for a while; `folders` and those above can be entered."""
    entry = pwd.getpwnam(name)
    for folder in folders:
        for above in (folder, *folder.parents):
            if above.stat().st_uid == 0 and above.is_relative_to(tempfile.gettempdir()):
                above.chmod(above.stat().st_mode | 0o055)
    os.setegid(entry.pw_gid)
    os.seteuid(entry.pw_uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)


def found_below(base: Path, **options: object) -> list[str]:
    options.setdefault("allowed_roots", [base])
    return [str(site.path.relative_to(base)) for site in scan(base, **options)]


def test_every_site_is_found_when_they_lie_at_different_depths(tmp_path: Path):
    for name in ("b.example", "a.example", "hosting/c.example/public_html", "a.example/blog"):
        make_site(tmp_path / name)
    (tmp_path / "hosting" / "no-site" / "wp-content").mkdir(parents=True)
    assert found_below(tmp_path) == [
        "a.example",
        "b.example",
        "a.example/blog",
        "hosting/c.example/public_html",
    ]


def test_the_base_itself_is_found_when_it_is_a_site(tmp_path: Path):
    make_site(tmp_path / "site")
    assert found_below(tmp_path / "site") == ["."]


def test_what_a_site_keeps_in_its_content_is_not_found_when_it_looks_like_a_site(tmp_path: Path):
    site = make_site(tmp_path / "site")
    make_site(site / "wp-content" / "backup" / "old")
    make_site(site / "wp-admin" / "odd")
    assert found_below(tmp_path) == ["site"]


def test_a_site_is_yielded_with_its_problems_when_it_is_incomplete(tmp_path: Path):
    make_site(tmp_path / "no-config", config=False)
    broken = make_site(tmp_path / "unreadable")
    (broken / "wp-config.php").write_bytes(b" " * (1 << 21))
    first, second = scan(tmp_path, allowed_roots=[tmp_path])
    assert (first.has_wp_config, first.is_complete, first.db_name) == (False, False, None)
    assert (second.has_wp_config, second.is_complete) == (True, False)
    assert "cannot be read" in second.problems[0]


def test_no_link_is_followed_when_it_leads_out_or_round(tmp_path: Path):
    outside = make_site(tmp_path / "outside")
    base = tmp_path / "base"
    make_site(base / "site")
    (base / "out").symlink_to(outside)
    (base / "site" / "loop").symlink_to(base)
    (base / "self").symlink_to("self")
    assert found_below(base) == ["site"]


def test_a_configuration_outside_the_roots_is_not_read_when_it_lies_above(tmp_path: Path):
    base = tmp_path / "base"
    make_site(base, config=False)
    (tmp_path / "wp-config.php").write_text("<?php define('DB_NAME', 'secret');")
    [site] = scan(base, allowed_roots=[base])
    assert site.db_name is None
    assert "outside the folders" in site.problems[0]


def test_folders_are_counted_when_they_may_not_be_read(tmp_path: Path):
    make_site(tmp_path / "open")
    make_site(tmp_path / "closed").chmod(0)
    report = ScanReport()
    # Root may read everything, so it takes another user's rights; anybody else has them already.
    is_root = os.geteuid() == 0
    with as_user(UNPRIVILEGED_USER, tmp_path) if is_root else nullcontext():
        assert found_below(tmp_path, report=report) == ["open"]
    assert report.unreadable == 1
    assert report.folders >= 3


def test_names_do_not_matter_when_they_are_no_utf_8(tmp_path: Path):
    base = os.fsencode(tmp_path)
    os.mkdir(base + b"/caf\xe9")
    make_site(Path(os.fsdecode(base + b"/caf\xe9/new\nline")))
    assert len(found_below(tmp_path)) == 1


@pytest.mark.parametrize(
    ("limits", "stopped_by", "count"),
    [
        (ScanLimits(sites=2), "sites", 2),
        (ScanLimits(folders=3), "folders", 2),
        (ScanLimits(seconds=-1), "seconds", 0),
        (ScanLimits(depth=0), "", 0),
        (ScanLimits(depth=1), "", 3),
        (ScanLimits(), "", 4),
    ],
)
def test_the_scan_ends_and_says_why_when_a_limit_is_reached(
    tmp_path: Path, limits: ScanLimits, stopped_by: str, count: int
):
    for name in ("a", "b", "c", "deep/d"):
        make_site(tmp_path / name)
    report = ScanReport()
    assert len(found_below(tmp_path, limits=limits, report=report)) == count
    assert report.stopped_by == stopped_by
    assert (report.too_deep > 0) is (limits.depth < 8)


def test_the_scan_ends_when_it_is_told_to(tmp_path: Path):
    def check() -> None:
        raise StopRequested

    make_site(tmp_path / "site")
    with pytest.raises(StopRequested):
        found_below(tmp_path, check=check)


@pytest.mark.parametrize(
    ("path", "code"),
    [("missing", "site_not_found"), ("file", "site_not_found"), ("..", "path_not_allowed")],
)
def test_an_error_says_so_at_once_when_the_base_is_no_folder(tmp_path: Path, path: str, code: str):
    (tmp_path / "file").touch()
    with pytest.raises(EngineError) as caught:
        scan(tmp_path / path, allowed_roots=[tmp_path])
    assert caught.value.code == code
