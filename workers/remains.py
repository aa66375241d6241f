"""Removing what an ended job left: on this host, and parts of an upload in a storage."""

from __future__ import annotations

import logging
import uuid
from pathlib import Path

from backups.actions.leftovers import CleanupReport, Leftover, note_switched
from backups.models import Storage
from workers.engine.errors import EngineError
from workers.engine.restore.journal import SWITCHED
from workers.engine.stores import open_store
from workers.engine.stores.base import ObjectLocked
from workers.scratch import scratch_servers
from workers.stages.cleanup import remove_tree
from workers.stages.restoring import settle

logger = logging.getLogger(__name__)


def settle_job(job_id: uuid.UUID, folder: Path) -> None:
    """Settle what a restore was about to change, and have the job's log say if that is done.

    A job that was stopped or reset in the middle of the exchange reads as if nothing had happened.
    """
    if settle(folder, scratch_servers()) == SWITCHED:
        note_switched(job_id)


def remove_work(job_id: uuid.UUID, folder: Path) -> bool:
    """Settle what a restore was about to change, and remove a job's folder; False if some stays.

    The folder stays as long as it is needed to bring the site into one of two states.
    """
    try:
        settle_job(job_id, folder)
    except EngineError as error:
        logger.warning("%s is not settled yet: %s", folder, error.sentences())
        return False
    remove_tree(folder)
    return not folder.exists()


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
    try:
        deleted = store.delete(leftover.object_key)
    except ObjectLocked as error:
        # It stays until then, and `storage audit` names it: asking each minute changes nothing.
        logger.warning("job %s left an object behind: %s", leftover.job_id, error.message)
        deleted = False
    return CleanupReport(uploads_aborted=int(bool(leftover.upload)), objects_deleted=int(deleted))
