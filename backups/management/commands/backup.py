"""`manage.py backup SITE`: starts a backup and follows it to its end."""

from __future__ import annotations

import signal
import time
from argparse import ArgumentParser
from functools import partial
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from rich.console import Console

from backups.actions import jobs
from backups.errors import DomainError
from backups.management.audited import audited
from backups.management.finding import find_site
from backups.management.progress import Follower, LineFollower
from backups.models import Job
from backups.queries import audited_object, backup_status
from backups.states import ACTIVE, JobState

FOLLOW_SECONDS = 0.5
EXIT_CODES = {JobState.COMPLETED: 0, JobState.FAILED: 1, JobState.STOPPED: 3, JobState.RESET: 3}


class Command(BaseCommand):
    help = (
        "Start a backup of SITE (its id or name) and follow it. "
        "Exit code: 0 completed, 1 failed or refused, 3 stopped."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("site", help="the site's id or name")
        parser.add_argument("--no-follow", action="store_true", help="start it and end")

    def handle(self, *args: Any, **options: Any) -> None:  # noqa: ANN401
        try:
            site = find_site(options["site"])
            with audited("backup.start", partial(audited_object, "site", site.pk)):
                job = jobs.start_backup(site=site, trigger="command")
        except DomainError as error:
            raise CommandError(error.message) from error
        # Ctrl-C ends the following, not the backup.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        console = Console()
        console.print(f"Backup of {site.name} started, job {job.pk}", highlight=False)
        if options["no_follow"]:
            return
        try:
            ended = follow(job, console)
        except KeyboardInterrupt:
            console.print("No longer following; the backup goes on.")
            return
        report(ended, console)
        if code := EXIT_CODES[JobState(ended.state)]:
            raise SystemExit(code)


def follow(job: Job, console: Console) -> Job:
    """Show the job's progress until it ends; return it as it ended."""
    follower = Follower(console) if console.is_terminal else LineFollower(console)
    with follower:
        while True:
            job = Job.objects.select_related("node", "site").get(pk=job.pk)
            follower.show(backup_status(job.site, job))
            if job.state not in ACTIVE:
                return job
            time.sleep(FOLLOW_SECONDS)


def report(job: Job, console: Console) -> None:
    """Say how it ended, and what there is now."""
    status = backup_status(job.site, job)
    console.print(status["message"], highlight=False)
    for warning in job.warnings:
        console.print(f"Warning: {warning}", highlight=False, markup=False)
    if status["error"]:
        console.print(status["error"], highlight=False, markup=False)
    if job.state == JobState.COMPLETED:
        backup = job.backup
        console.print(f"Backup {backup.pk}: {backup.object_key}", highlight=False, soft_wrap=True)
        console.print(
            f"{backup.size_bytes} bytes, sha256 {backup.sha256}", highlight=False, soft_wrap=True
        )
