"""`manage.py storage audit [STORAGE]`: holds the catalogue against what is really stored."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from dataclasses import asdict
from functools import partial
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from backups.actions.inventory import Finding, audit_storage, delete_orphans
from backups.errors import DomainError
from backups.management.audited import audited
from backups.management.tables import lines_of
from backups.models import Storage
from backups.queries import audited_object


class Command(BaseCommand):
    help = (
        "Compare the backups in the catalogue with the objects in the storages, both ways. "
        "Exit code: 0 they agree, 1 they do not."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        words = parser.add_subparsers(dest="what", required=True)
        audit = words.add_parser("audit", help="list what one side has and the other has not")
        audit.add_argument("storage", nargs="?", help="a storage's id or name; all without it")
        audit.add_argument("--json", action="store_true", help="the findings as a JSON list")
        audit.add_argument(
            "--delete-orphans",
            action="store_true",
            help="delete the objects older than a day that no backup and no job refers to",
        )

    def handle(self, *args: Any, **options: Any) -> None:  # noqa: ANN401
        findings: list[Finding] = []
        for storage in self.storages(options["storage"]):
            found = audit_storage(storage)
            if options["delete_orphans"] and found:
                found = self.delete_orphans(storage, found)
            findings += found
        if options["json"]:
            self.stdout.write(json.dumps([asdict(one) for one in findings], indent=2))
        else:
            self.show(findings)
        if findings:
            raise SystemExit(1)

    def storages(self, wanted: str | None) -> list[Storage]:
        storages = Storage.objects.order_by("name")
        if wanted is None:
            return list(storages)
        named = list(storages.filter(name=wanted))
        if not named and wanted.isdigit():
            named = list(storages.filter(pk=int(wanted)))
        if not named:
            known = ", ".join(storages.values_list("name", flat=True)) or "none yet"
            raise CommandError(f"There is no storage {wanted} (known: {known}).")
        return named

    def delete_orphans(self, storage: Storage, findings: list[Finding]) -> list[Finding]:
        """Delete what nothing refers to, and return the findings that are left."""
        try:
            with audited("storage.delete_orphans", partial(audited_object, "storage", storage.pk)):
                deleted = set(delete_orphans(storage, findings))
        except DomainError as error:
            raise CommandError(error.message) from error
        for key in sorted(deleted):
            self.stderr.write(f"Deleted {key} from {storage.name}")
        return [one for one in findings if one.key not in deleted or one.backup_id]

    def show(self, findings: list[Finding]) -> None:
        if not findings:
            self.stdout.write("Catalogue and storage agree.")
            return
        rows = [
            (one.kind, one.storage, one.node, one.backup_id or "-", one.size, one.key or "-",
             one.detail)
            for one in findings
        ]  # fmt: skip
        header = ("FINDING", "STORAGE", "NODE", "BACKUP", "BYTES", "KEY", "DETAIL")
        for line in lines_of(header, rows):
            self.stdout.write(line)
        self.stdout.write("1 finding" if len(findings) == 1 else f"{len(findings)} findings")
