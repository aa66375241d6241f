"""How jobs are given out and taken back."""

from __future__ import annotations

import uuid
from datetime import timedelta

import pytest
from django.db.models.functions import Now

from backups.actions import admission, attempts, jobs, recovery
from backups.actions.sites import change_site
from backups.errors import InUseError
from backups.models import BackupStatus, Job, Node, Site, Storage, Worker

pytestmark = pytest.mark.usefixtures("closed_broker")


def more_sites(node: Node, storage: Storage, number: int) -> list[Site]:
    root = node.allowed_roots[0]
    return [
        Site.objects.create(name=f"s{one}", node=node, storage=storage, wp_path=f"{root}/{one}")
        for one in range(number)
    ]


def claimed(site: Site) -> tuple[Job, attempts.Attempt]:
    job = jobs.start_backup(site=site)
    Job.objects.filter(pk=job.pk).update(state="dispatched")
    attempt = attempts.claim_stage(
        job_id=str(job.pk), epoch=1, stage_name="backup_db", worker="w@h"
    )
    assert attempt is not None
    return job, attempt


def test_as_many_are_admitted_as_the_node_has_slots(
    node: Node, storage: Storage, live_worker: Worker
) -> None:
    for site in more_sites(node, storage, 5):
        jobs.start_backup(site=site)
    assert admission.admit_jobs() == node.slots == 2
    assert admission.admit_jobs() == 0
    assert Job.objects.filter(state="dispatched", claim_deadline__gt=Now()).count() == 2


def test_further_along_goes_first_then_priority_then_age(
    node: Node, storage: Storage, live_worker: Worker
) -> None:
    oldest, older, urgent, advanced = [
        jobs.start_backup(site=site) for site in more_sites(node, storage, 4)
    ]
    Job.objects.filter(pk=urgent.pk).update(priority=5)
    Job.objects.filter(pk=advanced.pk).update(stages_done=2)
    Node.objects.update(slots=1)
    order = []
    while admission.admit_jobs():
        admitted = Job.objects.get(state="dispatched")
        order.append(admitted.pk)
        Job.objects.filter(pk=admitted.pk).update(state="completed", active_site=None)
    assert order == [advanced.pk, urgent.pk, oldest.pk, older.pk]


def test_nothing_is_admitted_when_nobody_works_or_it_is_not_time(
    site: Site, live_worker: Worker
) -> None:
    jobs.start_backup(site=site)
    Job.objects.update(not_before=Now() + timedelta(seconds=60))
    assert admission.admit_jobs() == 0
    Job.objects.update(not_before=None)
    Worker.objects.update(last_seen_at=Now() - timedelta(seconds=60))
    assert admission.admit_jobs() == 0
    Worker.objects.update(last_seen_at=Now())
    Node.objects.update(is_enabled=False)
    assert admission.admit_jobs() == 0


def test_job_is_sent_anew_under_another_epoch_when_nobody_claims_it(
    site: Site, live_worker: Worker
) -> None:
    job = jobs.start_backup(site=site)
    admission.admit_jobs()
    ids = set(job.stages.values_list("task_id", flat=True))
    assert recovery.recover_lost_jobs() == 0
    Job.objects.update(claim_deadline=Now() - timedelta(seconds=1))
    assert recovery.recover_lost_jobs() == 1
    job.refresh_from_db()
    assert (job.state, job.epoch, job.attempts) == ("queued", 2, 0)
    assert not ids & set(job.stages.values_list("task_id", flat=True))
    late = attempts.claim_stage(job_id=str(job.pk), epoch=1, stage_name="backup_db", worker="w")
    assert late is None


def test_old_attempt_can_change_nothing_when_its_lease_was_lost(site: Site) -> None:
    job, attempt = claimed(site)
    Job.objects.update(lease_expires_at=Now() - timedelta(seconds=1))
    assert recovery.recover_lost_jobs() == 1
    before = Job.objects.values().get(pk=job.pk)
    progress = attempts.Progress(5, 10)
    assert attempts.renew_lease(attempt, progress, moved=True) is attempts.Verdict.FENCED
    assert not attempts.save_checkpoint(attempt, {"a": 1})
    assert not attempts.finish_stage(attempt, outputs={}, detail="", warnings=[], progress=progress)
    words = {"code": "x", "message": "x", "hint": "", "permanent": True}
    assert attempts.fail_stage(attempt, **words) is None
    assert not attempts.end_stopped(attempt, is_clean=True)
    assert attempts.reserve_object_key(attempt) is None
    assert Job.objects.values().get(pk=job.pk) == before


def test_job_fails_with_the_reason_when_its_worker_is_lost_for_the_third_time(
    site: Site,
) -> None:
    job, _ = claimed(site)
    Job.objects.update(attempts=2, lease_expires_at=Now() - timedelta(seconds=1))
    assert recovery.recover_lost_jobs() == 1
    job.refresh_from_db()
    assert (job.state, job.error_code, job.active_site) == ("failed", "worker_lost", None)
    assert "w@h was lost during backup_db" in job.error_message
    assert job.backup.status == BackupStatus.FAILED
    assert jobs.start_backup(site=site).pk != job.pk


def test_stage_is_claimed_once_however_often_its_message_comes(site: Site) -> None:
    job, _ = claimed(site)
    for name in ("backup_db", "backup_files", "no_such_stage"):
        again = attempts.claim_stage(job_id=str(job.pk), epoch=1, stage_name=name, worker="w")
        assert again is None, name
    gone = attempts.claim_stage(
        job_id=str(uuid.uuid4()), epoch=1, stage_name="backup_db", worker="w"
    )
    assert gone is None


def moved(site: Site, node: Node) -> None:
    change_site(site=Site.objects.get(pk=site.pk), node=node, wp_path="/srv/other/example.com")


def test_job_goes_to_the_node_that_has_the_site_now(site: Site, other_node: Node) -> None:
    """Whoever starts it may have read the site before it was moved."""
    moved(site, other_node)
    assert jobs.start_backup(site=site).node == other_node


def test_start_is_refused_when_the_site_is_moved_in_the_middle_of_it(
    site: Site, other_node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    def move_meanwhile(found: Site, **options: bool) -> int:
        moved(found, other_node)
        return 0

    monkeypatch.setattr(jobs, "_expected_bytes", move_meanwhile)
    with pytest.raises(InUseError):
        jobs.start_backup(site=site)
    assert not Job.objects.exists()
