"""What a node does with stored bundles when the coordinator asks: look at them, remove old ones."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from backups.models import Storage
from workers.engine.errors import EngineError
from workers.engine.stores import open_store
from workers.engine.stores.base import ObjectLocked, Store, StoredObject

NOT_THERE = "The object is not there."


def prune_objects(
    storage_id: int, kept: Sequence[Mapping[str, Any]], going: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Delete the objects of `going`, if each of `kept` is there as it was recorded.

    The answer's `problems` say of which kept backups that is not so, and then nothing was deleted.
    `deleted` are those whose objects are known to be gone; `failed` says why others are not.
    """
    stores = Stores()
    problems = {
        str(one["id"]): found
        for one in kept
        if (found := problem_of(one, stores.of(one["storage_id"]).stat(one["key"])))
    }
    answer: dict[str, Any] = {"problems": problems, "deleted": [], "failed": {}}
    if problems:
        return answer
    store = stores.of(storage_id)
    # An empty folder may be one whose disk is not mounted: where nothing else shows that this is
    # the right one, an object that is not there is no object that is gone.
    is_known = any(one["storage_id"] == storage_id for one in kept)
    for one in going:
        try:
            was_there = store.delete(one["key"])
        except EngineError as error:
            answer["failed"][str(one["id"])] = _why(error)
            if not error.permanent:
                break  # it is away, for the others as well
        else:
            if was_there or is_known:
                answer["deleted"].append(one["id"])
            else:
                answer["problems"][str(one["id"])] = NOT_THERE
    return answer


def check_objects(storage_id: int, objects: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Look at the objects without reading them; return what is amiss with each, "" for nothing.

    What is not in the answer could not be looked at.
    """
    store = Stores().of(storage_id)
    problems: dict[str, str] = {}
    locks: dict[str, str] = {}
    for one in objects:
        try:
            found = store.stat(one["key"])
        except EngineError:
            if not problems:
                raise
            break
        problems[str(one["id"])] = problem_of(one, found)
        if found is not None and found.locked_until is not None:
            locks[str(one["id"])] = found.locked_until.isoformat()
    return {"problems": problems, "locks": locks}


def list_objects(storage_id: int, after: str, limit: int) -> dict[str, Any]:
    """Return a page of what is stored, in the order of the keys; `more` says whether it goes on.

    The first page has the unfinished uploads as well.
    """
    store = Stores().of(storage_id)
    found = list(itertools.islice(store.list(after=after), limit + 1))
    uploads = [] if after else store.list_uploads("")
    return {
        "objects": [
            {"key": one.key, "size": one.size, "modified_at": one.modified_at.isoformat()}
            for one in found[:limit]
        ],
        "uploads": [{"key": one.key, "begun_at": one.begun_at.isoformat()} for one in uploads],
        "more": len(found) > limit,
    }


def problem_of(recorded: Mapping[str, Any], found: StoredObject | None) -> str:
    """Return in what an object is not as it was recorded, "" if it is."""
    if found is None:
        return NOT_THERE
    if found.size != recorded["size"]:
        return f"The object has {found.size} bytes instead of {recorded['size']}."
    kept_with_it = (found.metadata or {}).get("sha256", "")
    if kept_with_it and recorded["sha256"] and kept_with_it != recorded["sha256"]:
        return "The object is another one: it was stored with another SHA-256."
    checksum = recorded.get("checksum", "")
    is_comparable = checksum.partition(":")[0] == found.checksum.partition(":")[0]
    if checksum and is_comparable and checksum != found.checksum:
        return "The object has changed: the storage has another checksum of it."
    return ""


class Stores:
    """Storages, each opened once."""

    def __init__(self) -> None:
        self._opened: dict[int, Store] = {}

    def of(self, storage_id: int) -> Store:
        """Return the store of a storage."""
        if storage_id not in self._opened:
            row = Storage.objects.get(pk=storage_id)
            self._opened[storage_id] = open_store(row.type, row.full_config(), row.capabilities)
        return self._opened[storage_id]


def _why(error: EngineError) -> dict[str, Any]:
    until = error.until if isinstance(error, ObjectLocked) else None
    return {
        "code": error.code,
        "error": error.sentences(),
        "permanent": error.permanent,
        "locked_until": until.isoformat() if until else None,
    }
