"""`manage.py restore SITE`: puts a backup back and follows that to its end."""

from __future__ import annotations

from argparse import ArgumentParser
from functools import partial
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from rich.console import Console

from backups.actions import restores
from backups.actions.restores import COPY, IN_PLACE, WHAT, RestoreRequest, what_of
from backups.errors import DomainError
from backups.management import following
from backups.management.audited import audited
from backups.management.finding import find_backup, find_site
from backups.models import Job
from backups.queries import audited_object

NAMES_SHOWN = 20
GROUPS = ("created", "overwritten", "deleted", "kept", "unchanged")
MEGABYTE = 1_000_000


class Command(BaseCommand):
    help = (
        "Restore a backup to SITE (its id or name) and follow it. In place, a checkpoint of what "
        "is there now comes first. Exit code: 0 completed, 1 failed or refused, 3 stopped."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("site", help="the site's id or name")
        parser.add_argument(
            "--backup",
            default="latest",
            help="the backup's id; otherwise the newest good one that is no checkpoint",
        )
        parser.add_argument(
            "--what", choices=WHAT, help="otherwise what is chosen below, or all of it"
        )
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
        whose = f" (of {backup.site.name})" if backup.site_id != site.pk else ""
        console.print(
            f"{what} of {backup}{whose} to {site.name}, job {job.pk}",
            highlight=False,
            soft_wrap=True,
        )
        for warning in job.warnings:
            console.print(f"Warning: {warning}", highlight=False, markup=False, soft_wrap=True)
        if job.waits_for_id:
            console.print(f"Its checkpoint comes first, job {job.waits_for_id}", highlight=False)
        if not options["no_follow"]:
            following.see_through(job, console, _say)


def _request(options: dict[str, Any]) -> RestoreRequest:
    return RestoreRequest(
        what=options["what"] or what_of(paths=options["path"], tables=options["table"]),
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
        say_plan(plan, console)
    elif job.parameters["target"] == COPY:
        console.print(f"The copy is in {job.parameters['target_path']}", highlight=False)
    elif job.waits_for_id:
        console.print(
            f"To take it back: POST /api/v1/jobs/{job.pk}/undo, or the site's page",
            highlight=False,
            soft_wrap=True,
        )


def say_plan(plan: dict[str, Any], console: Console) -> None:
    """Print what a dry run found: totals of everything, and the first names."""
    say = partial(console.print, highlight=False, markup=False, soft_wrap=True)
    files, database = plan["files"], plan["database"]
    for name in GROUPS if files else ():
        group = files[name]
        say(f"{_counted(group['count'], 'file')} {name} ({_megabytes(group['bytes'])})")
        names = group["names"][:NAMES_SHOWN] if name != "unchanged" else []
        for path in names:
            say(f"  {path}")
        if names and group["count"] > len(names):
            say(f"  and {group['count'] - len(names)} more")
    if files:
        say(f"{_megabytes(files['bytes_needed'])} needed beside what is there")
    if database:
        tables, dropped = database["tables"], database["dropped"]
        rows = _counted(sum(table["rows"] or 0 for table in tables), "row")
        size = f"{_megabytes(database['dump_bytes'])} of SQL"
        names = ", ".join(table["name"] for table in tables) or "none"
        say(f"{_counted(len(tables), 'table')} replaced ({rows}, {size}): {names}")
        say(f"{_counted(len(dropped), 'table')} dropped: {', '.join(dropped) or 'none'}")


def _counted(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _megabytes(size: int) -> str:
    return f"{size / MEGABYTE:.1f} MB"
