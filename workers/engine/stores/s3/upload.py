"""Storing one source as one object: sent in parts, resumed, completed, and proven to be whole."""

from __future__ import annotations

import contextlib
import functools
import hashlib
from collections.abc import Callable, Mapping
from concurrent import futures

from workers.engine.errors import EngineError, StopRequested
from workers.engine.progress import Reporter
from workers.engine.sources import ByteSource
from workers.engine.stores.base import Checkpoint, StoredObject
from workers.engine.stores.local_copy import source_changed
from workers.engine.stores.s3.bucket import Bucket, Head, Receipt
from workers.engine.stores.s3.crew import Crew
from workers.engine.stores.s3.errors import PartRefused, UploadMissing
from workers.engine.stores.s3.parts import (
    MAX_PART_BYTES,
    MAX_PARTS,
    MIN_PART_BYTES,
    Digest,
    Part,
    PartBody,
    PartHasher,
    part_size_for,
    parts_of,
)
from workers.engine.stores.s3.proof import prove_by_answer, stored_object
from workers.engine.stores.s3.reading import REQUEST_BYTES, ObjectSource
from workers.engine.throttle import Throttle

# How often an upload that vanishes or whose parts are refused is gone on with or begun again.
BEGINNINGS = 3
# Pauses in seconds between our own attempts to complete, after those that botocore makes.
COMPLETE_PAUSES = (1.0, 4.0)
# Pauses in seconds until an object must be visible; Amazon shows it at once, some others do not.
VISIBLE_PAUSES = (0.2, 0.5, 1.0, 2.0, 4.0)
# A stop is to be over in 3 seconds, one of which passes until it is seen. Where a service is slower
# than this, the node's agent removes what is left.
LET_GO_SECONDS = 0.5
WITHDRAW_SECONDS = 1.0
ABORT_ATTEMPTS = 3


