"""What every kind of store offers. The comments here are the contract that the tests hold."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from workers.engine.errors import EngineError
from workers.engine.progress import Reporter
from workers.engine.sources import ByteSource

Checkpoint = Mapping[str, str | int]


@dataclass(frozen=True, slots=True)
class StoredObject:
    """One object in a store.

    `checksum` is "<algorithm>:<hex>" as the store (or a read-back) vouches for it: "sha256",
    "sha256_parts", "md5" or "md5_parts", the latter with "-<number of parts>" at its end. `put`
    says in `verified_by` how the object was proven to be the source: "sha256" (returned by a store
    that was seen to refuse wrong ones), "md5_parts" (its ETag equals the MD5s of the parts or of
    the whole) or "read_back" (fetched and compared). `stat` gives the checksum that the store has
    now, equal to the one that `put` returned unless only a read-back could tell, and no
    `verified_by`. Both are empty where only listed. Nobody can delete it before `locked_until`.
    """

    key: str
    size: int
    modified_at: datetime
    checksum: str = ""
    verified_by: str = ""
    metadata: Mapping[str, str] | None = None
    locked_until: datetime | None = None


class ObjectLocked(EngineError):
    """The store lets nobody delete the object before `until`; None where it does not say when."""

    code = "object_locked"

    def __init__(self, message: str, *, until: datetime | None) -> None:
        super().__init__(message, hint="Nothing can shorten that from here.", permanent=True)
        self.until = until


@dataclass(frozen=True, slots=True)
class UnfinishedUpload:
    """What a `put` that never ended holds in the store; `abandon` takes its `checkpoint`.

    `begun_at` is what the store says, and some say nonsense.
    """

    key: str
    begun_at: datetime
    checkpoint: Checkpoint


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a store was seen to support, each tried for real by `Store.probe`, never assumed.

    JSON-serialisable through `dataclasses.asdict`. `notes` are sentences for a person.
    """

    write: bool
    read: bool
    delete: bool
    range_read: bool
    multipart: bool = False
    list_parts: bool = False
    checksum_sha256: bool = False
    etag_md5: bool = False
    conditional_write: bool = False
    copy_part: bool = False
    object_lock: bool = False
    presigned_url: bool = False
    free_bytes: int | None = None
    notes: tuple[str, ...] = ()


class Store(Protocol):
    """A place for bundles. Keys are relative, slash-separated UTF-8 paths.

    Every method raises `EngineError`: temporary when trying again may help (5xx, time-outs, a
    network that is away; after the store's own retries), permanent otherwise (no such bucket,
    refused credentials, no room).
    """

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
        """Store `source` under `key` and return the object only once it is known to be whole.

        The object is not visible under `key` before all of it is there. `sha256` (hex) is that of
        the whole source and is kept with the object. `save_checkpoint` is called with what a
        later call needs as `resume` to go on after a crash instead of beginning again; a
        checkpoint that no longer holds is ignored. The same source may be put under the same key
        by two processes at once: both succeed, with the same object.
        On `StopRequested` what was sent so far is removed; on `Fenced` nothing is touched any
        more, since it belongs to another attempt by then. After an error, what was sent may stay
        for `resume`; `abandon` removes it. `source.read_at` may be called by several threads at
        once, `reporter` only by the caller's. `reporter.advance` adds up to the source's size; the
        total is the caller's to set. Names in `metadata` are of lower-case letters, digits and
        hyphens; it comes back from `stat` with "sha256" added. Memory stays constant.
        """

    def abandon(self, key: str, checkpoint: Checkpoint) -> None:
        """Remove what an unfinished `put` left behind; nothing to remove is no error."""

    def list_uploads(self, prefix: str) -> Iterator[UnfinishedUpload]:
        """Yield the unfinished uploads of keys that begin with `prefix`, ours and others'.

        None where an upload cannot outlive its process without a trace that `abandon` knows.
        """

    def stat(self, key: str) -> StoredObject | None:
        """Return the object, or None if there is none."""

    def open(self, key: str) -> ByteSource:
        """Return the object for reading at any offset, by range requests; raises if there is none.

        Permanent `EngineError` with code `object_missing` where there is none.
        """

    def delete(self, key: str) -> bool:
        """Delete the object; True once it is confirmed gone, False if there was none.

        Raises `ObjectLocked`, with nothing changed, while the store has it locked.
        """

    def list(self, prefix: str = "", *, after: str = "") -> Iterator[StoredObject]:
        """Yield every object whose key begins with `prefix`, in the order of the keys' bytes.

        With `after`, a key or not, those behind it alone: whoever goes on from there does not pay
        for what was listed before.
        """

    def presign(self, key: str, *, filename: str, expires_seconds: int) -> str | None:
        """Return a URL that downloads the object for a while, or None where there is no such thing.

        Makes no request.
        """

    def probe(self) -> Capabilities:
        """Try what the store supports with small objects of our own, and remove them."""
