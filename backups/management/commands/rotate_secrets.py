"""`manage.py rotate_secrets`: encrypt stored secrets with the first of HOLDFAST_ENCRYPTION_KEYS."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from backups.actions.secrets import Rotation, rotate_secrets
from backups.management.audited import audited
from backups.queries import AuditedObject


class Command(BaseCommand):
    help = (
        "Encrypts every stored secret with the first key of HOLDFAST_ENCRYPTION_KEYS. Safe while "
        "everything runs, and to run again. Exit code 1 if a secret is left that an older key "
        "encrypts, or that no key opens."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--check", action="store_true", help="Only count what older keys still encrypt."
        )

    def handle(self, *args: Any, **options: Any) -> None:  # noqa: ANN401
        if options["check"]:
            self.report(rotate_secrets(write=False))
            return
        with audited("secrets.rotate", lambda: AuditedObject("secrets")):
            self.report(rotate_secrets(write=True))

    def report(self, found: Rotation) -> None:
        self.stdout.write(
            f"{found.rotated} encrypted anew, {found.current} already under the newest key, "
            f"{found.stale} under older keys, {len(found.unreadable)} unreadable."
        )
        for row in found.unreadable:
            self.stderr.write(f"No key opens {row}.")
        if found.stale or found.unreadable:
            raise CommandError(_advice(found))


def _advice(found: Rotation) -> str:
    if found.unreadable:
        return (
            "Put the key that these were stored with back into HOLDFAST_ENCRYPTION_KEYS, or enter "
            "them anew. Drop no key before this ends well."
        )
    return "Older keys are still needed: run `manage.py rotate_secrets` before you drop one."
