"""Bundles in a folder of the node: a disk, a mounted network share."""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import stat
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workers.engine.errors import EngineError, StopRequested
from workers.engine.progress import Reporter
from workers.engine.room import is_full, room_of
from workers.engine.sources import ByteSource
from workers.engine.stores import local_listing, local_probe
from workers.engine.stores.base import Capabilities, Checkpoint, StoredObject, UnfinishedUpload
from workers.engine.stores.config import ConfigInvalid, fields_of, option, parse_config
from workers.engine.stores.keys import RESERVED_PREFIX, checked_key, checked_metadata
from workers.engine.stores.local_copy import PartialCopy, is_temporary_name, temporary_name
from workers.engine.stores.local_files import (
    open_regular,
    opened_folder,
    remove_if_there,
    replace_small_file,
    translated,
)
from workers.engine.throttle import Throttle

SIDECAR_BYTES = 1 << 16
NO_ROOM_HINT = "Free some space, keep fewer backups, or use a larger disk."


@dataclass(frozen=True, slots=True)
class LocalConfig:
    """Where the folder is."""

    path: str = option("Folder", "An absolute path on the node, such as /srv/backups; it exists.")

    def __post_init__(self) -> None:
        if not self.path.startswith("/") or ".." in self.path.split("/"):
            raise ConfigInvalid(
                "path",
                "The storage's path is not an absolute path without '..'.",
                hint="Give the whole path of a folder that exists, such as /srv/backups.",
            )


CONFIG_FIELDS = fields_of(LocalConfig)


def open_store(
    config: Mapping[str, Any], capabilities: Mapping[str, Any], throttle: Throttle | None = None
) -> LocalStore:
    """Return the store for a configuration; see `stores.open_store`."""
    return LocalStore(parse_config(LocalConfig, config), throttle)


class LocalStore:
    """See `base.Store`.

    Beside each object lies a hidden file with its sha256 and metadata. Extended attributes would
    be neater, but network shares, FAT and plain `cp` lose them.
    """

    def __init__(self, config: LocalConfig, throttle: Throttle | None = None) -> None:
        self.root = config.path
        self._throttle = throttle

    def put(
        self,
        key: str,
        source: ByteSource,
        *,
        sha256: str,
        reporter: Reporter,
        metadata: Mapping[str, str],
        resume: Checkpoint | None,
        save_checkpoint: Callable[[Checkpoint], None],
    ) -> StoredObject:
        """See `Store.put`. Verified by reading the copy back from the disk."""
        *folders, name = checked_key(key).split("/")
        kept = checked_metadata(metadata, sha256)
        with (
            translated(f"store {key} in {self.root}"),
            opened_folder(self.root, folders, create=True) as folder,
        ):
            copy = _taken_over(folder, key, resume) or PartialCopy.begin(folder)
            try:
                self._require_room(source.size - copy.status().st_size)
                save_checkpoint({"key": key, "temporary": copy.name})
                copy.fill(source, sha256, reporter, self._throttle)
                copy.read_back(sha256, reporter)
                _put_in_place(folder, copy, name, source.size, kept)
                modified_at = _moment(copy.status())
            except (StopRequested, EngineError, OSError) as error:
                # Not on `Fenced` or the end of the process: the next attempt goes on from it.
                copy.discard()
                if is_full(error):
                    raise self._full(source.size) from error
                raise
            finally:
                copy.close()
        return StoredObject(
            key=key,
            size=source.size,
            modified_at=modified_at,
            checksum=f"sha256:{sha256}",
            verified_by="read_back",
            metadata=kept,
        )

    def abandon(self, key: str, checkpoint: Checkpoint) -> None:
        """See `Store.abandon`."""
        name = str(checkpoint.get("temporary", ""))
        if not is_temporary_name(name):
            return
        *folders, _ = checked_key(key).split("/")
        with (
            translated(f"remove the unfinished copy of {key}"),
            contextlib.suppress(FileNotFoundError),
            opened_folder(self.root, folders) as folder,
        ):
            remove_if_there(folder, name)

    def list_uploads(self, prefix: str) -> Iterator[UnfinishedUpload]:
        """See `Store.list_uploads`: a copy's name is saved before its first byte is written."""
        return iter(())

    def stat(self, key: str) -> StoredObject | None:
        """See `Store.stat`."""
        *folders, name = checked_key(key).split("/")
        with translated(f"look for {key} in {self.root}"):
            try:
                with opened_folder(self.root, folders) as folder:
                    status = os.stat(name, dir_fd=folder, follow_symlinks=False)
                    if not stat.S_ISREG(status.st_mode):
                        return None
                    sidecar = _read_sidecar(folder, name, status.st_size)
            except FileNotFoundError:
                return None
        return StoredObject(
            key=key,
            size=status.st_size,
            modified_at=_moment(status),
            checksum=f"sha256:{sidecar['metadata']['sha256']}" if sidecar else "",
            metadata=sidecar["metadata"] if sidecar else None,
        )

    def open(self, key: str) -> ByteSource:
        """See `Store.open`. The file is held open as long as the source is."""
        *folders, name = checked_key(key).split("/")
        with translated(f"open {key} in {self.root}"):
            try:
                with opened_folder(self.root, folders) as folder:
                    return LocalObject(key, open_regular(folder, name))
            except FileNotFoundError as error:
                raise object_missing(key) from error

    def delete(self, key: str) -> bool:
        """See `Store.delete`. Folders that become empty are removed with it."""
        *folders, name = checked_key(key).split("/")
        with translated(f"delete {key} from {self.root}"):
            try:
                with opened_folder(self.root, folders) as folder:
                    was_there = remove_if_there(folder, name)
                    remove_if_there(folder, _sidecar_name(name))
                    os.fsync(folder)
            except FileNotFoundError:
                return False
            self._remove_empty(folders)
        return was_there

    def list(self, prefix: str = "", *, after: str = "") -> Iterator[StoredObject]:
        """See `Store.list`."""
        with translated(f"list {self.root}"):
            for key, status in local_listing.walk(self.root, prefix, after):
                yield StoredObject(key=key, size=status.st_size, modified_at=_moment(status))

    def presign(self, key: str, *, filename: str, expires_seconds: int) -> str | None:
        """Return None: a folder has no address on the network."""
        return None

    def probe(self) -> Capabilities:
        """See `Store.probe`. Raises when the folder does not exist."""
        return local_probe.probe(self.root)

    def _require_room(self, wanted: int) -> None:
        room = os.statvfs(self.root)
        free = room.f_bavail * room.f_frsize
        if wanted > free:
            raise EngineError(
                f"{self.root} has {free:,} bytes free, but {wanted:,} are needed.",
                hint=NO_ROOM_HINT,
                permanent=True,
                code="no_room",
            )

    def _full(self, wanted: int) -> EngineError:
        try:
            numbers = f" ({room_of(Path(self.root))})"
        except OSError:
            numbers = ""
        return EngineError(
            f"The storage's disk became full while a bundle of {wanted:,} bytes was stored in "
            f"{self.root}{numbers}.",
            hint=f"The unfinished copy is removed. {NO_ROOM_HINT}",
            permanent=True,
            code="no_room",
        )

    def _remove_empty(self, folders: Sequence[str]) -> None:
        while folders:
            *above, name = folders
            try:
                with opened_folder(self.root, above) as folder:
                    os.rmdir(name, dir_fd=folder)
            except OSError:
                return
            folders = above


