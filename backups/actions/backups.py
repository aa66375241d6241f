"""What is written about backups: forgetting them. Only a job's last update makes one."""

from __future__ import annotations

from django.db.models import Q

from backups.actions.usage import usage_kept
from backups.errors import DeletionRefusedError
from backups.models import Backup, Job
from backups.states import ACTIVE


def forget_backup(*, backup: Backup) -> None:
    """Remove the row of a backup, whose object is gone or is to stay in the storage.

    A row that somebody else removed in the meantime is no error. Raises `DeletionRefusedError`
    while a job works on the backup.
    """
    with usage_kept(backup.site_id):
        require_deletable(backup=backup)
        Backup.objects.filter(pk=backup.pk).delete()


def require_deletable(*, backup: Backup) -> None:
    """Raise `DeletionRefusedError` while a job works on the backup.

    Asked before the object is deleted as well: a row that must stay needs its object.
    """
    if Job.objects.filter(Q(backup=backup) | Q(source=backup), state__in=ACTIVE).exists():
        raise DeletionRefusedError(f"A job is still working on the backup {backup}.")
