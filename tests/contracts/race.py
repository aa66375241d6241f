"""Run in processes of their own by test_panel_databases: many at once try to do the same thing.

Prints one line with what this process won. They begin together, when a file appears.
"""

from __future__ import annotations

import os
import random
import sys
import time
from pathlib import Path


def race() -> None:
    """Do what the arguments of this process say."""
    _, what, subject, barrier = sys.argv
    main(what, Path(barrier), subject)


def main(what: str, barrier: Path, job_or_site: str) -> None:
    from django.db import transaction
    from django.db.models.functions import Now
    from rest_framework.exceptions import AuthenticationFailed

    from backups.actions import (
        attempts,
        backups,
        control,
        enrolment,
        jobs,
        leadership,
        pins,
        prunings,
        schedules,
    )
    from backups.actions.usage import usage_kept
    from backups.errors import (
        BackupAlreadyRunningError,
        BackupGoingError,
        DeletionRefusedError,
        EnrolmentRefusedError,
        JobNotActiveError,
        QuotaExceededError,
    )
    from backups.models import Backup, Job, Site
    from backups.queries import sites_due
    from panel.accounts import actions as people
    from panel.accounts import stream_access, tokens
    from panel.accounts.errors import LastSuperAdminError
    from panel.accounts.models import User

    def claim() -> bool:
        claimed = attempts.claim_stage(
            job_id=job_or_site, epoch=1, stage_name="backup_db", worker="racer"
        )
        return claimed is not None

    def start() -> bool:
        try:
            jobs.start_backup(site=Site.objects.get(pk=job_or_site))
        except BackupAlreadyRunningError:
            return False
        return True

    def start_within_quota() -> bool:
        """Start a backup of one of the sites of a node that has room for one."""
        try:
            jobs.start_backup(site=Site.objects.get(pk=job_or_site))
        except QuotaExceededError:
            return False
        return True

    def reserve() -> str:
        job = Job.objects.get(pk=job_or_site)
        stage = job.stages.get(name="create_bundle")
        attempt = attempts.Attempt(
            job.pk, job.epoch, job.token, stage.pk, stage.name, stage.position, 5, job.folder_name
        )
        return str(attempts.reserve_object_key(attempt))

    def lead() -> bool:
        return leadership.lead(name=job_or_site, holder=f"racer {os.getpid()}", seconds=60)

    def join() -> bool:
        try:
            enrolment.enrol_host(token=job_or_site, hostname="racer", address=None)
        except EnrolmentRefusedError:
            return False
        return True

    def reset() -> bool:
        site = Job.objects.get(pk=job_or_site).site
        return control.reset_backup(site=site, requested_by=None).job_id is not None

    def stop() -> bool:
        try:
            control.stop_job(job=Job.objects.get(pk=job_or_site), requested_by=None)
        except JobNotActiveError:
            return False
        return True

    def finish() -> bool:
        """Complete the job, whose token was read before the start."""
        progress = attempts.Progress()
        return attempts.finish_stage(
            last_attempt, outputs={}, detail="", warnings=[], progress=progress
        )

    def store() -> bool:
        site = Site.objects.get(pk=job_or_site)
        with usage_kept(site.pk):
            Backup.objects.create(
                site_id=site.pk,
                storage_id=site.storage_id,
                status="SUCCESS",
                size_bytes=os.getpid(),
                created_at=Now(),
            )
        return True

    def fail() -> bool:
        failed = attempts.fail_stage(
            last_attempt, code="x", message="It failed", hint="Look.", permanent=True
        )
        return failed is not None

    def schedule() -> bool:
        """Start what was seen to be due before the start."""
        return schedules._start_if_due(due_site)

    def start_all() -> int:
        """Start what is due, round by round, until there is nothing left."""
        started = 0
        while sites_due().exists():
            started += schedules.start_due_backups()
        return started

    def pin() -> bool:
        try:
            pins.pin_backup(backup=Backup.objects.get(pk=job_or_site), by=None)
        except BackupGoingError:
            return False
        return True

    def delete() -> bool:
        """Begin a deletion by hand."""
        try:
            return backups.begin_deletion(backup=Backup.objects.get(pk=job_or_site))
        except DeletionRefusedError:
            return False

    def remove() -> bool:
        """Claim the backup for its removal."""
        return int(job_or_site) in prunings._claim([int(job_or_site)])

    def renew() -> bool:
        try:
            tokens.renew(job_or_site)
        except AuthenticationFailed:
            return False
        return True

    def open_stream() -> bool:
        try:
            stream_access.user_of_stream(job_or_site)
        except AuthenticationFailed:
            return False
        return True

    def deactivate() -> str:
        """Deactivate every super admin, as long as nobody refuses it; commit late.

        Whoever looks meanwhile without waiting still sees those who are gone soon.
        """
        supers = list(User.objects.filter(role="super_admin"))
        random.shuffle(supers)
        with transaction.atomic():
            for user in supers:
                try:
                    people.change_user(user=user, changed_by=None, is_active=False)
                except LastSuperAdminError:
                    return str(user.pk)
                time.sleep(0.1)
        return "everybody"

    if what == "schedule":
        due_site = sites_due().get(pk=job_or_site)
    if what in ("finish", "fail"):
        job = Job.objects.get(pk=job_or_site)
        last = job.stages.get(name="cleanup")
        assert job.token is not None
        last_attempt = attempts.Attempt(
            job.pk, job.epoch, job.token, last.pk, last.name, last.position, 5, job.folder_name
        )
    Site.objects.count()  # connects before the start
    print("ready", flush=True)
    while not barrier.exists():
        time.sleep(0.001)
    todo = {
        "claim": claim,
        "start": start,
        "reserve": reserve,
        "join": join,
        "lead": lead,
        "reset": reset,
        "stop": stop,
        "finish": finish,
        "store": store,
        "fail": fail,
        "schedule": schedule,
        "start_all": start_all,
        "pin": pin,
        "remove": remove,
        "delete": delete,
        "start_within_quota": start_within_quota,
        "renew": renew,
        "open_stream": open_stream,
        "deactivate": deactivate,
    }
    print(todo[what](), flush=True)
