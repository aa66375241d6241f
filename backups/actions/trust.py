"""Suspect backups that a person looked at and knows to be right."""

from __future__ import annotations

from django.db.models.functions import Now

from backups.errors import TrustRefusedError
from backups.models import Backup, BackupStatus, ProofOutcome, Site


def trust_backup(*, backup: Backup) -> Backup:
    """Count a suspect backup as a good one: the site does hold so much less than before.

    Later ones are held against it, so without this a site that shrank had nothing but suspect ones
    from then on. Raises `TrustRefusedError` for a failure, and for one that a proof disproved.
    """
    if backup.status != BackupStatus.SUCCESS:
        raise TrustRefusedError("This backup failed: there is nothing to trust.")
    newest = backup.proofs.order_by("-created_at", "-pk").first()
    if newest is not None and newest.outcome == ProofOutcome.FAILED:
        raise TrustRefusedError(
            "A trial restore found that this backup is not what was backed up. If it passes another"
            " one, it may be trusted."
        )
    rows = Backup.objects.filter(pk=backup.pk)
    if rows.filter(is_suspect=True).update(is_suspect=False):
        Site.objects.filter(pk=backup.site_id).update(retention_due_at=Now())
    return rows.get()
