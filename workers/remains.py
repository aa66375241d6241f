"""Removing what an ended job left in a storage: parts of an upload, an object nobody counts."""

from __future__ import annotations

from backups.actions.leftovers import CleanupReport, Leftover
from backups.models import Storage
from workers.engine.stores import open_store


def remove_from_storage(leftover: Leftover) -> CleanupReport:
    """Abort the job's upload and delete its object; the key was reserved for it alone.

    Makes no request where nothing was ever sent. Raises `EngineError` when the storage cannot be
    reached now; another try does no harm.
    """
    if not leftover.object_key:
        return CleanupReport()
    storage = Storage.objects.get(pk=leftover.storage_id)
    store = open_store(storage.type, storage.full_config(), storage.capabilities)
    if leftover.upload:
        store.abandon(leftover.object_key, leftover.upload)
    deleted = store.delete(leftover.object_key)
    return CleanupReport(uploads_aborted=int(bool(leftover.upload)), objects_deleted=int(deleted))
