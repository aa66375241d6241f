"""The envelope when what is round the stage fails: rows, keys, texts, the clock."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.db import DataError, connection
from django.utils import timezone

from backups.actions import attempts, control, recovery
from backups.models import Job, Site, Stage, Storage
from backups.registry import STAGES
from tests.workers.factories import dispatched_job, make_site
from workers.engine.errors import EngineError, Fenced, StopRequested
from workers.lease import LeaseKeeper, boot_seconds
from workers.runner import run_stage
from workers.stages.context import StageContext, StageResult

pytestmark = pytest.mark.django_db(transaction=True)

LEASE_SECONDS = 3
HOSTILE = "photo\0 \udcff\udc80 \U0001f389"
BEHAVIOUR: dict[str, Callable[[StageContext], StageResult]] = {}


def scripted(context: StageContext) -> StageResult:
    """Stand in for a stage: what it does is what the test says."""
    return BEHAVIOUR["run"](context)


@pytest.fixture
def site(tmp_path: Path, settings: pytest.FixtureRequest) -> Site:
    settings.HOLDFAST_SPOOL_DIRECTORY = tmp_path / "spool"
    settings.HOLDFAST_LEASE_SECONDS = LEASE_SECONDS
    return make_site(tmp_path)


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Callable]]:
    stage = replace(STAGES["backup_db"], path=f"{__name__}:scripted")
    monkeypatch.setitem(STAGES, "backup_db", stage)
    yield BEHAVIOUR
    BEHAVIOUR.clear()


def run_next_stage(job: Job) -> bool:
    job.refresh_from_db()
    if job.state == "queued":
        Job.objects.filter(pk=job.pk).update(state="dispatched")
    stage = job.stages.get(position=job.stages_done)
    done = run_stage(stage.name, job_id=str(job.pk), epoch=job.epoch, worker="worker@host")
    job.refresh_from_db()
    return done


def test_job_fails_and_says_why_when_no_key_opens_the_storages_secrets(
    site: Site, settings: pytest.FixtureRequest
) -> None:
    Storage.objects.update(secrets={"secret_access_key": "s3cret"})
    job = dispatched_job(site)
    settings.HOLDFAST_ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
    assert not run_next_stage(job)
    assert (job.state, job.error_code) == ("failed", "secret_unreadable")
    assert "HOLDFAST_ENCRYPTION_KEYS" in job.error_message


def test_job_waits_for_another_message_when_the_database_is_away_at_the_claim(
    site: Site, script: dict, settings: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = dispatched_job(site)
    connection.close()
    monkeypatch.setitem(connection.settings_dict["OPTIONS"], "timeout", 0.1)
    blocker = sqlite3.connect(settings.DATABASES["default"]["TEST"]["NAME"])
    blocker.execute("BEGIN IMMEDIATE")
    try:
        assert not run_stage("backup_db", job_id=str(job.pk), epoch=1, worker="worker@host")
    finally:
        blocker.rollback()
        blocker.close()
        connection.close()
    job.refresh_from_db()
    assert (job.state, job.token, job.attempts) == ("dispatched", None, 0)


def test_work_is_fenced_in_time_when_the_database_hangs(
    site: Site, script: dict, settings: pytest.FixtureRequest
) -> None:
    """The keeper's thread waits in the database, so it cannot be the one that sees the time."""
    job = dispatched_job(site)
    outcome: list[float] = []

    def work_while_the_database_hangs(context: StageContext) -> StageResult:
        blocker = sqlite3.connect(settings.DATABASES["default"]["TEST"]["NAME"])
        blocker.execute("BEGIN IMMEDIATE")
        began = boot_seconds()
        try:
            while boot_seconds() - began < LEASE_SECONDS * 3:
                context.reporter.check()
        except Fenced:
            outcome.append(boot_seconds() - began)
            raise
        finally:
            blocker.rollback()
            blocker.close()
        return StageResult({"directory": ""}, "done")

    script["run"] = work_while_the_database_hangs
    assert not run_next_stage(job)
    assert outcome, "went on although others may have had its lease"
    assert outcome[0] < LEASE_SECONDS


def test_text_that_no_database_holds_is_kept_legible(site: Site, script: dict) -> None:
    job = dispatched_job(site)

    def tell(context: StageContext) -> StageResult:
        context.reporter.detail(HOSTILE)
        context.reporter.warn(HOSTILE)
        renewed = boot_seconds()
        while not Stage.objects.exclude(detail="").filter(job=job).exists():
            context.reporter.check()
            assert boot_seconds() - renewed < 10
        return StageResult({"directory": "", "odd": [HOSTILE]}, HOSTILE, (HOSTILE,))

    script["run"] = tell
    assert run_next_stage(job)
    legible = "photo\\x00 \\udcff\\udc80 \U0001f389"
    assert job.warnings == [legible, legible]
    stage = job.stages.get(name="backup_db")
    assert (stage.detail, stage.outputs["odd"]) == (legible, [legible])


