"""The envelope round a stage: what it records for each way that a stage can end."""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from django.utils import timezone

from backups.models import Backup, Job, JobEvent, Site
from backups.registry import PIPELINES, STAGES
from backups.states import JobKind
from tests.workers.factories import dispatched_job, make_site
from workers.engine.errors import EngineError
from workers.runner import run_stage
from workers.stages.context import StageContext, StageResult

pytestmark = pytest.mark.django_db(transaction=True)

BEHAVIOUR: dict[str, Callable[[StageContext], StageResult]] = {}


def scripted(context: StageContext) -> StageResult:
    """Stand in for a stage: what it does is what the test says."""
    return BEHAVIOUR["run"](context)


@pytest.fixture
def spool(tmp_path: Path, settings: pytest.FixtureRequest) -> Path:
    settings.HOLDFAST_SPOOL_DIRECTORY = tmp_path / "spool"
    settings.HOLDFAST_LEASE_SECONDS = 3
    return tmp_path / "spool"


@pytest.fixture
def site(tmp_path: Path, spool: Path) -> Site:
    return make_site(tmp_path)


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Callable]]:
    stage = replace(STAGES["backup_db"], path="tests.workers.test_runner:scripted")
    monkeypatch.setitem(STAGES, "backup_db", stage)
    yield BEHAVIOUR
    BEHAVIOUR.clear()


def run_first_stage(job: Job, epoch: int | None = None) -> bool:
    return run_stage(
        "backup_db", job_id=str(job.pk), epoch=epoch or job.epoch, worker="worker@host"
    )


def test_every_stage_runs_and_a_backup_exists_when_all_goes_well(site: Site, spool: Path) -> None:
    job = dispatched_job(site)
    for name in PIPELINES[JobKind.BACKUP]:
        assert run_stage(name, job_id=str(job.pk), epoch=1, worker="worker@host")
    job.refresh_from_db()
    assert (job.state, job.progress, job.active_site) == ("completed", 100, None)
    backup = Backup.objects.get(job=job)
    assert Path(site.storage.config["path"], backup.object_key).stat().st_size == backup.size_bytes
    assert not (spool / str(job.pk)).exists()


def test_stage_is_refused_when_it_is_not_its_turn(site: Site) -> None:
    job = dispatched_job(site)
    assert not run_stage("backup_files", job_id=str(job.pk), epoch=1, worker="worker@host")
    job.refresh_from_db()
    assert job.state == "dispatched"


def test_stage_is_refused_when_it_comes_a_second_time(site: Site, script: dict) -> None:
    job = dispatched_job(site)
    script["run"] = lambda context: StageResult({"directory": ""}, "done")
    assert run_first_stage(job)
    assert not run_first_stage(job)


def test_stage_is_refused_when_the_epoch_has_passed(site: Site, script: dict) -> None:
    job = dispatched_job(site)
    Job.objects.filter(pk=job.pk).update(epoch=2)
    assert not run_first_stage(job, epoch=1)


def test_job_waits_and_begins_a_new_epoch_when_an_error_may_pass(site: Site, script: dict) -> None:
    job = dispatched_job(site)

    def fail(context: StageContext) -> StageResult:
        raise EngineError("The server went away", hint="Wait a little.")

    script["run"] = fail
    assert not run_first_stage(job)
    job.refresh_from_db()
    assert (job.state, job.epoch, job.attempts, job.token) == ("queued", 2, 1, None)
    assert job.not_before is not None
    assert "The server went away" in JobEvent.objects.filter(job=job).last().message


def test_job_fails_with_the_three_columns_when_an_error_is_permanent(
    site: Site, script: dict, spool: Path
) -> None:
    job = dispatched_job(site)

    def fail(context: StageContext) -> StageResult:
        (context.directory / "segment").write_bytes(b"half")
        raise EngineError("Access denied", hint="Check it.", permanent=True, code="access_denied")

    script["run"] = fail
    assert not run_first_stage(job)
    job.refresh_from_db()
    assert (job.error_code, job.error_message) == ("access_denied", "Access denied")
    assert (job.state, job.error_hint, job.active_site) == ("failed", "Check it.", None)
    assert not (spool / str(job.pk)).exists()
    assert Backup.objects.get(job=job).status == "FAILED"


def test_job_fails_when_the_third_attempt_does(site: Site, script: dict) -> None:
    job = dispatched_job(site)

    def fail(context: StageContext) -> StageResult:
        raise EngineError("The server went away")

    script["run"] = fail
    for epoch in (1, 2, 3):
        assert not run_first_stage(job, epoch=epoch)
        job.refresh_from_db()
        if epoch < 3:
            Job.objects.filter(pk=job.pk).update(state="dispatched")
    assert job.state == "failed"


def test_person_sees_a_reference_and_the_log_the_traceback_when_it_is_a_bug(
    site: Site, script: dict, caplog: pytest.LogCaptureFixture
) -> None:
    job = dispatched_job(site)

    def crash(context: StageContext) -> StageResult:
        raise ZeroDivisionError("secret detail")

    script["run"] = crash
    with caplog.at_level(logging.ERROR):
        assert not run_first_stage(job)
    message = JobEvent.objects.filter(job=job).last().message
    assert f"Internal error, reference {job.pk}" in message
    assert "secret detail" not in message
    assert "ZeroDivisionError" in caplog.text


