"""What an S3 service really does, tried with small objects of our own.

A service may answer 200 to what it does not do: it overwrites although `If-None-Match` forbids it,
"copies" nothing, echoes a checksum that it never computed. So each is tried in a way that shows.
"""

from __future__ import annotations

import contextlib
import hashlib
import secrets
from collections.abc import Callable
from typing import Any

from botocore.awsrequest import AWSRequest
from botocore.httpsession import URLLib3Session

from workers.engine.errors import EngineError
from workers.engine.stores.base import Capabilities
from workers.engine.stores.keys import PROBE_FOLDER
from workers.engine.stores.s3.bucket import Bucket
from workers.engine.stores.s3.parts import Digest
from workers.engine.stores.s3.reading import ObjectSource
from workers.engine.stores.s3.upload import remove_upload

PROBE_BYTES = 4096
RANGE = (100, 50)
HTTP_OK = 200
# With these nothing else can work either: they are errors of the storage, not answers about it.
FATAL_CODES = frozenset(
    {
        "bad_credentials",
        "bucket_missing",
        "certificate",
        "clock_skew",
        "credentials_expired",
        "storage_busy",
        "storage_unreachable",
        "wrong_endpoint",
    }
)


class Probe:
    """One `Store.probe`. Raises `EngineError` when the bucket cannot be used at all."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket
        self._folder = f"{PROBE_FOLDER}/{secrets.token_hex(8)}"
        self._data = secrets.token_bytes(PROBE_BYTES)
        self._other = secrets.token_bytes(PROBE_BYTES)
        self._key = f"{self._folder}/object"
        self._written: set[str] = set()
        self._notes: list[str] = []

    def run(self) -> Capabilities:
        """Try everything, each on its own, and remove what was made."""
        self._bucket.require_bucket()
        seen: dict[str, bool] = {}
        try:
            for name, attempt in self._attempts().items():
                # Where writing fails the rest would only say so again, in many sentences.
                seen[name] = (name == "write" or seen["write"]) and self._tried(name, attempt)
        finally:
            removed = self._remove_all()
        seen["delete"] = seen["write"] and removed
        if self._bucket.config.object_lock_days and not seen["object_lock"]:
            raise EngineError(
                f"The bucket {self._bucket.config.bucket} has no object lock.",
                hint="Object lock is switched on when a bucket is created: make another one, or "
                "set object_lock_days to 0.",
                permanent=True,
                code="object_lock_missing",
            )
        return Capabilities(**seen, notes=tuple(self._notes))

    def _attempts(self) -> dict[str, Callable[[], bool]]:
        return {
            "write": self._write,
            "read": self._read,
            "range_read": self._range_read,
            "etag_md5": self._etag_md5,
            "multipart": self._multipart,
            "list_parts": self._list_parts,
            "checksum_sha256": self._checksum_sha256,
            "conditional_write": self._conditional_write,
            "copy_part": self._copy_part,
            "object_lock": self._object_lock,
            "presigned_url": self._presigned_url,
        }

    def _tried(self, name: str, attempt: Callable[[], bool]) -> bool:
        try:
            works = attempt()
        except EngineError as error:
            if error.code in FATAL_CODES:
                raise
            self._notes.append(f"{_NAMES[name]}: {error.message}")
            return False
        if not works:
            self._notes.append(f"{_NAMES[name]}: the service does not do it.")
        return works

    def _write(self) -> bool:
        self._put(self._key, self._data)
        return True

    def _read(self) -> bool:
        with self._bucket.translated("read the probe's object"):
            answer = self._bucket.client.get_object(
                **self._bucket.full(self._key), **self._bucket.customer_key
            )
            return answer["Body"].read(PROBE_BYTES + 1) == self._data

    def _range_read(self) -> bool:
        offset, length = RANGE
        piece = ObjectSource(self._bucket, self._key).read_at(offset, length)
        return piece == self._data[offset : offset + length]

    def _etag_md5(self) -> bool:
        # It was written without a Content-MD5, so the service had nothing that it could echo.
        head = self._bucket.head(self._key)
        return head is not None and head.etag == _md5(self._data)

    def _multipart(self) -> bool:
        key = f"{self._folder}/multipart"
        with self._upload(key) as upload_id:
            etag = self._part(key, upload_id, self._data)["ETag"]
            self._complete(key, upload_id, {"PartNumber": 1, "ETag": etag})
        head = self._bucket.head(key)
        return head is not None and head.size == PROBE_BYTES

    def _list_parts(self) -> bool:
        key = f"{self._folder}/listed"
        with self._upload(key) as upload_id:
            self._part(key, upload_id, self._data)
            parts = self._bucket.list_parts(key, upload_id)
        return [(part.number, part.size) for part in parts.values()] == [(1, PROBE_BYTES)]

    def _checksum_sha256(self) -> bool:
        """Tell whether parts with a wrong checksum are refused and right ones are vouched for."""
        key = f"{self._folder}/checksum"
        right, wrong = _digest(self._data).sha256_base64, _digest(self._other).sha256_base64
        with self._upload(key, ChecksumAlgorithm="SHA256") as upload_id:
            if not self._refused(lambda: self._part(key, upload_id, self._data, sha256=wrong)):
                return False
            answer = self._part(key, upload_id, self._data, sha256=right)
            if answer.get("ChecksumSHA256") != right:
                return False
            part = {"PartNumber": 1, "ETag": answer["ETag"], "ChecksumSHA256": right}
            self._complete(key, upload_id, part)
        head = self._bucket.head(key)
        return head is not None and bool(head.sha256)

    def _conditional_write(self) -> bool:
        return self._refused(lambda: self._put(self._key, self._other, IfNoneMatch="*"))

    def _copy_part(self) -> bool:
        key = f"{self._folder}/copied"
        # The condition before may have been ignored, and the object replaced.
        self._put(self._key, self._data)
        with self._upload(key) as upload_id:
            with self._bucket.translated("copy a part"):
                self._bucket.client.upload_part_copy(
                    **self._bucket.full(key),
                    UploadId=upload_id,
                    PartNumber=1,
                    CopySource=self._bucket.full(self._key),  # type: ignore[arg-type]
                    **self._bucket.customer_key,
                    **{f"CopySource{name}": v for name, v in self._bucket.customer_key.items()},
                )
            part = self._bucket.list_parts(key, upload_id).get(1)
        return part is not None and part.size == PROBE_BYTES

    def _object_lock(self) -> bool:
        with self._bucket.translated("ask for the object lock"):
            answer = self._bucket.client.get_object_lock_configuration(
                Bucket=self._bucket.config.bucket
            )
        enabled = answer.get("ObjectLockConfiguration", {}).get("ObjectLockEnabled")
        return enabled == "Enabled"

    def _presigned_url(self) -> bool:
        if self._bucket.customer_key:
            return False
        url = self._bucket.presign(self._key, "attachment", 60)
        config = self._bucket.config
        options: dict[str, Any] = {
            "verify": self._bucket.ca_file or True,
            "timeout": (config.connect_timeout, config.read_timeout),
        }
        session = URLLib3Session(**options)
        with self._bucket.translated("use a presigned URL"), contextlib.closing(session):
            answer = session.send(AWSRequest("GET", url).prepare())
        return bool(answer.status_code == HTTP_OK and answer.content == self._data)

    def _put(self, key: str, data: bytes, **arguments: Any) -> None:  # noqa: ANN401
        self._written.add(key)
        with self._bucket.translated("write an object of the probe"):
            self._bucket.client.put_object(
                **self._bucket.full(key), Body=data, **arguments, **self._bucket.encryption
            )

    @contextlib.contextmanager
    def _upload(self, key: str, **arguments: Any) -> Any:  # noqa: ANN401
        self._written.add(key)
        with self._bucket.translated("begin an upload of the probe"):
            answer = self._bucket.client.create_multipart_upload(
                **self._bucket.full(key), **arguments, **self._bucket.encryption
            )
        try:
            yield answer["UploadId"]
        finally:
            with contextlib.suppress(EngineError):
                remove_upload(self._bucket, key, answer["UploadId"])

    def _part(self, key: str, upload_id: str, data: bytes, sha256: str = "") -> dict[str, Any]:
        checksum: Any = {"ChecksumSHA256": sha256} if sha256 else {}
        with self._bucket.translated("send a part of the probe"):
            return dict(
                self._bucket.client.upload_part(
                    **self._bucket.full(key),
                    UploadId=upload_id,
                    PartNumber=1,
                    Body=data,
                    **checksum,
                    **self._bucket.customer_key,
                )
            )

    def _complete(self, key: str, upload_id: str, part: dict[str, Any]) -> None:
        with self._bucket.translated("complete an upload of the probe"):
            self._bucket.client.complete_multipart_upload(
                **self._bucket.full(key),
                UploadId=upload_id,
                MultipartUpload={"Parts": [part]},  # type: ignore[list-item]
                **self._bucket.customer_key,
            )

    def _refused(self, request: Callable[[], object]) -> bool:
        try:
            request()
        except EngineError as error:
            return error.code in {"damaged_on_the_way", "object_changed", "storage_refused"}
        return False

    def _remove_all(self) -> bool:
        removed = True
        for key in self._written:
            try:
                self._bucket.delete(key)
                removed = self._bucket.head(key) is None and removed
            except EngineError as error:
                self._notes.append(f"{_NAMES['delete']}: {error.message}")
                removed = False
        return removed


def _digest(data: bytes) -> Digest:
    return Digest(bytes.fromhex(_md5(data)), hashlib.sha256(data).digest())


def _md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


_NAMES = {
    "write": "Writing",
    "read": "Reading",
    "range_read": "Reading a range (single files out of a bundle)",
    "delete": "Deleting",
    "etag_md5": "ETags that are MD5s",
    "multipart": "Uploading in parts",
    "list_parts": "Listing parts (going on with an upload after a crash)",
    "checksum_sha256": "SHA-256 checksums that the service checks",
    "conditional_write": "Writing only what is not there yet",
    "copy_part": "Copying within the service",
    "object_lock": "Object lock (backups that nobody can delete)",
    "presigned_url": "Download links",
}
