"""`manage.py catalogue rebuild`: makes the rows of backups again from what the storages hold."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from backups import registry
from backups.actions import catalogue
from backups.actions.catalogue import Rebuilt
from backups.actions.found_bundles import Survey, sentence_of, survey
from backups.errors import SecretUnreadableError
from backups.management.audited import audited
from backups.management.storage_files import add_storage_of, storage_from
from backups.models import Storage
from backups.queries import AuditedObject
from backups.registry import NODE_BOUND_STORES

Surveys = list[tuple[Storage, Survey]]


class Command(BaseCommand):
    help = (
        "When the panel's database is lost or too old: add the nodes, sites and backups that the "
        "bundles in the storages tell of. What is there already is never changed. "
        "Exit code: 0 all bundles are in the catalogue, 1 some were left out or a storage was away."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        words = parser.add_subparsers(dest="what", required=True)
        rebuild = words.add_parser("rebuild", help="add what is missing")
        where = rebuild.add_mutually_exclusive_group()
        where.add_argument("--storage", metavar="NAME", help="this one only; otherwise all")
        where.add_argument(
            "--config",
            metavar="FILE",
            type=Path,
            help="a storage that is not in the database yet, as JSON: name, type, config, and "
            "encryption_recipients and is_default if need be",
        )
        rebuild.add_argument(
            "--identity",
            type=Path,
            default=settings.HOLDFAST_AGE_IDENTITY_FILE,
            metavar="FILE",
            help="the secret keys of age for bundles that are encrypted",
        )
        rebuild.add_argument(
            "--checksums",
            action="store_true",
            help="read bundles whole that no SHA-256 is kept with",
        )
        rebuild.add_argument("--dry-run", action="store_true", help="only say what would be added")
        rebuild.add_argument("--json", action="store_true", help="say it as one JSON object")

    def handle(self, *args: Any, **options: Any) -> None:  # noqa: ANN401
        if options["dry_run"]:
            left_out = self.rebuild(options)
        else:
            with audited("catalogue.rebuild", lambda: AuditedObject("catalogue")):
                left_out = self.rebuild(options)
        if left_out:
            raise SystemExit(1)

    def rebuild(self, options: dict[str, Any]) -> bool:
        """Do it, and return whether bundles were left out."""
        surveys = surveyed(wanted_storages(options), options)
        if all(seen.problem for _, seen in surveys):
            raise CommandError(" ".join(seen.problem for _, seen in surveys))
        if not options["dry_run"]:
            surveys = [(with_row(storage, seen, options), seen) for storage, seen in surveys]
        found = [(storage, seen.bundles) for storage, seen in surveys]
        rebuilt = catalogue.rebuild(found, dry_run=options["dry_run"])
        if options["json"]:
            self.stdout.write(json.dumps(as_json(surveys, rebuilt, options), indent=2))
        else:
            self.say(surveys, rebuilt, dry_run=options["dry_run"])
        return any(seen.left_out or seen.problem for _, seen in surveys)

    def say(self, surveys: Surveys, rebuilt: Rebuilt, *, dry_run: bool) -> None:
        """Say it to a person."""
        for storage, seen in surveys:
            self.say_storage(storage, seen)
        for note in rebuilt.notes:
            self.stdout.write(f"Note: {note}")
        begin = "Would add" if dry_run else "Added"
        self.stdout.write(
            f"{begin} {len(rebuilt.nodes)} nodes, {len(rebuilt.sites)} sites, "
            f"{len(rebuilt.backups)} backups"
        )
        if rebuilt.sites and not Storage.objects.filter(is_default=True).exists():
            self.stdout.write("Next: make a storage the default; sites are backed up to that one")
        if any(site.is_paused for site in rebuilt.sites):
            self.stdout.write(
                "Next: manage.py schedule resume SITE, for each whose schedule is right"
            )
        for node in rebuilt.nodes:
            self.stdout.write(f"Next: manage.py node enable {node.name} --root FOLDER-OF-ITS-SITES")

    def say_storage(self, storage: Storage, seen: Survey) -> None:
        """Say what was seen in one storage."""
        if seen.problem:
            self.stdout.write(f"{storage.name}: {seen.problem}")
            return
        new = len(seen.bundles)
        self.stdout.write(
            f"{storage.name}: {new} new bundles, {seen.known} known, "
            f"{len(seen.left_out)} left out, {seen.foreign} other objects"
        )
        if storage.type in NODE_BOUND_STORES and not (new + seen.known + len(seen.left_out)):
            self.stdout.write("  A folder is seen only on its own host: run this there.")
        if storage._state.adding and not seen.bundles:
            self.stdout.write("  So it is not added to the database. Is its prefix or path right?")
        for one in seen.left_out:
            self.stdout.write(f"  {one.key}: {one.reason}")
        if closed := sum(bundle.account is None for bundle in seen.bundles):
            self.stdout.write(
                f"  {closed} are encrypted and no key at hand opens them: without facts, and with "
                "what their keys say only. With --identity their manifests are read."
            )


def wanted_storages(options: dict[str, Any]) -> list[Storage]:
    """Return the storages that are meant; raises `CommandError` if there is none."""
    if options["config"]:
        return [storage_from(options["config"])]
    storages = Storage.objects.order_by("pk")
    if options["storage"]:
        storages = storages.filter(name=options["storage"])
    if found := list(storages):
        return found
    known = ", ".join(Storage.objects.values_list("name", flat=True)) or "none"
    raise CommandError(
        f"There is no such storage in the database (there: {known}). Name one that is not there "
        "yet with --config FILE."
    )


def surveyed(storages: list[Storage], options: dict[str, Any]) -> Surveys:
    """Return what each storage holds; a bundle that two of them hold counts for the first.

    One that is away, or a folder of another host, holds the others up no more than a bad bundle.
    """
    known = catalogue.keys_known()
    surveys = []
    for storage in storages:
        try:
            seen = survey(
                registry.open_store(storage.type, storage.full_config()),
                known=known,
                identity_file=options["identity"],
                compute_checksums=options["checksums"],
            )
        except registry.engine_error_class() as error:
            seen = Survey(problem=sentence_of(error))
        except SecretUnreadableError as error:
            seen = Survey(problem=error.message)
        known |= {bundle.key.text for bundle in seen.bundles}
        surveys.append((storage, seen))
    return surveys


def with_row(storage: Storage, seen: Survey, options: dict[str, Any]) -> Storage:
    """Add the storage of a file now that its bundles were seen: not one with a slip in it."""
    if not storage._state.adding or not seen.bundles:
        return storage
    return add_storage_of(options["config"])


def as_json(surveys: Surveys, rebuilt: Rebuilt, options: dict[str, Any]) -> dict[str, Any]:
    """Return the same for a script."""
    return {
        "dry_run": options["dry_run"],
        "storages": [
            {
                "name": storage.name,
                "problem": seen.problem,
                "new": len(seen.bundles),
                "known": seen.known,
                "without_manifest": [one.key.text for one in seen.bundles if one.account is None],
                "left_out": [{"key": one.key, "reason": one.reason} for one in seen.left_out],
                "foreign": seen.foreign,
            }
            for storage, seen in surveys
        ],
        "nodes": [{"uuid": str(node.uuid), "name": node.name} for node in rebuilt.nodes],
        "sites": [
            {"uuid": str(site.uuid), "name": site.name, "node": site.node.name}
            for site in rebuilt.sites
        ],
        "backups": [backup.object_key for backup in rebuilt.backups],
        "notes": rebuilt.notes,
    }