def test_error_names_the_spool_when_its_disk_is_full(site: Site, script: dict, spool: Path) -> None:
    job = dispatched_job(site)

    def fill(context: StageContext) -> StageResult:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    script["run"] = fill
    assert not run_first_stage(job)
    job.refresh_from_db()
    assert (job.state, job.error_code) == ("failed", "disk_full")
    assert str(spool) in job.error_message


def test_job_is_stopped_and_leaves_nothing_when_a_stop_is_asked_for(
    site: Site, script: dict, spool: Path
) -> None:
    job = dispatched_job(site)

    def wait_for_stop(context: StageContext) -> StageResult:
        Job.objects.filter(pk=job.pk).update(state="stopping", stop_requested_at=timezone.now())
        while True:
            context.reporter.check()

    script["run"] = wait_for_stop
    assert not run_first_stage(job)
    job.refresh_from_db()
    assert (job.state, job.active_site) == ("stopped", None)
    assert not (spool / str(job.pk)).exists()


def test_nothing_is_changed_when_another_epoch_took_over(
    site: Site, script: dict, spool: Path
) -> None:
    job = dispatched_job(site)

    def be_taken_over(context: StageContext) -> StageResult:
        Job.objects.filter(pk=job.pk).update(epoch=9, token=None, state="queued")
        while True:
            context.reporter.check()

    script["run"] = be_taken_over
    assert not run_first_stage(job)
    job.refresh_from_db()
    assert (job.state, job.epoch, job.attempts) == ("queued", 9, 0)


def test_late_result_is_refused_when_another_epoch_took_over_unnoticed(
    site: Site, script: dict
) -> None:
    job = dispatched_job(site)

    def finish_late(context: StageContext) -> StageResult:
        Job.objects.filter(pk=job.pk).update(epoch=9, token=None, state="queued")
        return StageResult({"directory": "zombie"}, "done")

    script["run"] = finish_late
    assert not run_first_stage(job)
    job.refresh_from_db()
    assert (job.state, job.epoch, job.stages_done) == ("queued", 9, 0)
    assert job.stages.get(name="backup_db").outputs == {}


def test_job_begins_again_when_an_earlier_stages_work_is_gone(site: Site, spool: Path) -> None:
    job = dispatched_job(site)
    run_stage("backup_db", job_id=str(job.pk), epoch=1, worker="worker@host")
    run_stage("backup_files", job_id=str(job.pk), epoch=1, worker="worker@host")
    for segment in spool.glob("*/*/segment"):
        segment.unlink()
    assert not run_stage("create_bundle", job_id=str(job.pk), epoch=1, worker="worker@host")
    job.refresh_from_db()
    assert (job.state, job.stages_done, job.epoch) == ("queued", 0, 2)


def test_earlier_attempts_folder_is_removed_when_the_stage_runs_again(
    site: Site, script: dict, spool: Path
) -> None:
    job = dispatched_job(site)
    Job.objects.filter(pk=job.pk).update(epoch=4)
    old = spool / str(job.pk) / "backup_db-3-aaaa"
    later = spool / str(job.pk) / "backup_db-5-bbbb"
    for folder in (old, later):
        folder.mkdir(parents=True)
    script["run"] = lambda context: StageResult({"directory": ""}, "done")
    assert run_first_stage(job, epoch=4)
    assert later.exists()
    assert not old.exists()


def test_progress_and_lease_are_written_while_the_stage_runs(site: Site, script: dict) -> None:
    job = dispatched_job(site)
    seen: list[int] = []

    def work(context: StageContext) -> StageResult:
        context.reporter.total(100)
        context.reporter.advance(50)
        context.reporter.detail("half way")
        while not seen:
            context.reporter.check()
            stage = Job.objects.get(pk=job.pk).stages.get(name="backup_db")
            if stage.detail == "half way":
                seen.append(Job.objects.get(pk=job.pk).progress)
        return StageResult({"directory": ""}, "done")

    script["run"] = work
    assert run_first_stage(job)
    assert seen == [10]
    job.refresh_from_db()
    assert (job.state, job.progress, job.token) == ("between", 20, None)


def test_nothing_is_written_to_the_spool_when_a_stored_bundle_is_cleaned_up(
    site: Site, spool: Path
) -> None:
    """A spool whose disk is full must not cost a job its bundle."""
    job = dispatched_job(site)
    *before, last = PIPELINES[JobKind.BACKUP]
    for name in before[:-1]:
        assert run_stage(name, job_id=str(job.pk), epoch=1, worker="worker@host")
    folders = {path.name for path in (spool / str(job.pk)).iterdir()}
    assert run_stage(before[-1], job_id=str(job.pk), epoch=1, worker="worker@host")
    assert {path.name for path in (spool / str(job.pk)).iterdir()} == folders
    assert run_stage(last, job_id=str(job.pk), epoch=1, worker="worker@host")
    assert Backup.objects.get(job=job).status == "SUCCESS"
