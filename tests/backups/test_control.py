"""Stop, reset and retry as rows: what each does to a job in each state, and what it leaves."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db.models import QuerySet
from django.db.models.functions import Now

from backups.actions import attempts, control, jobs, leftovers, recovery
from backups.actions.attempts import Attempt, Progress, Verdict
from backups.errors import BackupAlreadyRunningError, JobNotActiveError, JobNotRetryableError
from backups.models import Job, Node, Site, Worker
from backups.queries import backup_status, newest_job

pytestmark = pytest.mark.usefixtures("closed_broker")
WORK = {
    "backup_db": {"directory": "backup_db-1-a"},
    "backup_files": {"directory": "backup_files-1-a"},
    "create_bundle": {"directory": "create_bundle-1-a", "key": "n/s/old.tar.zst"},
    "upload_remote": {"key": "n/s/old.tar.zst"},
}


def dispatched(site: Site) -> Job:
    job = jobs.start_backup(site=site)
    Job.objects.filter(pk=job.pk).update(state="dispatched")
    return Job.objects.get(pk=job.pk)


def claim(job: Job, stage: str = "backup_db") -> Attempt:
    attempt = attempts.claim_stage(
        job_id=str(job.pk), epoch=job.epoch, stage_name=stage, worker="w@h", process_id=1
    )
    assert attempt is not None
    return attempt


def done_up_to(site: Site, number: int) -> Job:
    """Return a job between two stages, `number` of which are done."""
    job = dispatched(site)
    for name, outputs in list(WORK.items())[:number]:
        assert attempts.finish_stage(
            claim(job, name), outputs=outputs, detail=name, warnings=[], progress=Progress(1, 1)
        )
    return Job.objects.get(pk=job.pk)


def failed(site: Site, number: int, code: str = "access_denied") -> Job:
    job = done_up_to(site, number)
    stages = [*WORK, "cleanup"]
    words = {"code": code, "message": "No", "hint": "", "permanent": True}
    assert attempts.fail_stage(claim(job, stages[number]), **words) == "failed"
    return Job.objects.get(pk=job.pk)


@pytest.mark.parametrize("state", ["queued", "dispatched"])
def test_job_that_did_nothing_yet_is_stopped_at_once_and_has_left_nothing(
    site: Site, state: str
) -> None:
    job = jobs.start_backup(site=site)
    Job.objects.update(state=state)
    stopped = control.stop_backup(site=site, requested_by=None)
    assert (stopped.pk, stopped.state, stopped.cleanup_pending) == (job.pk, "stopped", False)
    assert jobs.start_backup(site=site).pk != job.pk


def test_job_between_two_stages_is_stopped_at_once_and_the_node_cleans_up(site: Site) -> None:
    job = done_up_to(site, 2)
    stopped = control.stop_job(job=job, requested_by=None)
    assert (stopped.state, stopped.cleanup_pending) == ("stopped", True)
    assert [one.folder_name for one in leftovers.leftovers_of(site.node_id)] == [str(job.pk)]


def test_running_job_reads_stopping_until_its_attempt_has_removed_everything(site: Site) -> None:
    job = dispatched(site)
    attempt = claim(job)
    for _ in range(2):
        assert control.stop_job(job=job, requested_by=None).state == "stopping"
    assert attempts.renew_lease(attempt, Progress(), moved=False) is Verdict.STOP
    assert job.events.filter(kind="stop_requested").count() == 1
    assert attempts.end_stopped(attempt, is_clean=True)
    job.refresh_from_db()
    assert (job.state, job.cleanup_pending, job.active_site) == ("stopped", False, None)


def test_stop_wins_over_a_result_that_comes_after_it(site: Site) -> None:
    job = dispatched(site)
    attempt = claim(job)
    control.stop_job(job=job, requested_by=None)
    late = attempts.finish_stage(attempt, outputs={}, detail="", warnings=[], progress=Progress())
    assert not late


def test_stop_wins_over_an_error_that_comes_after_it(site: Site) -> None:
    attempt = claim(dispatched(site))
    control.stop_backup(site=site, requested_by=None)
    words = {"code": "disk_full", "message": "Full", "hint": "", "permanent": True}
    assert attempts.fail_stage(attempt, **words) is None
    assert attempts.end_stopped(attempt, is_clean=True)
    assert Job.objects.get().state == "stopped"


def test_nothing_can_be_stopped_when_nothing_is_active(site: Site) -> None:
    with pytest.raises(JobNotActiveError):
        control.stop_backup(site=site, requested_by=None)
    job = failed(site, 0)
    with pytest.raises(JobNotActiveError):
        control.stop_job(job=job, requested_by=None)


@pytest.mark.parametrize("number", [0, 1, 4])
def test_attempt_can_change_nothing_after_a_reset_and_a_new_job_begins(
    site: Site, number: int
) -> None:
    job = done_up_to(site, number)
    attempt = claim(job, [*WORK, "cleanup"][number])
    reset = control.reset_backup(site=site, requested_by=None)
    pending = job.stages.exclude(state="completed")
    assert reset.job_id == job.pk
    assert set(reset.revoked) == {str(stage.task_id) for stage in pending}
    assert attempts.renew_lease(attempt, Progress(), moved=False) is Verdict.FENCED
    words = {"outputs": {}, "detail": "", "warnings": [], "progress": Progress()}
    assert not attempts.finish_stage(attempt, **words)
    assert not attempts.end_stopped(attempt, is_clean=True)
    job.refresh_from_db()
    assert (job.state, job.epoch, job.cleanup_pending) == ("reset", 2, True)
    assert backup_status(site, newest_job(site))["status"] == "idle"
    assert jobs.start_backup(site=site).pk != job.pk


def test_reset_of_a_job_that_never_ran_leaves_nothing_to_clean(site: Site) -> None:
    job = dispatched(site)
    reset = control.reset_backup(site=site, requested_by=None)
    assert len(reset.revoked) == 5
    cleanup = control.wait_for_cleanup(job.pk)
    assert cleanup.done
    assert cleanup.report == leftovers.CleanupReport()


def test_site_reads_idle_after_a_reset_when_nothing_was_active(site: Site) -> None:
    assert control.reset_backup(site=site, requested_by=None) == control.Reset(None)
    failed(site, 1)
    assert backup_status(site, newest_job(site))["status"] == "failed"
    assert control.reset_backup(site=site, requested_by=None) == control.Reset(None)
    assert backup_status(site, newest_job(site))["status"] == "idle"


def test_job_that_begins_while_a_reset_finds_nothing_is_shown(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    def find_nothing_just_before_a_start(site: Site) -> None:
        jobs.start_backup(site=site)

    monkeypatch.setattr(control, "_locked_active_job", find_nothing_just_before_a_start)
    assert control.reset_backup(site=site, requested_by=None).job_id is None
    assert backup_status(site, newest_job(site))["status"] == "running"


def test_reset_does_not_wait_for_a_node_that_is_away(site: Site) -> None:
    job = done_up_to(site, 1)
    control.reset_backup(site=site, requested_by=None)
    assert not control.wait_for_cleanup(job.pk).done
    [leftover] = leftovers.leftovers_of(site.node_id)
    report = leftovers.CleanupReport(folders_removed=1, bytes_freed=5)
    leftovers.record_cleanup(leftover, report, done=False)
    leftovers.record_cleanup(leftover, leftovers.CleanupReport(processes_killed=2))
    cleanup = control.wait_for_cleanup(job.pk)
    assert cleanup == control.Cleanup(True, leftovers.CleanupReport(1, 5, 2))
    assert leftovers.leftovers_of(site.node_id) == []


@pytest.mark.parametrize("number", [1, 2, 3])
def test_retry_goes_on_after_what_is_intact(site: Site, number: int) -> None:
    old = failed(site, number)
    stages = list(WORK)[:number]
    job = control.retry_job(job=old, requested_by=None, intact_stages=stages)
    assert (job.stages_done, job.epoch, job.folder_name) == (number, 2, str(old.pk))
    assert (job.retry_of, job.progress, job.state) == (old, number * 20, "queued")
    done = {stage.name: stage for stage in job.stages.filter(state="completed")}
    assert list(done) == stages
    assert done["backup_db"].outputs == WORK["backup_db"]
    if number == 3:
        assert done["create_bundle"].outputs["key"] != WORK["create_bundle"]["key"]
    Job.objects.filter(pk=job.pk).update(state="dispatched")
    assert claim(job, list(WORK)[number]).folder_name == str(old.pk)
    # The old job's own rests go, the folder that the new one uses stays.
    [leftover] = leftovers.leftovers_of(site.node_id)
    assert (leftover.job_id, leftover.folder_name) == (old.pk, "")
    leftovers.record_cleanup(leftover, leftovers.CleanupReport())
    assert leftovers.leftovers_of(site.node_id) == []


def test_retry_begins_anew_from_the_first_stage_that_is_not_intact(site: Site) -> None:
    old = failed(site, 3)
    intact = ["backup_db", "create_bundle"]
    assert control.retry_job(job=old, requested_by=None, intact_stages=intact).stages_done == 1


def test_stored_bundle_is_stored_again_since_its_object_was_not_counted(site: Site) -> None:
    old = failed(site, 4)
    [leftover] = leftovers.leftovers_of(site.node_id)
    assert leftover.object_key == "n/s/old.tar.zst"
    job = control.retry_job(job=old, requested_by=None, intact_stages=list(WORK))
    assert job.stages_done == 3


@pytest.mark.parametrize("code", ["disk_full", "not_enough_space"])
def test_nothing_is_kept_when_the_node_needs_the_room(site: Site, code: str) -> None:
    old = failed(site, 2, code)
    assert leftovers.leftovers_of(site.node_id)[0].folder_name == str(old.pk)
    job = control.retry_job(job=old, requested_by=None, intact_stages=list(WORK))
    assert (job.stages_done, job.folder_name) == (0, str(job.pk))


def test_kept_work_goes_when_another_backup_begins_or_time_is_up(site: Site) -> None:
    old = failed(site, 2)
    assert leftovers.wanted_folders(site.node_id) == {str(old.pk)}
    [leftover] = leftovers.leftovers_of(site.node_id)
    assert leftover.folder_name == ""
    new = jobs.start_backup(site=site)
    # Recorded by an agent that had looked before the work was given up.
    leftovers.record_cleanup(leftover, leftovers.CleanupReport())
    [leftover] = leftovers.leftovers_of(site.node_id)
    assert leftover.folder_name == str(old.pk)
    assert leftovers.wanted_folders(site.node_id) == {str(new.pk)}
    control.stop_job(job=new, requested_by=None)
    other = failed(site, 2)
    Job.objects.filter(pk=other.pk).update(work_kept_until=Now() - timedelta(seconds=1))
    assert leftovers.wanted_folders(site.node_id) == set()
    retried = control.retry_job(job=other, requested_by=None, intact_stages=list(WORK))
    assert retried.stages_done == 0


def test_only_what_failed_or_was_stopped_is_tried_again_and_one_at_a_time(site: Site) -> None:
    old = failed(site, 2)
    job = control.retry_job(job=old, requested_by=None, intact_stages=list(WORK))
    with pytest.raises(JobNotRetryableError):
        control.retry_job(job=job, requested_by=None)
    with pytest.raises(BackupAlreadyRunningError):
        control.retry_job(job=old, requested_by=None)
    control.stop_job(job=job, requested_by=None)
    job.refresh_from_db()
    assert control.retry_job(job=job, requested_by=None).stages_done == 0


@pytest.mark.parametrize("change", [{"is_draining": True}, {"is_enabled": False}])
def test_no_stage_is_claimed_while_the_node_takes_none(site: Site, change: dict) -> None:
    job = done_up_to(site, 1)
    Node.objects.update(**change)
    arguments = {"job_id": str(job.pk), "stage_name": "backup_files", "worker": "w@h"}
    assert attempts.claim_stage(epoch=1, **arguments) is None
    job.refresh_from_db()
    assert (job.state, job.epoch, job.attempts, job.stages_done) == ("queued", 2, 0, 1)
    Node.objects.update(is_enabled=True, is_draining=False)
    assert attempts.claim_stage(epoch=1, **arguments) is None
    Job.objects.update(state="dispatched")
    assert attempts.claim_stage(epoch=2, **arguments) is not None


def test_worker_that_leaves_hands_over_without_counting_an_attempt(
    site: Site, other_site: Site, live_worker: Worker
) -> None:
    running, stopping = dispatched(site), dispatched(other_site)
    attempt = claim(running)
    claim(stopping)
    control.stop_job(job=stopping, requested_by=None)
    assert recovery.hand_over(worker="other@h", reason="x") == 0
    assert recovery.hand_over(worker="w@h", reason="The worker ends") == 2
    running.refresh_from_db()
    stopping.refresh_from_db()
    assert (running.state, running.epoch, running.attempts) == ("queued", 2, 0)
    assert (stopping.state, stopping.cleanup_pending) == ("stopped", True)
    assert attempts.renew_lease(attempt, Progress(), moved=False) is Verdict.FENCED


def test_dead_worker_costs_an_attempt_and_no_lease_is_waited_for(site: Site) -> None:
    job = dispatched(site)
    claim(job)
    assert recovery.recover_worker(worker="w@h") == 1
    job.refresh_from_db()
    assert (job.state, job.epoch, job.attempts) == ("queued", 2, 1)
    assert recovery.recover_worker(worker="w@h") == 0


def test_dead_attempt_is_taken_back_once(site: Site) -> None:
    attempt = claim(dispatched(site))
    names = {"job_id": attempt.job_id, "epoch": attempt.epoch, "token": attempt.token}
    assert recovery.recover_attempt(**names)
    assert not recovery.recover_attempt(**names)


@pytest.mark.parametrize("ends", ["handed over", "recovered"])
def test_job_is_stopped_at_once_when_the_stop_meets_the_end_of_its_worker(
    site: Site, monkeypatch: pytest.MonkeyPatch, ends: str
) -> None:
    """Nobody would end it before its lease does: its worker's end has been dealt with."""
    claim(dispatched(site))
    running = recovery._running

    def stop_just_after(worker: str) -> QuerySet[Job]:
        monkeypatch.setattr(recovery, "_running", running)
        found = running(worker)
        list(found)  # read now: what comes next is not in it
        control.stop_backup(site=site, requested_by=None)
        return found

    monkeypatch.setattr(recovery, "_running", stop_just_after)
    if ends == "recovered":
        assert recovery.recover_worker(worker="w@h") == 1
    else:
        assert recovery.hand_over(worker="w@h", reason="The worker ended") == 1
    assert Job.objects.get().state == "stopped"
