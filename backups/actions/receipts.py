"""What is kept of a trial restore: a receipt, and what it says of the backup and its site."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from django.db.models.functions import Now

from backups.models import Backup, Job, Proof, ProofOutcome, Site

# What these say is wrong is the bundle itself, not a server that was away or a disk that is full.
# That no key is at hand (`age_no_identity`) says nothing of the bundle.
DISPROVED_CODES = frozenset(
    {"proof_failed", "bundle_damaged", "object_missing", "member_missing", "unsafe_path",
     "dump_refused", "age_header_damaged", "age_chunk_damaged", "age_truncated"}
)  # fmt: skip
# Of what a proof measures, the stages that restore: what comes after them is comparing.
_RESTORING = ("fetch_bundle", "verify_bundle")


def record_passed(job: Job, outputs: dict[str, Any]) -> None:
    """Write the receipt of a proof that found everything as it was."""
    proven = outputs["prove_restore"]
    took = sum(_seconds_of(job, name) for name in _RESTORING) + proven["seconds"]
    _write(job, ProofOutcome.PASSED, seconds=took, bytes_restored=proven["bytes"],
           facts=proven["facts"])  # fmt: skip
    _source(job).update(verified_by="restore", verified_at=Now(), proven_at=Now())
    Site.objects.filter(pk=job.site_id).update(proven_at=Now(), proven_seconds=took)


def record_disproved(job: Job, *, message: str) -> None:
    """Write the receipt of a proof that found the backup to be other than it was.

    Such a backup does not count any more: it is suspect, and protects the ones before it.
    """
    _write(job, ProofOutcome.FAILED, differences=message.split("\n"))
    _source(job).update(is_suspect=True, verified_at=None, proven_at=None)


def _source(job: Job) -> QuerySet[Backup]:
    return Backup.objects.filter(uses=job)


def _seconds_of(job: Job, stage_name: str) -> float:
    stage = job.stages.get(name=stage_name)
    if stage.started_at is None or stage.finished_at is None:
        return 0.0
    return (stage.finished_at - stage.started_at).total_seconds()


def _write(job: Job, outcome: ProofOutcome, **values: Any) -> None:  # noqa: ANN401
    if job.source_id is None:
        return  # the backup was deleted meanwhile
    Proof.objects.create(
        backup_id=job.source_id,
        site_id=job.site_id,
        job=job,
        node_id=job.node_id,
        outcome=outcome,
        created_at=Now(),
        **values,
    )
