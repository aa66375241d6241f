"""`manage.py restore SITE`: puts a backup back and follows that to its end."""

from __future__ import annotations

from argparse import ArgumentParser
from functools import partial
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from rich.console import Console

from backups.actions import restores
from backups.actions.restores import COPY, IN_PLACE, WHAT, RestoreRequest
from backups.errors import DomainError
from backups.management import following
from backups.management.audited import audited
from backups.management.finding import find_backup, find_site
from backups.models import Job
from backups.queries import audited_object

NAMES_SHOWN = 20
MEGABYTE = 1_000_000


class Command(BaseCommand):
    help = (
        "Restore a backup to SITE (its id or name) and follow it. In place, a checkpoint of what "
        "is there now comes first. Exit code: 0 completed, 1 failed or refused, 3 stopped."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("site", help="the site's id or name")
        parser.add_argument(
            "--backup", default="latest", help="the backup's id; otherwise the newest good one"
        )
        parser.add_argument("--what", choices=WHAT, default="all")
        parser.add_argument(
            "--path", action="append", default=[], help="only this path of the bundle (repeatable)"
        )
        parser.add_argument(
            "--table", action="append", default=[], help="only this table (repeatable)"
        )
        parser.add_argument("--copy", action="store_true", help="beside the site, not in place")
        parser.add_argument("--target-path", default="", help="of a copy: a new folder")
        parser.add_argument("--target-database", default="", help="of a copy: a new database")
        parser.add_argument("--dry-run", action="store_true", help="say what would change")
        parser.add_argument(
            "--no-checkpoint",
            action="store_true",
            help="do not back up what is there first; then there is no undo",
        )
        parser.add_argument(
            "--rewrite-url", action="store_true", help="of another site's backup: to this one's URL"
        )
        parser.add_argument("--no-follow", action="store_true", help="start it and end")

    def handle(self, *args: Any, **options: Any) -> None:  # noqa: ANN401
        try:
            site = find_site(options["site"])
            backup = find_backup(site, options["backup"])
            with audited("site.restore", partial(audited_object, "site", site.pk)):
                job = restores.start_restore(
                    site=site, backup=backup, request=_request(options), requested_by=None,
                    trigger="command",
                )  # fmt: skip
        except DomainError as error:
            raise CommandError(error.message) from error
        console = Console()
        what = "Dry run" if options["dry_run"] else "Restore"
        console.print(f"{what} of {backup} to {site.name}, job {job.pk}", highlight=False)
        if job.waits_for_id:
            console.print(f"Its checkpoint comes first, job {job.waits_for_id}", highlight=False)
        if not options["no_follow"]:
            following.see_through(job, console, _say)


def _request(options: dict[str, Any]) -> RestoreRequest:
    return RestoreRequest(
        what=options["what"],
        paths=tuple(options["path"]),
        tables=tuple(options["table"]),
        target=COPY if options["copy"] else IN_PLACE,
        target_path=options["target_path"],
        target_database=options["target_database"],
        dry_run=options["dry_run"],
        checkpoint=not options["no_checkpoint"],
        rewrite_url=options["rewrite_url"],
    )


def _say(job: Job, console: Console) -> None:
    plan = restores.plan_of({stage.name: stage.outputs for stage in job.stages.all()})
    if plan is not None:
        _say_plan(plan, console)
    elif job.parameters["target"] == COPY:
        console.print(f"The copy is in {job.parameters['target_path']}", highlight=False)
    elif job.waits_for_id:
        console.print(
            f"To take it back: POST /api/v1/jobs/{job.pk}/undo, or the site's page",
            highlight=False,
            soft_wrap=True,
        )


def _say_plan(plan: dict[str, Any], console: Console) -> None:
    files, database = plan["files"], plan["database"]
    for name in ("created", "overwritten", "deleted", "kept", "unchanged") if files else ():
        group = files[name]
        size = f"{group['bytes'] / MEGABYTE:.1f} MB"
        what = "file" if group["count"] == 1 else "files"
        console.print(f"{group['count']} {what} {name} ({size})", highlight=False)
        if name != "unchanged":
            for path in group["names"][:NAMES_SHOWN]:
                console.print(f"  {path}", highlight=False, markup=False, soft_wrap=True)
    if database:
        names = ", ".join(table["name"] for table in database["tables"])
        console.print(f"tables replaced: {names or 'none'}", highlight=False, soft_wrap=True)
        dropped = ", ".join(database["dropped"]) or "none"
        console.print(f"tables dropped: {dropped}", highlight=False, soft_wrap=True)
