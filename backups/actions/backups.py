"""What is written about backups, and forgetting them. Only a job's last update makes one."""

from __future__ import annotations

import logging

from django.db.models.functions import Now

from backups.actions.storable import storable
from backups.actions.usage import usage_kept
from backups.errors import BackupGoingError, DeletionRefusedError
from backups.models import Backup
from backups.queries.retention import jobs_using

logger = logging.getLogger(__name__)

PROBLEM_CHARACTERS = 300  # of the column


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


def note_problem(key: int, words: str) -> None:
    """Write down that a backup's object is not as it was recorded: it counts as no copy then."""
    problem = storable(words)[:PROBLEM_CHARACTERS]
    backups = Backup.objects.filter(pk=key)
    if backups.exclude(check_problem=problem).update(check_problem=problem):
        logger.warning("backup %s is not as recorded: %s", key, words)
    backups.update(checked_at=Now())