def test_job_fails_when_its_error_is_text_that_no_database_holds(site: Site, script: dict) -> None:
    job = dispatched_job(site)

    def fail(context: StageContext) -> StageResult:
        raise EngineError(HOSTILE, hint=HOSTILE, permanent=True, code="c" * 200)

    script["run"] = fail
    assert not run_next_stage(job)
    assert (job.state, job.error_code) == ("failed", "c" * 50)
    assert job.error_message == "photo\\x00 \\udcff\\udc80 \U0001f389"


def test_job_ends_when_what_a_stage_leaves_cannot_be_stored(site: Site, script: dict) -> None:
    """The database is there, but will never take this: asking it for ever helps nobody."""
    job = dispatched_job(site)
    script["run"] = lambda context: StageResult({"directory": "", "bad": object()}, "done")
    assert not run_next_stage(job)
    assert (job.state, job.attempts) == ("queued", 1)


def test_last_write_is_given_up_when_the_database_refuses_it(site: Site) -> None:
    job = dispatched_job(site)
    attempt = attempts.claim_stage(
        job_id=str(job.pk), epoch=1, stage_name="backup_db", worker="worker@host"
    )
    assert attempt is not None
    tries: list[int] = []

    def refused() -> None:
        tries.append(1)
        raise DataError("value too long")

    with LeaseKeeper(attempt) as keeper, pytest.raises(DataError):
        keeper.until_answered(refused)
    assert len(tries) == 1


def test_last_write_is_given_up_when_only_it_fails_for_a_whole_lease(site: Site) -> None:
    """MariaDB answers a broken check of a column with the error of a lost connection's class."""
    job = dispatched_job(site)
    attempt = attempts.claim_stage(
        job_id=str(job.pk), epoch=1, stage_name="backup_db", worker="worker@host"
    )
    assert attempt is not None

    def refused() -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT * FROM there_is_no_such_table")

    with LeaseKeeper(attempt) as keeper, pytest.raises(Exception, match="no such table"):
        keeper.until_answered(refused)


def test_job_fails_in_the_end_when_its_work_goes_missing_every_time(
    site: Site, script: dict, settings: pytest.FixtureRequest
) -> None:
    """As when two hosts serve one node, or something sweeps the spool."""
    job = dispatched_job(site)
    script["run"] = lambda context: StageResult({"directory": ""}, "done")
    for _ in range(20):
        for segment in settings.HOLDFAST_SPOOL_DIRECTORY.glob("*/backup_files-*/segment"):
            segment.unlink()
        run_next_stage(job)
        if job.state == "failed":
            break
    assert (job.state, job.error_code) == ("failed", "work_missing")


def test_job_is_stopped_when_the_stop_comes_while_the_stage_fails(
    site: Site, script: dict, settings: pytest.FixtureRequest
) -> None:
    job = dispatched_job(site)

    def fail(context: StageContext) -> StageResult:
        Job.objects.filter(pk=job.pk).update(state="stopping", stop_requested_at=timezone.now())
        raise EngineError("The server went away")

    script["run"] = fail
    assert not run_next_stage(job)
    assert (job.state, job.active_site) == ("stopped", None)
    assert not (settings.HOLDFAST_SPOOL_DIRECTORY / str(job.pk)).exists()


def test_attempt_does_nothing_when_it_slept_right_after_its_claim(
    site: Site, script: dict, settings: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, ran = dispatched_job(site), []
    claim = attempts.claim_stage

    def claim_and_sleep(**words: Any) -> attempts.Attempt | None:
        attempt = claim(**words)
        Job.objects.update(lease_expires_at=timezone.now() - timedelta(seconds=1))
        assert recovery.recover_lost_jobs() == 1
        return attempt

    monkeypatch.setattr(attempts, "claim_stage", claim_and_sleep)
    script["run"] = ran.append
    assert not run_next_stage(job)
    assert (job.state, job.epoch, ran) == ("queued", 2, [])
    assert not (settings.HOLDFAST_SPOOL_DIRECTORY / job.folder_name).exists()


def test_agent_looks_again_when_a_stop_meets_an_upload(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request that was sent whole may be answered, and done, after all was removed."""
    stage = replace(STAGES["upload_remote"], path=f"{__name__}:scripted")
    monkeypatch.setitem(STAGES, "upload_remote", stage)
    job = dispatched_job(site)

    def stop(context: StageContext) -> StageResult:
        control.stop_job(job=job, requested_by=None)
        raise StopRequested

    monkeypatch.setitem(BEHAVIOUR, "run", stop)
    for _ in range(4):
        run_next_stage(job)
    assert (job.state, job.stages_done, job.cleanup_pending) == ("stopped", 3, True)
