"""`manage.py backup SITE`: starts a backup and follows it to its end."""

from __future__ import annotations

from argparse import ArgumentParser
from functools import partial
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from rich.console import Console

from backups.actions import jobs
from backups.errors import DomainError
from backups.management import following
from backups.management.audited import audited
from backups.management.finding import find_site
from backups.models import Job
from backups.queries import audited_object


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
        console = Console()
        console.print(f"Backup of {site.name} started, job {job.pk}", highlight=False)
        if not options["no_follow"]:
            following.see_through(job, console, say_what_there_is)


def say_what_there_is(job: Job, console: Console) -> None:
    """Name the backup that the job made."""
    backup = job.backup
    console.print(f"Backup {backup.pk}: {backup.object_key}", highlight=False, soft_wrap=True)
    console.print(
        f"{backup.size_bytes} bytes, sha256 {backup.sha256}", highlight=False, soft_wrap=True
    )
