"""Files come back exactly, what backups leave out stays, and all of it can be taken back."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.workers.engine.bundle.conftest import write
from tests.workers.engine.bundle.trees import describe
from tests.workers.engine.restore.conftest import Damaged, leftovers, make_switch
from workers.engine.bundle import MemberMissing
from workers.engine.errors import EngineError
from workers.engine.restore import exchange, file_switch
from workers.engine.restore.files import RestoreRoot

KEPT = {
    b"wp-content/cache": None,
    b"wp-content/cache/page": None,
    b"wp-content/cache/page/kept.html": b"kept",
    b"wp-content/new/debug.log": b"kept as well",
    b"wp-content/database/live.db": b"the present rows",
}
# A folder that only kept things are in is kept with them.
KEPT_FOLDERS = {b"wp-content/new"}


def assert_as_backed_up(damaged: Damaged) -> None:
    """Everything is as it was when it was backed up, and what is kept is there beside it."""
    now = damaged.now()
    for path, content in KEPT.items():
        entry = damaged.site / os.fsdecode(path)
        assert entry.is_dir() if content is None else entry.read_bytes() == content
    rest = {path: value for path, value in now.items() if path not in KEPT.keys() | KEPT_FOLDERS}
    original = {path: value for path, value in damaged.original.items() if path not in KEPT}
    # The site's own folder holds more than what is backed up: its time is its own.
    rest.pop(b".", None), original.pop(b".", None)
    assert rest == original
    assert leftovers(damaged.folder) == []


def test_site_is_as_it_was_when_all_is_restored_in_place(damaged: Damaged) -> None:
    before = damaged.now()
    switches = damaged.prepare()
    assert {k: v for k, v in damaged.now().items() if b".holdfast" not in k and k != b"."} == {
        k: v for k, v in before.items() if k != b"."
    }, "nothing that stands is touched before the switch"
    damaged.journal.commit(switches)
    assert damaged.journal.settle(make_switch) == "switched"
    assert_as_backed_up(damaged)


def test_site_is_as_before_when_the_switch_is_reverted(damaged: Damaged) -> None:
    before = damaged.now()
    switches = damaged.prepare()
    for switch in switches:
        switch.switch()
    for switch in reversed(switches):
        switch.revert()
        switch.discard()
    assert damaged.now() == before
    assert leftovers(damaged.folder) == []


def test_one_file_is_restored_and_its_neighbours_are_left_alone(damaged: Damaged) -> None:
    shell = damaged.site / "wp-content/new/shell.php"
    switches = damaged.prepare("wp-content/themes/index.php")
    damaged.journal.commit(switches)
    damaged.journal.settle(make_switch)
    assert (damaged.site / "wp-content/themes/index.php").read_bytes() == b"<?php theme();"
    assert shell.read_bytes() == b"<?php evil();"
    assert (damaged.site / "wp-config.php").read_bytes() == b"<?php // new"
    assert not (damaged.site / "wp-content/plugins").exists()
    assert leftovers(damaged.folder) == []


def test_a_folder_that_is_gone_comes_back_when_it_is_chosen(damaged: Damaged) -> None:
    damaged.journal.commit(damaged.prepare("wp-content/plugins/", "wp-content/plugins/a/a.php"))
    damaged.journal.settle(make_switch)
    folder = damaged.site / "wp-content/plugins/a"
    assert (folder / "a.php").read_bytes() == b"<?php a();"
    assert folder.stat().st_mode & 0o7777 == 0o2750


def test_a_file_makes_way_for_the_folder_that_was_there(damaged: Damaged) -> None:
    damaged.journal.commit(damaged.prepare("wp-content/turned"))
    damaged.journal.settle(make_switch)
    assert (damaged.site / "wp-content/turned/into/file.txt").read_bytes() == b"deep"


def test_a_copy_is_made_with_the_folders_above_it(damaged: Damaged) -> None:
    before = damaged.now()
    copy = damaged.folder / "www" / "copies" / "one"
    roots = [
        RestoreRoot("wp-content", copy / "wp-content"),
        RestoreRoot("wp-config.php", copy / "wp-config.php"),
    ]
    damaged.journal.commit(damaged.prepare(roots=roots))
    damaged.journal.settle(make_switch)
    original = {k: v for k, v in damaged.original.items() if b"live.db" not in k and k != b"."}
    assert {k: v for k, v in describe(copy).items() if k != b"."} == original
    assert damaged.now() == before


def test_nothing_is_left_of_a_copy_that_is_taken_back(damaged: Damaged) -> None:
    copy = damaged.folder / "www" / "copies" / "one"
    switches = damaged.prepare(roots=[RestoreRoot("wp-content", copy / "wp-content")])
    damaged.journal.announce(switches)
    assert damaged.journal.settle(make_switch) == ""
    assert not (damaged.folder / "www" / "copies").exists()


def test_paths_are_refused_that_are_not_in_the_bundle_or_go_nowhere(damaged: Damaged) -> None:
    before = damaged.now()
    with pytest.raises(MemberMissing):
        damaged.prepare("wp-content/none.php")
    with pytest.raises(EngineError, match=r"database\.sql has no place"):
        damaged.prepare("database.sql")
    damaged.journal.settle(make_switch)
    assert damaged.now() == before


def test_all_is_taken_back_when_the_last_part_cannot_be_switched(
    damaged: Damaged, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = damaged.now()
    switches = damaged.prepare()
    done = []

    def fails_at_second(one: Path, other: Path) -> None:
        done.append(one)
        if len(done) == 2:
            raise PermissionError(13, "Permission denied")
        exchange.exchange(one, other)

    monkeypatch.setattr(file_switch, "exchange", fails_at_second)
    with pytest.raises(EngineError, match="cannot be replaced: Permission denied"):
        damaged.journal.commit(switches)
    monkeypatch.undo()
    assert damaged.journal.settle(make_switch) == ""
    assert damaged.now() == before
    assert leftovers(damaged.folder) == []


def test_two_renames_do_where_names_cannot_be_exchanged(
    damaged: Damaged, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unsupported(one: Path, other: Path) -> None:
        raise exchange.ExchangeUnsupported

    monkeypatch.setattr(file_switch, "exchange", unsupported)
    before = damaged.now()
    switches = damaged.prepare()
    for switch in switches:
        switch.switch()
    for switch in reversed(switches):
        switch.revert()
        switch.discard()
    assert damaged.now() == before
    damaged.journal.commit(damaged.prepare())
    damaged.journal.settle(make_switch)
    assert_as_backed_up(damaged)


def test_what_a_killed_attempt_prepared_is_removed_by_the_next(damaged: Damaged) -> None:
    damaged.prepare()
    write(damaged.site / ".holdfast-job-0" / "half.php", b"half")
    damaged.journal.commit(damaged.prepare())
    damaged.journal.settle(make_switch)
    assert_as_backed_up(damaged)


def test_too_little_room_is_told_before_anything_is_written(
    damaged: Damaged, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = type("Usage", (), {"free": 10})
    monkeypatch.setattr("workers.engine.restore.files.shutil.disk_usage", lambda path: usage)
    with pytest.raises(EngineError, match="MB free, and what is restored needs"):
        damaged.prepare()
    assert leftovers(damaged.folder) == []
