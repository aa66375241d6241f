"""A plan says what the restore then does, and changes nothing."""

from __future__ import annotations

from tests.workers.engine.restore.conftest import EXCLUDES, Damaged
from workers.engine.progress import SilentReporter
from workers.engine.restore.files import parts_of
from workers.engine.restore.plan import FilesPlan, plan_files


def plan(damaged: Damaged, *paths: str) -> FilesPlan:
    with damaged.reader() as reader:
        parts = parts_of(reader, damaged.roots, paths)
        return plan_files(reader, parts, excludes=EXCLUDES, reporter=SilentReporter())


def test_each_file_is_in_its_group(small: Damaged) -> None:
    before = small.now()
    found = plan(small)
    assert sorted(found.created.names) == [
        "wp-content/plugins/a/a.php",
        "wp-content/turned/into/file.txt",
    ]
    assert sorted(found.overwritten.names) == [
        "wp-config.php",
        "wp-content/link",
        "wp-content/themes/index.php",
    ]
    assert found.unchanged.names == ["wp-content/database/readme.txt"]
    assert sorted(found.deleted.names) == ["wp-content/new/shell.php", "wp-content/turned"]
    assert sorted(found.kept.names) == [
        "wp-content/cache",
        "wp-content/database/live.db",
        "wp-content/new/debug.log",
    ]
    assert found.created.bytes == len(b"<?php a();") + len(b"deep")
    assert found.bytes_needed == sum(
        group.bytes for group in (found.created, found.overwritten, found.unchanged)
    )
    assert small.now() == before


def test_only_what_is_chosen_is_in_the_plan(small: Damaged) -> None:
    found = plan(small, "wp-content/themes")
    assert found.overwritten.names == ["wp-content/themes/index.php"]
    assert not (found.created.count or found.deleted.count or found.kept.count)
