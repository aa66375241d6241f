"""What the stages ask of the spool before they write, each on a real small disk."""

from __future__ import annotations

import hashlib
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from backups.registry import STAGES
from tests.servers import wait_until
from tests.servers.small_disk import MEBIBYTE, SmallDisk
from tests.workers.stages.pipeline import Pipeline, sqlite_pipeline
from workers.engine.bundle import BundleReader
from workers.engine.errors import EngineError, StopRequested
from workers.engine.progress import SilentReporter
from workers.stages import room
from workers.stages.context import StageContext, StageResult
from workers.stages.restoring import END_NAME, keep_end


@pytest.fixture
def disk(small_disk: Callable[[int], SmallDisk]) -> SmallDisk:
    return small_disk(16 * MEBIBYTE)


@pytest.fixture
def pipeline(tmp_path: Path, disk: SmallDisk) -> Pipeline:
    """A small site's job whose spool is on the small disk."""
    (tmp_path / "spool").symlink_to(disk.path)
    return sqlite_pipeline(tmp_path)


def run(
    pipeline: Pipeline, stage: str, monkeypatch: pytest.MonkeyPatch, **changes: Any
) -> StageResult:
    """Run a stage with a context that is changed by `changes`."""
    work = STAGES[stage].load()

    def changed(context: StageContext) -> StageResult:
        result: StageResult = work(replace(context, **changes))
        return result

    with monkeypatch.context() as patch:
        patch.setitem(STAGES, stage, replace(STAGES[stage], path=f"{__name__}:changed"))
        patch.setitem(globals(), "changed", changed)
        return pipeline.run(stage)


def refused(*arguments: Any, **changes: Any) -> str:
    with pytest.raises(EngineError) as caught:
        run(*arguments, **changes)
    assert (caught.value.code, caught.value.permanent) == ("not_enough_space", True)
    return caught.value.message


def add_file(pipeline: Pipeline, name: str, size: int) -> None:
    data = hashlib.shake_256(name.encode()).digest(size)
    (pipeline.site.path / "wp-content" / "uploads" / name).write_bytes(data)


def test_media_count_in_full_and_text_in_part_when_nothing_is_known(
    pipeline: Pipeline, disk: SmallDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_file(pipeline, "film.mp4", 4 * MEBIBYTE)
    disk.leave(4 * MEBIBYTE)
    assert "4.1 MB are needed" in refused(pipeline, "backup_db", monkeypatch)
    add_file(pipeline, "film.mp4", 0)
    add_file(pipeline, "text.sql", 4 * MEBIBYTE)
    assert run(pipeline, "backup_db", monkeypatch)


def test_snapshot_counts_too_when_the_database_needs_one(
    pipeline: Pipeline, disk: SmallDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = pipeline.site.path / "wp-content/database/.ht.sqlite"
    with closing(sqlite3.connect(file)) as database, database:
        database.execute("CREATE TABLE zeros (zeros BLOB)")
        database.execute("INSERT INTO zeros VALUES (zeroblob(4000000))")
    disk.leave(4 * MEBIBYTE)
    assert "4.8 MB are needed" in refused(pipeline, "backup_db", monkeypatch)
    disk.leave(6 * MEBIBYTE)
    assert run(pipeline, "backup_db", monkeypatch)


def test_last_bundles_count_when_there_are_any(
    pipeline: Pipeline, disk: SmallDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = {"expected_bytes": 6 * MEBIBYTE}
    disk.leave(5 * MEBIBYTE)
    assert "6.0 MB are needed" in refused(pipeline, "backup_db", monkeypatch, **expected)
    disk.leave(7 * MEBIBYTE)
    assert run(pipeline, "backup_db", monkeypatch, **expected)


def test_files_need_no_more_than_they_have_whatever_the_last_bundles_were(
    pipeline: Pipeline, disk: SmallDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Much was deleted from the site, or is excluded now."""
    pipeline.run("backup_db")
    disk.leave(2 * MEBIBYTE)
    assert run(pipeline, "backup_files", monkeypatch, expected_bytes=6 * MEBIBYTE)


def test_reserve_is_kept_when_a_job_begins_and_used_when_it_goes_on(
    pipeline: Pipeline, disk: SmallDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    reserve = {"reserve_bytes": 12 * MEBIBYTE}
    disk.leave(12 * MEBIBYTE)
    assert "12.0 MB are kept free" in refused(pipeline, "backup_db", monkeypatch, **reserve)
    pipeline.run("backup_db")
    assert run(pipeline, "backup_files", monkeypatch, **reserve)
    assert run(pipeline, "create_bundle", monkeypatch, **reserve)


def test_bundle_is_not_sealed_when_its_list_would_not_fit(
    pipeline: Pipeline, disk: SmallDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(100):
        add_file(pipeline, f"file-{number}.txt", 10)
    pipeline.run("backup_db")
    pipeline.run("backup_files")
    disk.fill()
    message = refused(pipeline, "create_bundle", monkeypatch)
    assert "the list of what is in example.com" in message


@pytest.mark.parametrize("name", ["00000000-0000-0000-0000-000000000000", ".removed-0000"])
def test_stage_waits_for_the_room_that_an_ended_job_leaves(
    name: str, pipeline: Pipeline, disk: SmallDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    (disk.path / name).mkdir()
    disk.leave(0)
    reporter = SilentReporter()

    def make_room() -> None:
        wait_until(lambda: "Waiting for room in the spool" in reporter.details, 30)
        disk.make_room()

    thread = threading.Thread(target=make_room)
    thread.start()
    assert run(pipeline, "backup_db", monkeypatch, reporter=reporter)
    thread.join()


def test_stage_gives_up_when_the_others_make_no_room(
    pipeline: Pipeline, disk: SmallDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "WAIT_SECONDS", 1.0)
    (disk.path / "00000000-0000-0000-0000-000000000000").mkdir()
    disk.leave(0)
    began = time.monotonic()
    refused(pipeline, "backup_db", monkeypatch)
    assert time.monotonic() - began >= 1


def test_stop_is_heard_while_a_stage_waits_for_room(
    pipeline: Pipeline, disk: SmallDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stopping(SilentReporter):
        def check(self) -> None:
            if "Waiting for room in the spool" in self.details:
                raise StopRequested

    (disk.path / "00000000-0000-0000-0000-000000000000").mkdir()
    disk.leave(0)
    with pytest.raises(StopRequested):
        run(pipeline, "backup_db", monkeypatch, reporter=Stopping())


def test_end_of_a_bundle_is_kept_whole_or_not_at_all(disk: SmallDisk) -> None:
    context = cast(StageContext, SimpleNamespace(directory=disk.path))
    for size, kept in ((20 * MEBIBYTE, []), (MEBIBYTE, [MEBIBYTE])):
        bundle = cast(BundleReader, SimpleNamespace(end=partial(bytes, size)))
        keep_end(context, bundle)
        assert [path.stat().st_size for path in disk.path.glob(END_NAME)] == kept
