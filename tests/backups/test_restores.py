"""What is decided about a restore before a node hears of it."""

from __future__ import annotations

from collections.abc import Callable
from io import StringIO
from typing import Any

import pytest
from rich.console import Console

from backups.actions import admission, jobs, pins, restores
from backups.actions.endings import fail_job
from backups.actions.restores import CHECKPOINT_NOTE, RestoreRequest
from backups.actions.unsettled import KIND, without_unsettled
from backups.errors import InvalidFieldError, PinRefusedError, RestoreRefusedError
from backups.management.commands.restore import GROUPS, say_plan
from backups.management.finding import find_backup
from backups.models import Backup, Job, JobEvent, Site, Stage, Storage, Worker
from panel.accounts.models import User

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("settled_dispatch")]

MakeBackup = Callable[..., Backup]


def start(site: Site, backup: Backup, **fields: Any) -> Job:
    request = RestoreRequest(**fields)
    return restores.start_restore(site=site, backup=backup, request=request, requested_by=None)


def ended(job: Job, state: str = "completed", **fields: Any) -> Job:
    Job.objects.filter(pk=job.pk).update(state=state, active_site=None, **fields)
    return Job.objects.get(pk=job.pk)


def checkpointed(site: Site, make_backup: MakeBackup, **fields: Any) -> tuple[Job, Backup]:
    """Return a restore that was done, and the backup that was made before it."""
    job = start(site, make_backup(site), **fields)
    assert job.waits_for is not None
    ended(job.waits_for)
    checkpoint = make_backup(site, number=2)
    checkpoint.job, checkpoint.pin_note = job.waits_for, CHECKPOINT_NOTE
    checkpoint.pinned_at = checkpoint.created_at
    checkpoint.save()
    return ended(job), checkpoint


def test_it_is_said_when_the_checkpoint_could_not_be_opened_again(
    site: Site, storage: Storage, make_backup: MakeBackup, live_worker: Worker
) -> None:
    backup = make_backup(site)
    Storage.objects.update(encryption_recipients=["age1offline"])
    for fields in ({}, {"dry_run": True}):
        job = ended(start(site, backup, **fields))
        [warning] = job.warnings
        assert "HOLDFAST_AGE_IDENTITY_FILE" in warning
        assert JobEvent.objects.filter(job=job, kind="warned", message=warning).exists()
    assert start(site, backup, target="copy").warnings == []
    assert ended(start(site, backup, checkpoint=False)).warnings == []
    live_worker.versions = {"age_recipients": "age1another,age1offline"}
    live_worker.save()
    assert start(site, backup).warnings == []


def test_an_undo_takes_away_what_was_not_there(site: Site, make_backup: MakeBackup) -> None:
    job, checkpoint = checkpointed(site, make_backup, what="files", paths=("wp-content/plugins/x",))
    undo = restores.undo_restore(job=job, requested_by=None)
    assert undo.source == checkpoint
    assert undo.parameters["removes_missing"] is True
    assert undo.parameters["paths"] == ["wp-content/plugins/x"]
    again = restores.begin_again(job=ended(undo, "failed"), requested_by=None)
    assert again.parameters == undo.parameters


def test_an_undo_names_the_tables_that_were_not_there(site: Site, make_backup: MakeBackup) -> None:
    job, _ = checkpointed(site, make_backup, what="database", tables=("wp_new", "wp_posts"))
    dumped = Stage.objects.filter(job=job.waits_for_id, name="backup_db")
    dumped.update(outputs={"facts": {"tables": {"wp_posts": 3}}})
    with pytest.raises(RestoreRefusedError, match="no table wp_new,"):
        restores.undo_restore(job=job, requested_by=None)
    dumped.update(outputs={"facts": {"tables": {"wp_posts": 3, "wp_new": 1}}})
    assert restores.undo_restore(job=job, requested_by=None).parameters["tables"] == [
        "wp_new",
        "wp_posts",
    ]