class Upload:
    """One `Store.put`. Made and used by one thread; its requests run in the crew's threads."""

    def __init__(
        self,
        bucket: Bucket,
        key: str,
        source: ByteSource,
        *,
        metadata: Mapping[str, str],
        reporter: Reporter,
        save_checkpoint: Callable[[Checkpoint], None],
        trust_etag: bool,
        throttle: Throttle | None = None,
    ) -> None:
        self._bucket = bucket
        self._key = key
        self._source = source
        self._metadata = metadata
        self._reporter = reporter
        self._save_checkpoint = save_checkpoint
        self._trust_etag = trust_etag
        self._throttle = throttle
        self._crew = Crew(bucket.config.upload_threads, reporter)
        self._upload_id = ""
        self._may_be_visible = False
        self._use_parts(part_size_for(source.size, bucket.config.part_size))

    def run(self, resume: Checkpoint | None) -> StoredObject:
        """Do it; see `Store.put`."""
        with self._crew:
            try:
                return self._run_or_withdraw(resume)
            except StopRequested:
                self._withdraw()
                raise

    def _run_or_withdraw(self, resume: Checkpoint | None) -> StoredObject:
        try:
            return self._run(resume)
        except EngineError as error:
            if error.code in {"source_changed", "verification_failed"}:
                # Whoever has lost the lease leaves alone what another attempt has proven since.
                self._reporter.check()
                self._withdraw()
            raise

    def _run(self, resume: Checkpoint | None) -> StoredObject:
        checkpoint = resume if resume and self._holds(resume) else None
        if resume and not checkpoint:
            self._throw_away(resume)
        if not checkpoint and len(self._parts) == 1:
            return self._put_whole()
        for _ in range(BEGINNINGS):
            try:
                return self._put_parts(checkpoint)
            except PartRefused:
                # Look at what the service has, and send again what is not right.
                self._crew.begin_again()
                checkpoint = self._checkpoint()
            except UploadMissing:
                # Completed by another process or by a request whose answer was lost, or aborted.
                self._crew.begin_again()
                if found := self._already_there():
                    return found
                checkpoint = None
        raise EngineError(
            f"The upload of {self._key} vanished, or its parts were refused, again and again.",
            hint="Look for a lifecycle rule that aborts uploads early, for another program, or "
            "for a service under such a load that it mixes up parts that are sent twice.",
            code="upload_lost",
        )

    # Sending

    def _put_whole(self) -> StoredObject:
        digest = self._hasher.digest(self._parts[0])
        self._require_unchanged_source()
        body = self._body(self._parts[0])
        self._may_be_visible = True
        self._crew.send(
            lambda: self._bucket.put_object(self._key, body, digest, self._metadata), body
        )
        self._crew.finish_sending()
        return self._proven(multipart=False)

    def _put_parts(self, checkpoint: Checkpoint | None) -> StoredObject:
        receipts = self._resumed(checkpoint) if checkpoint else None
        if receipts is None:
            receipts = self._begun()
        for part in self._parts:
            digest = self._hasher.digest(part)
            receipt = receipts.get(part.number)
            if receipt and self._is_right(receipt, part, digest):
                self._crew.count(part.length)
                continue
            body = self._body(part)
            self._crew.send(
                functools.partial(self._send, receipts, part.number, body, digest), body
            )
        self._crew.finish_sending()
        self._require_unchanged_source()
        self._may_be_visible = True
        self._complete([receipts[part.number] for part in self._parts])
        return self._proven(multipart=True)

    def _body(self, part: Part) -> PartBody:
        return PartBody(self._source, part, self._crew.cancelled, self._throttle)

    def _begun(self) -> dict[int, Receipt]:
        self._use_parts(part_size_for(self._source.size, self._bucket.config.part_size))
        self._crew.call(self._create)
        self._save_checkpoint(self._checkpoint())
        return {}

    def _checkpoint(self) -> Checkpoint:
        return {
            "key": self._key,
            "upload_id": self._upload_id,
            "part_size": self._part_size,
            "size": self._source.size,
            "sha256": self._metadata["sha256"],
        }

    def _create(self) -> None:
        # Kept by the thread that makes the request: a stop may come before its answer.
        self._upload_id = self._bucket.create_upload(self._key, self._metadata)

    def _resumed(self, checkpoint: Checkpoint) -> dict[int, Receipt] | None:
        """Return what the service has of an earlier attempt; None if it does not let us know."""
        upload_id = str(checkpoint["upload_id"])
        self._use_parts(int(checkpoint["part_size"]))
        try:
            receipts = self._crew.call(self._bucket.list_parts, self._key, upload_id)
        except UploadMissing:
            raise
        except EngineError as error:
            if not error.permanent:
                raise
            self._throw_away(checkpoint)
            return None
        self._upload_id = upload_id
        return receipts

    def _send(
        self, receipts: dict[int, Receipt], number: int, body: PartBody, digest: Digest
    ) -> None:
        receipts[number] = self._bucket.send_part(self._key, self._upload_id, number, body, digest)

    def _complete(self, receipts: list[Receipt]) -> None:
        for pause in (*COMPLETE_PAUSES, None):
            try:
                self._crew.call(self._bucket.complete, self._key, self._upload_id, receipts)
            except EngineError as error:
                if error.code in {"upload_missing", "part_refused"}:
                    raise
                if error.permanent or pause is None:
                    raise
                self._crew.pause(pause)
            else:
                return

    # Checking

    def _proven(self, *, multipart: bool) -> StoredObject:
        head = self._crew.call(self._bucket.head, self._key)
        for pause in VISIBLE_PAUSES:
            if head:
                break
            self._crew.pause(pause)
            head = self._crew.call(self._bucket.head, self._key)
        found = self._prove(head, multipart=multipart) if head else None
        if found:
            return found
        raise EngineError(
            f"{self._key} was stored, but is not what was sent."
            if head
            else f"{self._key} was stored, but is not there.",
            hint="The service answered that all was well: do not trust it before its provider "
            "has explained this. It is tried again later.",
            code="verification_failed",
        )

    def _prove(self, head: Head, *, multipart: bool) -> StoredObject | None:
        """Return the object if it is the source, by what the service says or by reading it."""
        if head.size != self._source.size:
            return None
        found = prove_by_answer(
            self._key,
            head,
            self._hasher,
            multipart=multipart,
            checksums=self._bucket.checksums,
            trust_etag=self._trust_etag,
        )
        if found is None and self._read_back() == self._metadata["sha256"]:
            found = stored_object(
                self._key, head, f"sha256:{self._metadata['sha256']}", "read_back"
            )
        return found

    def _already_there(self) -> StoredObject | None:
        head = self._crew.call(self._bucket.head, self._key)
        if head is None or head.metadata.get("sha256") not in {None, self._metadata["sha256"]}:
            return None
        self._require_unchanged_source()
        found = self._prove(head, multipart=True)
        if found:
            self._crew.count(self._source.size)
        return found

    def _read_back(self) -> str:
        self._reporter.detail("Reading the object back to compare it")
        stored = self._crew.call(ObjectSource, self._bucket, self._key)
        digest = hashlib.sha256()
        for offset in range(0, stored.size, REQUEST_BYTES):
            digest.update(self._crew.call(stored.read_at, offset, REQUEST_BYTES))
        return digest.hexdigest()

    def _is_right(self, receipt: Receipt, part: Part, digest: Digest) -> bool:
        by_sha256 = self._bucket.checksums and receipt.sha256 == digest.sha256_base64
        by_md5 = self._trust_etag and receipt.etag == digest.md5.hex()
        return receipt.size == part.length and (by_sha256 or by_md5)

    def _require_unchanged_source(self) -> None:
        if self._hasher.whole_sha256() != self._metadata["sha256"]:
            raise source_changed()

    def _holds(self, checkpoint: Checkpoint) -> bool:
        part_size = checkpoint.get("part_size")
        return (
            isinstance(part_size, int)
            and MIN_PART_BYTES <= part_size <= MAX_PART_BYTES
            and len(range(0, self._source.size, part_size)) <= MAX_PARTS
            and bool(checkpoint.get("upload_id"))
            and checkpoint.get("key") == self._key
            and checkpoint.get("size") == self._source.size
            and checkpoint.get("sha256") == self._metadata["sha256"]
        )

    def _use_parts(self, part_size: int) -> None:
        self._part_size = part_size
        self._parts = parts_of(self._source.size, part_size)
        self._hasher = PartHasher(self._source, self._parts, self._reporter.check)

    # Removing

    def _throw_away(self, checkpoint: Checkpoint) -> None:
        """Remove an upload that nobody will go on with; in vain is no reason to fail."""
        upload_id = str(checkpoint.get("upload_id", ""))
        if upload_id and checkpoint.get("key") == self._key:
            with contextlib.suppress(EngineError):
                self._crew.call(remove_upload, self._bucket, self._key, upload_id)

    def _withdraw(self) -> None:
        """Remove what was sent, within a bounded time; must not ask the reporter any more."""
        self._crew.let_go(LET_GO_SECONDS)
        with contextlib.suppress(EngineError, futures.TimeoutError):
            pool = futures.ThreadPoolExecutor(1, thread_name_prefix="store-withdraw")
            future = pool.submit(self._remove_all)
            pool.shutdown(wait=False)
            future.result(timeout=WITHDRAW_SECONDS)
            return
        self._reporter.warn(
            f"What was sent of {self._key} could not be removed from the bucket; the service was "
            "not reached in time."
        )

    def _remove_all(self) -> None:
        if self._upload_id:
            remove_upload(self._bucket, self._key, self._upload_id)
        if self._may_be_visible:
            head = self._bucket.head(self._key)
            if head and head.metadata.get("sha256") == self._metadata["sha256"]:
                self._bucket.delete(self._key)


def remove_upload(bucket: Bucket, key: str, upload_id: str) -> None:
    """Abort an upload until the service knows nothing of it; none is no error.

    Parts that arrive while it is aborted may stay (Amazon S3 API reference,
    "AbortMultipartUpload"), so it is looked at afterwards.
    """
    with contextlib.suppress(UploadMissing):
        for _ in range(ABORT_ATTEMPTS):
            bucket.abort(key, upload_id)
            if not bucket.list_parts(key, upload_id):
                return