class LocalObject:
    """One stored file as a `ByteSource`; closed when nothing refers to it any more."""

    def __init__(self, key: str, descriptor: int) -> None:
        self.close = weakref.finalize(self, os.close, descriptor)
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise object_missing(key)
        self._key = key
        self._descriptor = descriptor
        self.size = status.st_size

    def read_at(self, offset: int, length: int) -> bytes:
        """See `ByteSource.read_at`; raises `EngineError`."""
        wanted = max(0, min(length, self.size - offset))
        pieces: list[bytes] = []
        with translated(f"read {self._key}"):
            while wanted and (piece := os.pread(self._descriptor, wanted, offset)):
                pieces.append(piece)
                offset += len(piece)
                wanted -= len(piece)
        if wanted:
            raise EngineError(
                f"{self._key} became shorter while it was read.",
                hint="Something else writes to the storage folder: find out what.",
                permanent=True,
                code="object_changed",
            )
        return b"".join(pieces)


def object_missing(key: str) -> EngineError:
    """Return the error for a key that has no object."""
    return EngineError(
        f"There is no object {key} in the storage.",
        hint="It was deleted or moved outside Holdfast, or the storage points somewhere else now.",
        permanent=True,
        code="object_missing",
    )


def _taken_over(folder: int, key: str, resume: Checkpoint | None) -> PartialCopy | None:
    name = str((resume or {}).get("temporary", ""))
    if not is_temporary_name(name) or (resume or {}).get("key") != key:
        return None
    return PartialCopy.take_over(folder, name)


def _put_in_place(
    folder: int, copy: PartialCopy, name: str, size: int, metadata: Mapping[str, str]
) -> None:
    """Rename the copy, then its sidecar; never is there an object beside another one's sidecar."""
    sidecar = {"size": size, "metadata": dict(metadata)}
    if _read_sidecar(folder, name, size) != sidecar:
        remove_if_there(folder, _sidecar_name(name))
    copy.move_to(name)
    data = json.dumps(sidecar, sort_keys=True).encode()
    replace_small_file(folder, _sidecar_name(name), temporary_name(), data)


def _read_sidecar(folder: int, name: str, size: int) -> dict[str, Any] | None:
    """Return what was kept with an object, or None where nothing usable fits it."""
    try:
        descriptor = open_regular(folder, _sidecar_name(name))
    except OSError:
        return None
    try:
        sidecar = json.loads(os.read(descriptor, SIDECAR_BYTES))
        fits = sidecar["size"] == size and isinstance(sidecar["metadata"]["sha256"], str)
        return sidecar if fits else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
    finally:
        os.close(descriptor)


def _sidecar_name(name: str) -> str:
    return f"{RESERVED_PREFIX}{name}.json"


def _moment(status: os.stat_result) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(status.st_mtime, tz=datetime.UTC)
