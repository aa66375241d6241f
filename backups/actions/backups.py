"""Forgetting and deleting backups. Only a job's last update makes one.

A backup whose object is to be deleted is claimed first, `removing_since`: from then on nothing may
begin to use it, since its object may be gone at any moment. Whatever ends in between, retention
follows it up (`prunings`): it has claims of its own, and asks again for all that are left.
"""

from __future__ import annotations

from django.db import transaction
from django.db.models.functions import Now

from backups.actions.deadlocks import again_after_deadlock
from backups.actions.transitions import seconds_from_now
from backups.actions.usage import usage_kept
from backups.errors import BackupGoingError, DeletionRefusedError
from backups.models import Backup, Site
from backups.queries.retention import jobs_using

# A question that nobody took in ten minutes expires; whoever took it works on it for a while.
FOLLOWED_UP_AFTER = 20 * 60


def forget_backup(*, backup: Backup) -> None:
    """Remove the row of a backup, whose object is gone or is to stay in the storage.

    A row that somebody else removed in the meantime is no error. Raises what `require_deletable`
    does.
    """
    with usage_kept(backup.site_id):
        require_deletable(backup=backup)
        Backup.objects.filter(pk=backup.pk).delete()


def require_deletable(*, backup: Backup) -> None:
    """Raise `DeletionRefusedError` while a job works on the backup, and for a pinned one.

    Asked before the object is deleted as well: a row that must stay needs its object.
    """
    if Backup.objects.filter(pk=backup.pk, pinned_at__isnull=False).exists():
        raise DeletionRefusedError(f"{backup} is pinned; take the pin away first.")
    if jobs_using([backup.pk]).exists():
        raise DeletionRefusedError(f"A job is still working on the backup {backup}.")


@again_after_deadlock
def begin_deletion(*, backup: Backup) -> bool:
    """Claim a backup whose object somebody wants deleted; whether it was not claimed before.

    If nothing more is heard of it, retention asks for it again. Raises what `require_deletable`
    does.
    """
    with transaction.atomic():
        # As `hold_backup` locks it: who begins to use it comes before this, or too late.
        list(Backup.objects.select_for_update().filter(pk=backup.pk).values_list("pk"))
        require_deletable(backup=backup)
        unclaimed = Backup.objects.filter(pk=backup.pk, removing_since__isnull=True)
        is_new = bool(unclaimed.update(removing_since=Now()))
        follow_up = seconds_from_now(FOLLOWED_UP_AFTER)
        sites = Site.objects.filter(pk=backup.site_id, retention_due_at__gt=follow_up)
        sites.update(retention_due_at=follow_up)
    return is_new


def give_up_deletion(key: int) -> None:
    """Give a backup back whose object is known to be there still."""
    Backup.objects.filter(pk=key).update(removing_since=None)


def hold_backup(key: int) -> Backup:
    """Return a backup that is to be used, and keep it from being removed until the commit.

    Raises `BackupGoingError` for one that is being removed, or is gone.
    """
    backup = Backup.objects.select_for_update().filter(pk=key).first()
    if backup is None:
        raise BackupGoingError("This backup was just removed.")
    if backup.removing_since is not None:
        raise BackupGoingError(f"{backup} is being removed: its object may be gone by now.")
    return backup
