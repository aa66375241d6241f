"""Object lock: bundles that nobody can delete before their time, and deleting those it is up for.

A bucket with object lock keeps versions. A plain deletion only hides the newest one, which would
look like success: nothing is locked, and no room is freed. So in such a bucket the versions
themselves are deleted, which the service refuses while they are locked.
"""

from __future__ import annotations

import dataclasses
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from workers.engine.errors import EngineError
from workers.engine.stores.base import ObjectLocked, StoredObject
from workers.engine.stores.s3.config import S3Config

if TYPE_CHECKING:
    from workers.engine.stores.s3.bucket import Bucket, Head

# Two attempts at one upload make two versions of the same bundle.
MOST_VERSIONS = 20
# Pauses in seconds until a deleted object must be gone; Amazon hides it at once, some others not.
GONE_PAUSES = (0.2, 0.5, 1.0, 2.0, 4.0)


def lock_arguments(config: S3Config) -> dict[str, Any]:
    """Return what a request that makes a bundle says about how long it is locked."""
    if not config.object_lock_days:
        return {}
    until = datetime.now(UTC) + timedelta(days=config.object_lock_days)
    return {
        "ObjectLockMode": config.object_lock_mode.upper(),
        # The service counts in whole seconds.
        "ObjectLockRetainUntilDate": until.replace(microsecond=0),
    }


def ensure_locked(bucket: Bucket, stored: StoredObject) -> StoredObject:
    """Return a bundle that was just stored, locked as it is set.

    Some services take no notice of what the beginning of an upload in parts says of locks, so it
    is said once more of an object that shows none. Raises when that is refused.
    """
    wanted = lock_arguments(bucket.config)
    if not wanted or stored.locked_until is not None:
        return stored
    until = wanted["ObjectLockRetainUntilDate"]
    bucket.lock(stored.key, wanted["ObjectLockMode"], until)
    return dataclasses.replace(stored, locked_until=until)


def delete_object(bucket: Bucket, key: str) -> bool:
    """Delete an object until it is confirmed gone; False if there was none.

    Raises `ObjectLocked` while it is locked, and then nothing has changed.
    """
    head = bucket.head(key)
    if head is None:
        return False
    for _ in range(MOST_VERSIONS):
        _require_unlocked(key, head)
        # In a bucket with versions but without locks the older ones stay, as it was set up.
        is_lockable = bool(bucket.config.object_lock_days) or head.locked_until is not None
        bucket.delete(key, head.version_id if is_lockable else "")
        following = _seen_after(bucket, key, head)
        if following is None:
            return True
        head = following
    raise _not_deleted(key)


def _seen_after(bucket: Bucket, key: str, deleted: Head) -> Head | None:
    """Return what is there now: None, or a version that was stored before the deleted one."""
    for pause in (*GONE_PAUSES, None):
        head = bucket.head(key)
        if head is None or (head.version_id and head.version_id != deleted.version_id):
            return head
        time.sleep(pause or 0)
    raise _not_deleted(key)


def _require_unlocked(key: str, head: Head) -> None:
    if head.has_legal_hold:
        raise ObjectLocked(f"{key} is under a legal hold.", until=None)
    if head.locked_until is not None and head.locked_until > datetime.now(UTC):
        until = f"{head.locked_until.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
        raise ObjectLocked(f"{key} is locked until {until}.", until=head.locked_until)


def _not_deleted(key: str) -> EngineError:
    return EngineError(
        f"{key} is still there although the service said that it was deleted.",
        hint="Look for an object lock or a legal hold; it is tried again later.",
        code="not_deleted",
    )
