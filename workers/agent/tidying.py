"""Finds what no row tells of: folders, processes and uploads that their jobs lost track of.

Each is looked for in the same order: first what is there, then what is in use. So what begins in
between is not among what was found, and what ended in between is not in use any more.
"""

from __future__ import annotations

import logging
import re
import time
import uuid
from collections.abc import Callable
from pathlib import Path

from django.db import connection

from backups import queries
from backups.actions import leftovers
from backups.registry import STAGES
from workers.agent.folders import remove_for_good, remove_what_was_set_aside
from workers.agent.post import Post
from workers.engine import marks
from workers.engine.errors import EngineError
from workers.engine.stores import open_store

logger = logging.getLogger(__name__)

# An attempt that lost its job goes on for moments, and what it leaves is found the next time.
GRACE_SECONDS = 10.0
_FOLDER_OF_STAGE = re.compile(rf"({'|'.join(STAGES)})-\d+-[0-9a-f]{{32}}")


def tidy_processes(post: Post) -> None:
    """End what surely runs for nobody, as far as this worker sees processes."""
    _guarded("processes", kill_orphans, post)


def tidy_folders(post: Post) -> None:
    """Remove what is surely nobody's in the spool."""
    _guarded("folders", remove_orphaned_folders, post)


def tidy_storages(post: Post) -> None:
    """Remove what is surely nobody's in the node's storages; for a thread, since they may hang."""
    try:
        _guarded("uploads", abort_orphaned_uploads, post)
    finally:
        connection.close()


def _guarded(what: str, work: Callable[[Post], int], post: Post) -> None:
    try:
        if number := work(post):
            logger.warning("removed %d orphaned %s", number, what)
    except Exception:
        logger.warning("orphaned %s were not looked for", what, exc_info=True)


def kill_orphans(post: Post) -> int:
    """Kill processes of attempts that own no job any more; return how many groups.

    Jobs that this panel does not know are another installation's on the same machine.
    """
    found = [one for one in marks.marked_processes() if one.age_seconds > GRACE_SECONDS]
    job_ids = {job_id for one in found if (job_id := _as_uuid(one.job))}
    owners = queries.owners_of(post.node_id, job_ids)
    owned = {str(job_id): attempt for job_id, attempt in owners.items()}
    return marks.kill_groups(one for one in found if owned.get(one.job, one.attempt) != one.attempt)


def remove_orphaned_folders(post: Post) -> int:
    """Remove folders of jobs that neither run nor wait for a retry; return how many."""
    remove_what_was_set_aside(post.spool)
    found = [folder for folder in post.spool.iterdir() if _is_of_a_job(folder)]
    wanted = leftovers.wanted_folders(post.node_id)
    # Those of jobs whose end left something to do are removed with a report, and not here.
    reported = {leftover.folder_name for leftover in leftovers.leftovers_of(post.node_id)}
    orphans = [folder for folder in found if folder.name not in wanted | reported]
    for folder in orphans:
        remove_for_good(folder)
    return sum(not folder.exists() for folder in orphans)


def _is_of_a_job(folder: Path) -> bool:
    """Return whether this can be nothing but a job's folder that nobody has touched just now."""
    try:
        is_old = folder.lstat().st_mtime < time.time() - GRACE_SECONDS
        names = [path.name for path in folder.iterdir()]
    except OSError:
        return False
    is_plain = _as_uuid(folder.name) is not None and not folder.is_symlink()
    return is_plain and is_old and all(map(_FOLDER_OF_STAGE.fullmatch, names))


def abort_orphaned_uploads(post: Post) -> int:
    """Abort unfinished uploads below the node's own prefix that no job will go on with.

    Only what is older than any active job; but some services date uploads wrongly, so what counts
    is that the key was reserved for no active job.
    """
    aborted = 0
    for storage in queries.storages_used_by(post.node_id):
        try:
            store = open_store(storage.type, storage.full_config(), storage.capabilities)
            found = list(store.list_uploads(f"{post.node_uuid}/"))
            in_use = queries.keys_in_use(post.node_id)
            oldest = queries.oldest_active_job(post.node_id)
            for upload in found:
                is_older = oldest is None or upload.begun_at < oldest
                if is_older and upload.key not in in_use:
                    store.abandon(upload.key, upload.checkpoint)
                    aborted += 1
        except EngineError as error:
            logger.warning("uploads to %s were not looked for: %s", storage, error.sentences())
    return aborted


def _as_uuid(text: str) -> uuid.UUID | None:
    try:
        return uuid.UUID(text)
    except ValueError:
        return None