def test_a_sites_own_admin_confirms_what_they_may_restore(
    site: Site, make_backup: MakeBackup, site_admin: User, super_admin: User
) -> None:
    job, checkpoint = checkpointed(site, make_backup)
    for _ in range(2):
        assert restores.confirm_restore(job=job, by=site_admin).pk == checkpoint.pk
    checkpoint.refresh_from_db()
    assert checkpoint.pinned_at is None
    pins.pin_backup(backup=checkpoint, by=super_admin, note="for the auditors")
    with pytest.raises(PinRefusedError):
        restores.confirm_restore(job=job, by=site_admin)


def test_the_latest_backup_is_none_of_a_broken_site(site: Site, make_backup: MakeBackup) -> None:
    job, checkpoint = checkpointed(site, make_backup)
    assert job.source is not None
    assert find_backup(site, "latest") == job.source
    assert find_backup(site, str(checkpoint.pk)) == checkpoint
    Backup.objects.filter(pk=job.source.pk).update(check_problem="The object is not there.")
    older = make_backup(site, number=3)
    assert find_backup(site, "latest") == older


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"target": "copy", "target_path": "/etc/copy"}, "outside the folders"),
        ({"target": "copy", "target_database": "other"}, "is a file"),
    ],
)
def test_a_copy_is_refused_where_it_cannot_go(
    fields: dict[str, Any], words: str, site: Site, make_backup: MakeBackup
) -> None:
    Site.objects.update(db_engine="sqlite", db_name=f"{site.wp_path}/wp-content/site.sqlite")
    with pytest.raises(InvalidFieldError, match=words):
        start(site, make_backup(site), **fields)


def test_a_plan_that_is_cut_off_says_how_much_more_there_is() -> None:
    said = StringIO()
    many = {"count": 5000, "bytes": 7_000_000, "names": [f"f{one}" for one in range(200)]}
    nothing = {"count": 0, "bytes": 0, "names": []}
    files = {**dict.fromkeys(GROUPS, nothing), "deleted": many, "bytes_needed": 3_000_000}
    say_plan({"files": files, "database": None}, Console(file=said))
    assert "5000 files deleted (7.0 MB)" in said.getvalue()
    assert "f19\n  and 4980 more\n" in said.getvalue()
    assert "3.0 MB needed beside what is there" in said.getvalue()


def test_others_wait_until_a_restore_that_was_cut_off_is_settled(
    site: Site, make_backup: MakeBackup, live_worker: Worker
) -> None:
    backup = make_backup(site)
    for fields in ({"target": "copy"}, {"dry_run": True}, {"checkpoint": False}):
        # None of these has come near the site.
        ended(start(site, backup, **fields), "reset", cleanup_pending=True)
    Job.objects.exclude(parameters__target="in_place", parameters__dry_run=False).update(
        stages_done=3
    )
    assert without_unsettled(Job.objects.all(), site.node).count() == 3
    cut = ended(start(site, backup, checkpoint=False), "reset", cleanup_pending=True, stages_done=2)
    next_one = jobs.start_backup(site=site)
    for _ in range(2):
        assert admission.admit_jobs() == 0
    assert JobEvent.objects.filter(job=next_one, kind=KIND).count() == 1
    Job.objects.filter(pk=cut.pk).update(cleanup_pending=False)
    admission.admit_jobs()
    assert Job.objects.get(pk=next_one.pk).state == "dispatched"


def test_nobody_waits_for_the_removal_of_what_was_replaced(
    site: Site, make_backup: MakeBackup, live_worker: Worker
) -> None:
    job = start(site, make_backup(site), checkpoint=False)
    Job.objects.filter(pk=job.pk).update(started_at=job.queued_at, state="running", stages_done=4)
    job = Job.objects.get(pk=job.pk)
    assert fail_job(job, Job.objects.filter(pk=job.pk), code="replaced_not_removed",
                    message="The site is restored", hint="")  # fmt: skip
    assert Job.objects.get(pk=job.pk).cleanup_pending
    next_one = jobs.start_backup(site=site)
    admission.admit_jobs()  # unless what was sent after the commit was quicker
    assert Job.objects.get(pk=next_one.pk).state == "dispatched"
