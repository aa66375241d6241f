"""What a node says of a job's work before a retry: which finished stages still have it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from backups.models import Job
from tests.workers.factories import dispatched_job, make_site
from workers.answers import work_state
from workers.runner import run_stage

pytestmark = pytest.mark.django_db(transaction=True)

SEALED = ["backup_db", "backup_files", "create_bundle"]


@pytest.fixture
def job(tmp_path: Path, settings: Any) -> Job:
    """A job that was sealed in the spool and not stored yet."""
    settings.HOLDFAST_SPOOL_DIRECTORY = tmp_path / "spool"
    job = dispatched_job(make_site(tmp_path))
    for name in SEALED:
        assert run_stage(name, job_id=str(job.pk), epoch=1, worker="worker@host")
    return job


def segment(job: Job, settings: Any, stage: str) -> Path:
    folder = settings.HOLDFAST_SPOOL_DIRECTORY / job.folder_name
    return folder / job.stages.get(name=stage).outputs["directory"] / "segment"


def test_every_finished_stage_is_intact_when_nothing_was_touched(job: Job) -> None:
    assert work_state(str(job.pk)) == {"intact": SEALED}


def shorten(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - 1)


@pytest.mark.parametrize("harm", [shorten, Path.unlink, lambda path: shutil.rmtree(path.parent)])
def test_stages_that_need_what_was_harmed_are_not_intact(
    job: Job, settings: Any, harm: Callable[[Path], object]
) -> None:
    harm(segment(job, settings, "backup_files"))
    assert work_state(str(job.pk)) == {"intact": ["backup_db"]}


def test_only_the_bundle_is_not_intact_when_its_own_segment_was_harmed(
    job: Job, settings: Any
) -> None:
    shorten(segment(job, settings, "create_bundle"))
    assert work_state(str(job.pk)) == {"intact": ["backup_db", "backup_files"]}
