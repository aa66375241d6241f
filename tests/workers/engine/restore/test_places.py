"""Who owns a site may exchange its folders for links: no restore follows one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.workers.engine.bundle.conftest import write
from tests.workers.engine.bundle.trees import describe
from tests.workers.engine.restore.conftest import Damaged, leftovers, make_switch
from workers.engine.errors import EngineError
from workers.engine.restore import places
from workers.engine.restore.files import RestoreRoot
from workers.engine.restore.places import PlaceRefused, mount_points, pinned, require_no_mounts


@pytest.fixture
def outside(small: Damaged) -> Path:
    write(small.folder / "outside" / "index.php", b"not the site's")
    write(small.folder / "outside" / "debug.log", b"somebody's log")
    return small.folder / "outside"


def test_a_chosen_file_is_refused_when_its_folder_is_a_link_now(
    small: Damaged, outside: Path
) -> None:
    themes = small.site / "wp-content" / "themes"
    themes.rename(small.site / "old-themes")
    themes.symlink_to(outside)
    before, around = small.now(), describe(outside)
    with pytest.raises(PlaceRefused, match="'themes', which is a link"):
        small.prepare("wp-content/themes/index.php")
    small.journal.settle(make_switch)
    assert (small.now(), describe(outside)) == (before, around)


def test_a_chosen_folder_replaces_the_link_that_stands_there(small: Damaged, outside: Path) -> None:
    themes = small.site / "wp-content" / "themes"
    themes.rename(small.site / "old-themes")
    themes.symlink_to(outside)
    around = describe(outside)
    small.journal.commit(small.prepare("wp-content/themes"))
    small.journal.settle(make_switch)
    assert not themes.is_symlink()
    assert (themes / "index.php").read_bytes() == b"<?php theme();"
    assert describe(outside) == around


def test_nothing_kept_is_moved_when_its_folder_became_a_link(small: Damaged, outside: Path) -> None:
    around = describe(outside)
    switches = small.prepare()
    new = small.site / "wp-content" / "new"
    new.rename(small.site / "away")
    new.symlink_to(outside)
    small.journal.commit(switches)
    small.journal.settle(make_switch)
    assert describe(outside) == around


@pytest.mark.parametrize("method", ["switch", "revert", "discard"])
def test_no_step_is_taken_when_a_folder_became_a_link(
    small: Damaged, outside: Path, method: str
) -> None:
    [switch] = small.prepare("wp-content/themes/index.php")
    themes = small.site / "wp-content" / "themes"
    themes.rename(small.site / "old-themes")
    themes.symlink_to(outside)
    around = describe(outside)
    with pytest.raises(PlaceRefused):
        getattr(switch, method)()
    assert describe(outside) == around


def test_a_root_is_refused_when_its_place_is_a_link(small: Damaged) -> None:
    alias = small.site / "alias"
    alias.symlink_to("wp-content")
    with pytest.raises(PlaceRefused, match="is a link on this host"):
        small.prepare(roots=[RestoreRoot("wp-content", alias)])
    assert leftovers(small.folder) == []


def test_a_copy_is_refused_when_a_folder_above_it_is_a_link(small: Damaged, outside: Path) -> None:
    (small.folder / "link").symlink_to(outside)
    around = describe(outside)
    place = small.folder / "link" / "copy" / "wp-content"
    with pytest.raises(PlaceRefused):
        small.prepare(roots=[RestoreRoot("wp-content", place)])
    assert describe(outside) == around


def mounted(monkeypatch: pytest.MonkeyPatch, folder: Path, point: Path) -> None:
    table = folder / "mountinfo"
    escaped = os.fsencode(point).replace(b" ", rb"\040")
    table.write_bytes(b"36 35 98:0 / %b rw,noatime - ext4 /dev/sda1 rw\n" % escaped)
    monkeypatch.setattr(places, "_MOUNTS", table)


@pytest.mark.parametrize("inner", ["wp-content", "wp-content/themes", "wp-content/a b/c"])
def test_a_tree_is_refused_when_something_is_mounted_in_it(
    small: Damaged, monkeypatch: pytest.MonkeyPatch, inner: str
) -> None:
    mounted(monkeypatch, small.folder, small.site / inner)
    before = small.now()
    with pytest.raises(PlaceRefused, match="is a mount point") as caught:
        small.prepare()
    assert caught.value.permanent
    small.journal.settle(make_switch)
    assert small.now() == before


def test_what_is_beside_or_inside_of_a_mount_is_restored(
    small: Damaged, monkeypatch: pytest.MonkeyPatch
) -> None:
    mounted(monkeypatch, small.folder, small.site / "wp-content")
    small.journal.commit(small.prepare("wp-content/themes/index.php", "wp-config.php"))
    small.journal.settle(make_switch)
    assert (small.site / "wp-config.php").read_bytes() == b"<?php // old"


def test_the_mounts_of_this_process_are_known() -> None:
    assert Path("/proc") in mount_points()
    with pytest.raises(PlaceRefused):
        require_no_mounts(Path("/proc"))


def test_a_pinned_folder_stays_the_same_when_its_name_is_given_to_another(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    folder.mkdir(parents=True)
    with pinned(folder) as same:
        (tmp_path / "a").rename(tmp_path / "c")
        (tmp_path / "a").symlink_to("/")
        (same / "file").touch()
    assert (tmp_path / "c" / "b" / "file").exists()
    with pytest.raises(EngineError), pinned(folder):
        pass
