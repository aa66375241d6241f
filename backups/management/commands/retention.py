"""`manage.py retention SITE [--apply]`: what of a site's backups stays, what goes, and why."""

from __future__ import annotations

import time
from argparse import ArgumentParser
from dataclasses import asdict
from functools import partial
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from backups.actions import housekeeping, prunings
from backups.management.audited import audited
from backups.management.finding import find_site
from backups.management.tables import lines_of, moment
from backups.models import Backup, Errand, ErrandKind, Site
from backups.queries import audited_object
from backups.queries.retention import RetentionPlan, bytes_of, retention_plan

POLL_SECONDS = 0.2


class Command(BaseCommand):
    help = (
        "Show which backups of SITE (its id or name) stay, which go, and why. "
        "Exit code: 0 shown or done, 1 if --apply could not remove all of it."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("site", help="the site's id or name")
        parser.add_argument("--apply", action="store_true", help="remove what goes, now")

    def handle(self, *args: Any, **options: Any) -> None:  # noqa: ANN401
        site = find_site(options["site"])
        plan = retention_plan(site)
        self.show(plan)
        if options["apply"] and plan.going:
            with audited("site.prune", partial(audited_object, "site", site.pk)):
                self.apply(site)

    def show(self, plan: RetentionPlan) -> None:
        rules = ", ".join(
            f"{rule} {value} ({plan.origins[rule]})" for rule, value in asdict(plan.policy).items()
        )
        self.stdout.write(f"Policy: {rules}; days of {plan.zone}")
        rows = [
            ("stays" if one.decision.keep else "goes", one.backup.pk,
             moment(one.backup.created_at), one.backup.size_bytes, "; ".join(one.decision.reasons))
            for one in plan.judged
        ]  # fmt: skip
        for line in lines_of(("", "BACKUP", "CREATED", "BYTES", "WHY"), rows):
            self.stdout.write(line)
        self.stdout.write(
            f"{len(plan.kept)} stay, {len(plan.going)} go ({bytes_of(plan.going)} bytes)"
        )

    def apply(self, site: Site) -> None:
        """Have a node remove it, part by part; raises `CommandError` with why it did not."""
        before = Backup.objects.filter(site=site).count()
        errands = Errand.objects.filter(kind=ErrandKind.PRUNE, site=site)
        while prunings.prune_site(site):
            self.wait(site)
            if errands.exclude(error="").exists():
                break
        errand = errands.first()
        left = Backup.objects.filter(site=site).count()
        self.stdout.write(f"{before - left} removed")
        if errand is not None and errand.error:
            raise CommandError(errand.error)

    def wait(self, site: Site) -> None:
        """Wait for the node's answer, whoever takes it: a coordinator may be quicker."""
        asked = Errand.objects.select_related("site", "node").get(kind=ErrandKind.PRUNE, site=site)
        while asked.task_id is not None and not housekeeping.take_answer(asked):
            if not Errand.objects.filter(pk=asked.pk, task_id=asked.task_id).exists():
                return
            time.sleep(POLL_SECONDS)
