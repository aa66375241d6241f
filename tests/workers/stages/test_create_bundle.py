"""The third stage: the seal, and the commit gate's comparison with the backup before."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.workers.stages.pipeline import sqlite_pipeline
from workers.engine.errors import EngineError
from workers.stages.context import WorkMissing
from workers.stages.create_bundle import suspicions

BEFORE = {"tables": 12, "rows": 1000, "files": 400, "file_bytes": 10**9, "database_bytes": 10**6}


@pytest.mark.parametrize("name", BEFORE)
def test_backup_is_suspect_when_a_number_fell_by_half(name: str) -> None:
    found = suspicions({**BEFORE, name: BEFORE[name] // 2}, BEFORE)
    assert len(found) == 1
    assert name.replace("_", " ") in found[0]


def test_nothing_is_suspect_when_there_is_no_backup_before() -> None:
    assert suspicions(BEFORE, None) == []


def test_nothing_is_suspect_when_a_site_grew_or_shrank_a_little() -> None:
    smaller = {name: int(value * 0.6) for name, value in BEFORE.items()}
    assert suspicions(smaller, BEFORE) == []
    assert suspicions(BEFORE, smaller) == []


def test_suspicion_is_a_warning_that_names_both_numbers(tmp_path: Path) -> None:
    pipeline = sqlite_pipeline(tmp_path)
    pipeline.previous_facts = {"files": 900}
    for stage in ("backup_db", "backup_files"):
        pipeline.run(stage)
    result = pipeline.run("create_bundle")
    assert result.warnings == ("Suspect: files fell from 900 to 3 since the last good backup",)


def test_seal_fails_when_a_byte_of_the_spool_has_changed(tmp_path: Path) -> None:
    pipeline = sqlite_pipeline(tmp_path)
    for stage in ("backup_db", "backup_files"):
        pipeline.run(stage)
    segment = pipeline.job_directory / pipeline.outputs["backup_files"]["directory"] / "segment"
    damaged = bytearray(segment.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    segment.write_bytes(damaged)
    with pytest.raises(EngineError):
        pipeline.run("create_bundle")


def test_job_is_told_to_begin_again_when_the_spool_was_emptied(tmp_path: Path) -> None:
    pipeline = sqlite_pipeline(tmp_path)
    for stage in ("backup_db", "backup_files"):
        pipeline.run(stage)
    for segment in pipeline.job_directory.glob("*/segment"):
        segment.unlink()
    with pytest.raises(WorkMissing):
        pipeline.run("create_bundle")
