"""`manage.py verify SITE`: restores a backup for trial, compares everything, and says so."""

from __future__ import annotations

from argparse import ArgumentParser
from functools import partial
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from rich.console import Console

from backups.actions import proofs
from backups.errors import DomainError
from backups.management import following
from backups.management.audited import audited
from backups.management.finding import find_backup, find_site
from backups.models import Job
from backups.queries import audited_object


class Command(BaseCommand):
    help = (
        "Prove that a backup of SITE (its id or name) restores: into scratch places, every file "
        "and row compared. Exit code: 0 proven, 1 not, 3 stopped."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("site", help="the site's id or name")
        parser.add_argument(
            "--backup",
            default="latest",
            help="the backup's id; otherwise the newest good one that is no checkpoint",
        )
        parser.add_argument("--no-follow", action="store_true", help="start it and end")

    def handle(self, *args: Any, **options: Any) -> None:  # noqa: ANN401
        try:
            backup = find_backup(find_site(options["site"]), options["backup"])
            with audited("backup.verify", partial(audited_object, "backup", backup.pk)):
                job = proofs.start_proof(backup=backup, trigger="command")
        except DomainError as error:
            raise CommandError(error.message) from error
        console = Console()
        console.print(f"Proof of {backup}, job {job.pk}", highlight=False)
        if not options["no_follow"]:
            following.see_through(job, console, _say)


def _say(job: Job, console: Console) -> None:
    console.print(f"It restores in {job.proof.seconds:.1f} s", highlight=False)
