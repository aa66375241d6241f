"""What a bundle does not hold is taken away where that was asked for, and can be put back."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable
from contextlib import suppress

import pytest

from tests.workers.engine.bundle.conftest import write
from tests.workers.engine.restore.conftest import EXCLUDES, Damaged, leftovers, make_switch
from workers.engine.errors import EngineError
from workers.engine.progress import SilentReporter
from workers.engine.restore import removal
from workers.engine.restore.files import FilePart, parts_of, planned, prepare_files

NEW = "wp-content/new/shell.php"


def prepare(small: Damaged, *paths: str, reporter: SilentReporter | None = None) -> list[FilePart]:
    with small.reader() as reader:
        parts = parts_of(reader, small.roots, paths, removes=True)
        small.journal.announce(planned(parts, "job"))
        return prepare_files(
            reader, parts, label="job", excludes=EXCLUDES, reporter=reporter or SilentReporter()
        )


def test_it_is_gone_and_its_neighbours_are_as_they_were(small: Damaged) -> None:
    before = small.now()
    small.journal.commit(prepare(small, NEW, "wp-content/themes/index.php"))
    assert small.journal.settle(make_switch) == "switched"
    now = small.now()
    changed = {path for path in before if now.get(path) != before[path]}
    assert changed == {NEW.encode(), b"wp-content/themes/index.php"}
    assert not (small.site / NEW).exists()
    assert leftovers(small.folder) == []


def test_a_folder_goes_with_all_that_is_in_it(small: Damaged) -> None:
    write(small.site / "wp-content" / "plugins" / "x" / "deep" / "x.php", b"<?php")
    small.journal.commit(prepare(small, "wp-content/plugins/x"))
    small.journal.settle(make_switch)
    assert not (small.site / "wp-content/plugins/x").exists()


def test_what_backups_leave_out_stays_for_nobody_knows_what_it_was(small: Damaged) -> None:
    before, reporter = small.now(), SilentReporter()
    paths = ("wp-content/new/debug.log", "wp-content/cache/page/kept.html")
    small.journal.commit(prepare(small, *paths, reporter=reporter))
    small.journal.settle(make_switch)
    assert small.now() == before
    assert [warning.split()[-1] for warning in reporter.warnings] == ["was", "was"]


def test_nothing_happens_where_nothing_is(small: Damaged) -> None:
    before = small.now()
    small.journal.commit(prepare(small, "wp-content/none", "wp-content/none/deep/er"))
    assert small.journal.settle(make_switch) == "switched"
    assert small.now() == before


@pytest.mark.parametrize("step", range(8))
@pytest.mark.parametrize("then", ["settle", "revert"])
def test_it_is_settled_wherever_it_was_cut_off(
    small: Damaged, step: int, then: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = small.now()
    left = [step]

    def cut(work: Callable[..., object]) -> Callable[..., object]:
        def counted(*arguments: object) -> object:
            left[0] -= 1
            if left[0] < 0:
                raise KeyboardInterrupt
            return work(*arguments)

        return counted

    [switch] = prepare(small, NEW)
    with monkeypatch.context() as patch:
        for name in ("move", "sync_folder", "sync_file_system", "remove"):
            patch.setattr(removal, name, cut(getattr(removal, name)))
        with suppress(KeyboardInterrupt):
            if then == "settle":
                small.journal.commit([switch])
                small.journal.settle(make_switch)
            else:
                switch.switch()
                switch.revert()
                switch.discard()
    if then == "settle":
        small.journal.settle(make_switch)
        assert not (small.site / NEW).exists()
    else:
        switch.revert()
        switch.discard()
        assert small.now() == before
    assert leftovers(small.folder) == []


def test_what_was_made_anew_gives_way_when_it_is_taken_back(small: Damaged) -> None:
    before = small.now()
    [switch] = prepare(small, NEW)
    switch.switch()
    write(small.site / NEW, b"since")
    switch.revert()
    switch.discard()
    assert small.now() == before


def test_nobody_settles_what_another_process_is_putting_in_place(small: Damaged) -> None:
    """An attempt that was given up may be in the middle of it when the agent comes."""
    small.journal.announce(switches := small.prepare())
    other = os.open(small.folder, os.O_RDONLY)
    fcntl.flock(other, fcntl.LOCK_EX)
    for work in (lambda: small.journal.settle(make_switch), lambda: small.journal.commit(switches)):
        with pytest.raises(EngineError) as caught:
            work()
        assert (caught.value.code, caught.value.permanent) == ("restore_unsettled", False)
    os.close(other)
    assert small.journal.phase == "preparing"
    small.journal.commit(switches)
    assert small.journal.settle(make_switch) == "switched"


def test_a_commit_ends_before_it_begins_when_the_job_was_settled_meanwhile(small: Damaged) -> None:
    before = {path: value for path, value in small.now().items() if path != b"."}
    switches = small.prepare()
    small.journal.settle(make_switch)
    moved = small.folder.with_name("moved")
    journal = type(small.journal)(moved / "journal")
    with pytest.raises(EngineError):
        journal.commit(switches)
    assert {path: value for path, value in small.now().items() if path != b"."} == before
    shutil.rmtree(moved, ignore_errors=True)
