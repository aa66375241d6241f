"""`manage.py schedule …`: when sites are backed up by themselves, and pauses."""

from __future__ import annotations

from argparse import ArgumentParser
from datetime import UTC, datetime
from functools import partial
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils.dateparse import parse_datetime

from backups.actions import pausing, schedules
from backups.errors import DomainError
from backups.management.audited import audited, system_user
from backups.management.finding import find_site
from backups.management.node.base import named_node
from backups.management.tables import lines_of, moment
from backups.models import Node, Site
from backups.queries import audited_object, pause_words, schedule_of, upcoming_runs, why_waiting
from backups.schedule import ScheduleFrequency

SITES_SHOWN = 20
# The command's options, and the columns that they set.
OPTIONS = {
    "time": ("schedule_time", "HH:MM in the time zone"),
    "days": ("schedule_days", "as 0,2,4: weekly 0 (Monday) to 6 (Sunday), monthly 1 to 31"),
    "cron": ("schedule_cron", "for cron: five fields, as '30 2 * * 1-5'; 0 and 7 are Sunday"),
    "zone": ("time_zone", "an IANA name as Europe/Berlin"),
    "window": ("schedule_window_minutes", "start within so many minutes; `node` takes the node's"),
    "keep": ("retention_copies", "how many backups are to be kept"),
}


class Command(BaseCommand):
    help = "Show, set, pause and resume when sites are backed up by themselves."

    def add_arguments(self, parser: ArgumentParser) -> None:
        words = parser.add_subparsers(dest="what", required=True)
        show = words.add_parser("show", help="what comes next: of a site, of a node, or of all")
        _add_subject(show)
        put = words.add_parser("set", help="change a site's schedule; what is left out stays")
        put.add_argument("site", help="the site's id or name")
        put.add_argument("frequency", choices=ScheduleFrequency.values)
        for name, (_, help_text) in OPTIONS.items():
            put.add_argument(f"--{name}", help=help_text)
        rest = words.add_parser("pause", help="start no backup of a site, or on a node, by itself")
        _add_subject(rest)
        rest.add_argument("--until", help="as 2026-03-01T08:00, in UTC unless it says otherwise")
        rest.add_argument("--reason", default="", help="why, for the others")
        go_on = words.add_parser("resume", help="go on, and make up for one missed run")
        _add_subject(go_on)

    def handle(self, *args: Any, **options: Any) -> None:  # noqa: ANN401
        run = {"show": self._show, "set": self._set, "pause": self._pause, "resume": self._resume}
        try:
            run[options["what"]](options)
        except DomainError as error:
            raise CommandError(error.message) from error

    def _show(self, options: dict[str, Any]) -> None:
        if options["site"]:
            self._show_site(find_site(options["site"]))
            return
        sites = Site.objects.all()
        if options["node"]:
            sites = sites.filter(node=named_node(options["node"]))
        rows = [
            (site.name, site.node.name, site.schedule_frequency, moment(site.next_run_at),
             why_waiting(site, datetime.now(UTC)) or "-")
            for site in upcoming_runs(sites)[:SITES_SHOWN]
        ]  # fmt: skip
        header = ("SITE", "NODE", "SCHEDULE", "NEXT RUN", "HELD UP BY")
        for line in lines_of(header, rows):
            self.stdout.write(line)

    def _show_site(self, site: Site) -> None:
        found = schedule_of(Site.objects.select_related("node").get(pk=site.pk))
        self.stdout.write(f"{site.name}: {found['words'] or 'a schedule that cannot be read'}")
        for sentence in (found["not_running_because"], found["note"]):
            if sentence:
                self.stdout.write(sentence)
        for run in found["next_runs"]:
            self.stdout.write(moment(run))

    def _set(self, options: dict[str, Any]) -> None:
        site = find_site(options["site"])
        given = {column: options[name] for name, (column, _) in OPTIONS.items()
                 if options[name] is not None}  # fmt: skip
        changes = {column: _value(column, text) for column, text in given.items()}
        with audited("site.schedule", partial(audited_object, "site", site.pk)):
            schedules.set_schedule(site=site, frequency=options["frequency"], **changes)
        self._show_site(site)

    def _pause(self, options: dict[str, Any]) -> None:
        row, until = _subject(options), _moment(options["until"])
        with audited(f"{_kind(row)}.pause", partial(audited_object, _kind(row), row.pk)):
            by = f"command:{system_user()}"
            pausing.pause(row=row, by=by, reason=options["reason"], until=until)
        self.stdout.write(f"{row.name} is {pause_words(row)}.")

    def _resume(self, options: dict[str, Any]) -> None:
        row = _subject(options)
        with audited(f"{_kind(row)}.unpause", partial(audited_object, _kind(row), row.pk)):
            pausing.resume(row=row)
        self.stdout.write(f"{row.name} goes on; what was missed is made up for once.")


def _add_subject(parser: ArgumentParser) -> None:
    parser.add_argument("site", nargs="?", help="the site's id or name")
    parser.add_argument("--node", help="a node's name, for all its sites")


def _subject(options: dict[str, Any]) -> Site | Node:
    if bool(options["site"]) == bool(options["node"]):
        raise CommandError("Name a site, or a node with --node.")
    return find_site(options["site"]) if options["site"] else named_node(options["node"])


def _kind(row: Site | Node) -> str:
    return row._meta.model_name or ""


def _value(column: str, text: str) -> str | int | None:
    if column == "schedule_window_minutes" and text == "node":
        return None
    if column not in ("schedule_window_minutes", "retention_copies"):
        return text
    if not text.isdecimal() or (column == "retention_copies" and not 0 < int(text) <= 10_000):
        raise CommandError(f"{text} is no number that {column} may be.")
    return int(text)


def _moment(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        found = parse_datetime(text)
    except ValueError:
        found = None
    if found is None:
        raise CommandError(f"{text} is no moment; give it as 2026-03-01T08:00.")
    return found if found.tzinfo else found.replace(tzinfo=UTC)
