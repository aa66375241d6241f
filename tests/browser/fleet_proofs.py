"""Proofs and a restore of a believable fleet: as rows, after those of its backups."""

from __future__ import annotations

import random
import uuid
from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from tests.browser.fleet_plan import MEBIBYTE, SitePlan, restored_site

STAGES = ("fetch_bundle", "verify_bundle", "restore_files", "restore_db", "cleanup")
SHARES = (0.35, 0.05, 0.4, 0.18, 0.02)
DETAILS = (
    "{bundle:.1f} MB fetched and compared",
    "Index and manifest read",
    "{files:.1f} MB of files beside the site, each compared",
    "Database loaded beside the live one, then both exchanged",
    "What was replaced is removed",
)
# How many backups ago the proven one was made.
_TURNS = (0, 0, 0, 1, 2, 5)


def add_proofs(plans: Sequence[SitePlan], sites: Sequence[Any], rows: Sequence[Any]) -> None:
    """Add a receipt of a trial restore to most sites; of a suspect backup, one that failed.

    `rows` are all backups, the oldest first.
    """
    from backups.models import Backup, Proof
    from backups.models import Site as SiteModel

    good: defaultdict[int, list[Any]] = defaultdict(list)
    for backup in rows:
        if backup.status == "SUCCESS":
            good[backup.site_id].insert(0, backup)
    proofs, backups = [], []
    for plan, site in zip(plans, sites, strict=True):
        chance = random.Random(plan.number)
        turn = 0 if plan.fate == "suspect" else chance.choice(_TURNS)
        if turn >= len(good[site.pk]) or plan.number % 11 == 10:
            continue
        backup = good[site.pk][turn]
        proof = _proof(site, backup, chance, passed=plan.fate != "suspect")
        proofs.append(proof)
        if proof.outcome == "passed":
            backup.verified_by, backup.verified_at = "restore", proof.created_at
            backup.proven_at = site.proven_at = proof.created_at
            site.proven_seconds = proof.seconds
            backups.append(backup)
    Proof.objects.bulk_create(proofs)
    Backup.objects.bulk_update(backups, ["verified_by", "verified_at", "proven_at"])
    SiteModel.objects.bulk_update(sites, ["proven_at", "proven_seconds"])


def _proof(site: Any, backup: Any, chance: random.Random, *, passed: bool) -> Any:
    from backups.models import Proof

    found = "wp-content/uploads holds 41 files, and 1204 were recorded."
    return Proof(
        backup=backup,
        site=site,
        node_id=site.node_id,
        outcome="passed" if passed else "failed",
        seconds=5 + backup.size_bytes / (70 * MEBIBYTE) * chance.uniform(0.9, 1.4),
        bytes_restored=int(backup.size_bytes * 1.6),
        differences=[] if passed else [found],
        created_at=backup.created_at + timedelta(minutes=chance.randrange(3, 15)),
    )


def add_restore(plans: Sequence[SitePlan], sites: Sequence[Any], now: datetime) -> None:
    """Add a restore in place that has just ended, after its checkpoint, which waits for a word."""
    from backups.models import Backup, Job, Stage

    site = sites[restored_site(plans).number]
    good = Backup.objects.filter(site=site, status="SUCCESS").order_by("-created_at")
    source = good[2]
    newest = good[0]
    checkpoint = Job.objects.get(pk=newest.job_id)
    Job.objects.filter(pk=checkpoint.pk).update(trigger="checkpoint")
    note = "Checkpoint before a restore"
    Backup.objects.filter(pk=newest.pk).update(pinned_at=newest.created_at, pin_note=note)
    began = now - timedelta(minutes=9)
    job = Job.objects.create(
        id=uuid.UUID(int=0x4E57, version=4),
        kind="restore",
        site=site,
        node_id=site.node_id,
        storage_id=site.storage_id,
        state="completed",
        source=source,
        waits_for=checkpoint,
        parameters={"what": "all", "paths": [], "tables": [], "target": "in_place",
                    "target_path": "", "target_database": "", "dry_run": False,
                    "checkpoint": True, "rewrite_url": False},
        stages_done=len(STAGES),
        progress=100,
        trigger="api",
        queued_at=began - timedelta(minutes=2),
        started_at=began,
        finished_at=began + timedelta(seconds=96),
    )  # fmt: skip
    at, sizes = began, {"bundle": source.size_bytes / MEBIBYTE, "files": source.size_bytes * 1.4}
    sizes["files"] /= MEBIBYTE
    for position, (name, share) in enumerate(zip(STAGES, SHARES, strict=True)):
        ended = at + timedelta(seconds=96) * share
        Stage.objects.create(
            job=job,
            name=name,
            position=position,
            state="completed",
            started_at=at,
            finished_at=ended,
            bytes_processed=source.size_bytes,
            bytes_total=source.size_bytes,
            detail=DETAILS[position].format(**sizes),
        )
        at = ended
