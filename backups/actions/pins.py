"""Pins: backups that stay until somebody lets them go."""

from __future__ import annotations

from django.db import transaction
from django.db.models.functions import Now

from backups.actions.backups import hold_backup
from backups.errors import PinRefusedError
from backups.models import Backup, BackupStatus, Site
from backups.queries import may_manage_site
from backups.roles import Person

MOST_CHARACTERS = 200


def pin_backup(*, backup: Backup, by: Person | None, note: str = "") -> Backup:
    """Keep the backup whatever the policy says; pinning it again changes the note only.

    Raises `PinRefusedError` for a failure, and `BackupGoingError` when it is being removed.
    """
    if backup.status != BackupStatus.SUCCESS:
        raise PinRefusedError("This backup failed: there is nothing to keep.")
    with transaction.atomic():
        row = hold_backup(backup.pk)
        fields = {"pin_note": note.strip()[:MOST_CHARACTERS]}
        rows = Backup.objects.filter(pk=row.pk)
        if row.pinned_at is None:
            rows.update(pinned_at=Now(), pinned_by_id=by.pk if by else None, **fields)
        else:
            rows.update(**fields)
    return rows.get()


def unpin_backup(*, backup: Backup, by: Person | None) -> Backup:
    """Let the policy decide again; a backup without a pin stays as it is.

    Raises `PinRefusedError` for a site's own admin where somebody else pinned it.
    """
    is_theirs = by is None or backup.pinned_at is None or backup.pinned_by_id == by.pk
    if by is not None and not is_theirs and not may_manage_site(by, backup.site):
        who = "Somebody else" if backup.pinned_by_id else "A restore"
        raise PinRefusedError(
            f"{who} pinned this backup: an admin of the node may take the pin away."
        )
    rows = Backup.objects.filter(pk=backup.pk)
    if rows.filter(pinned_at__isnull=False).update(pinned_at=None, pinned_by=None, pin_note=""):
        Site.objects.filter(pk=backup.site_id).update(retention_due_at=Now())
    return rows.get()
