"""One bucket below one prefix: each request that we make, its arguments and its errors."""

from __future__ import annotations

import contextlib
import urllib.parse
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from workers.engine.errors import EngineError
from workers.engine.stores.base import StoredObject, UnfinishedUpload
from workers.engine.stores.s3.client import (
    ca_file_for,
    customer_key_arguments,
    encryption_arguments,
    make_client,
)
from workers.engine.stores.s3.config import S3Config
from workers.engine.stores.s3.errors import ObjectMissing, UploadMissing, translated
from workers.engine.stores.s3.lock import lock_arguments
from workers.engine.stores.s3.parts import Digest, PartBody

if TYPE_CHECKING:
    from mypy_boto3_s3.type_defs import CompletedPartTypeDef

LONGEST_PRESIGNED_SECONDS = 7 * 24 * 3600


@dataclass(frozen=True, slots=True)
class Receipt:
    """What the service answered for a part: its ETag without quotes, its checksum if it gave one.

    `size` is 0 where the answer does not tell.
    """

    number: int
    etag: str
    sha256: str
    size: int = 0


@dataclass(frozen=True, slots=True)
class Head:
    """What the service says of an object. `sha256` is in base64, or empty.

    `md5_etag` is False where the encryption makes the ETag something else than MD5s (Amazon S3
    API reference, "Object": KMS and customer keys).
    """

    size: int
    etag: str
    md5_etag: bool
    sha256: str
    modified_at: datetime
    metadata: Mapping[str, str]
    version_id: str = ""
    locked_until: datetime | None = None
    has_legal_hold: bool = False


@dataclass(frozen=True, slots=True)
class RangeAnswer:
    """What came back for a range: `content_range` is the header as it was sent."""

    status: int
    content_range: str
    etag: str
    data: bytes


class Bucket:
    """The requests. Every method raises `EngineError` only; may be used from several threads.

    With `checksums`, parts are sent with a SHA-256 that the service is known to check.
    """

    def __init__(self, config: S3Config, *, checksums: bool) -> None:
        self.config = config
        self.checksums = checksums
        self.ca_file, self._ca_holder = ca_file_for(config)
        self._prefix = f"{config.prefix.strip('/')}/" if config.prefix.strip("/") else ""
        with self.translated(f"set up access to the bucket {config.bucket}"):
            self.client = make_client(config, self.ca_file)
        self.encryption = encryption_arguments(config)
        self.customer_key = customer_key_arguments(config)

    def full(self, key: str) -> dict[str, Any]:
        """Return the arguments that name an object."""
        return {"Bucket": self.config.bucket, "Key": self._prefix + key}

    def head(self, key: str) -> Head | None:
        """Return what there is under `key`; None if nothing, but an error if there is no bucket."""
        try:
            with self.translated(f"look at {key}"):
                answer = self.client.head_object(
                    **self.full(key), ChecksumMode="ENABLED", **self.customer_key
                )
        except ObjectMissing:
            self.require_bucket()
            return None
        return Head(
            size=answer["ContentLength"],
            etag=_bare(answer.get("ETag")),
            md5_etag=not answer.get("SSECustomerAlgorithm")
            and not answer.get("ServerSideEncryption", "").startswith("aws:kms"),
            sha256=_without_count(answer.get("ChecksumSHA256")),
            modified_at=answer["LastModified"],
            # Services differ in the case of these names, HTTP does not care for it.
            metadata={
                name.lower(): urllib.parse.unquote(text)
                for name, text in answer.get("Metadata", {}).items()
            },
            version_id=answer.get("VersionId", ""),
            locked_until=answer.get("ObjectLockRetainUntilDate"),
            has_legal_hold=answer.get("ObjectLockLegalHoldStatus") == "ON",
        )

    def put_object(
        self, key: str, body: PartBody, digest: Digest, metadata: Mapping[str, str]
    ) -> None:
        """Store a small object by one request."""
        with self.translated(f"store {key}"):
            self.client.put_object(
                **self.full(key),
                Body=body,  # type: ignore[arg-type]
                Metadata=_header_safe(metadata),
                **self._proof(digest),
                **self.encryption,
                **lock_arguments(self.config),
            )

    def create_upload(self, key: str, metadata: Mapping[str, str]) -> str:
        """Begin a multipart upload and return its id."""
        checksums: Any = {"ChecksumAlgorithm": "SHA256"} if self.checksums else {}
        with self.translated(f"begin the upload of {key}"):
            answer = self.client.create_multipart_upload(
                **self.full(key),
                Metadata=_header_safe(metadata),
                **checksums,
                **self.encryption,
                **lock_arguments(self.config),
            )
        return answer["UploadId"]

    def send_part(
        self, key: str, upload_id: str, number: int, body: PartBody, digest: Digest
    ) -> Receipt:
        """Send one part."""
        with self.translated(f"send part {number} of {key}"):
            answer = self.client.upload_part(
                **self.full(key),
                UploadId=upload_id,
                PartNumber=number,
                Body=body,  # type: ignore[arg-type]
                **self._proof(digest),
                **self.customer_key,
            )
        return Receipt(
            number, _bare(answer.get("ETag")), answer.get("ChecksumSHA256", ""), len(body)
        )

    def list_parts(self, key: str, upload_id: str) -> dict[int, Receipt]:
        """Return the parts that the service has, by number."""
        receipts: dict[int, Receipt] = {}
        with self.translated(f"list the parts of {key}"):
            pages = self.client.get_paginator("list_parts")
            for page in pages.paginate(**self.full(key), UploadId=upload_id):
                for part in page.get("Parts", []):
                    receipts[part["PartNumber"]] = Receipt(
                        part["PartNumber"],
                        _bare(part.get("ETag")),
                        part.get("ChecksumSHA256", ""),
                        part["Size"],
                    )
        return receipts

    def complete(self, key: str, upload_id: str, receipts: list[Receipt]) -> None:
        """Put the parts together; an error in the body of a 200 raises like any other."""
        parts: list[CompletedPartTypeDef] = [
            {"PartNumber": receipt.number, "ETag": f'"{receipt.etag}"'} for receipt in receipts
        ]
        for part, receipt in zip(parts, receipts, strict=True):
            if self.checksums and receipt.sha256:
                part["ChecksumSHA256"] = receipt.sha256
        with self.translated(f"complete the upload of {key}"):
            self.client.complete_multipart_upload(
                **self.full(key),
                UploadId=upload_id,
                MultipartUpload={"Parts": parts},
                **self.customer_key,
            )

    def abort(self, key: str, upload_id: str) -> None:
        """Throw a multipart upload away; `UploadMissing` if there is none."""
        with self.translated(f"abort the upload of {key}"):
            self.client.abort_multipart_upload(**self.full(key), UploadId=upload_id)

    def list_uploads(self, prefix: str) -> Iterator[UnfinishedUpload]:
        """Yield the multipart uploads of keys that begin with `prefix`, page by page."""
        wanted = self._prefix + prefix
        pages = self.client.get_paginator("list_multipart_uploads").paginate(
            Bucket=self.config.bucket, Prefix=wanted
        )
        listing = self.translated(f"list the uploads of the bucket {self.config.bucket}")
        # Some services say "no such upload" where a bucket has none.
        with contextlib.suppress(UploadMissing), listing:
            for page in pages:
                for entry in page.get("Uploads", []):
                    # Not every service knows the prefix here, and the others' are not ours to see.
                    if entry["Key"].startswith(wanted):
                        key = entry["Key"].removeprefix(self._prefix)
                        checkpoint = {"key": key, "upload_id": entry["UploadId"]}
                        yield UnfinishedUpload(key, entry["Initiated"], checkpoint)

    def get_range(self, key: str, first: int, last: int, etag: str) -> RangeAnswer:
        """Return the bytes `first` to `last` (both included), and what came with them.

        Of an answer with another length (some services send the whole object) nothing is read.
        """
        condition: dict[str, Any] = {"IfMatch": f'"{etag}"'} if etag else {}
        with self.translated(f"read {key}"):
            answer = self.client.get_object(
                **self.full(key),
                Range=f"bytes={first}-{last}",
                **condition,
                **self.customer_key,
            )
            with contextlib.closing(answer["Body"]) as body:
                fits = answer["ContentLength"] == last - first + 1
                return RangeAnswer(
                    status=answer["ResponseMetadata"]["HTTPStatusCode"],
                    content_range=answer.get("ContentRange", ""),
                    etag=_bare(answer.get("ETag")),
                    data=body.read() if fits else b"",
                )

    def delete(self, key: str, version_id: str = "") -> None:
        """Delete an object, whether there is one or not; or just one version of it."""
        version: Any = {"VersionId": version_id} if version_id else {}
        with self.translated(f"delete {key}"):
            self.client.delete_object(**self.full(key), **version)

    def lock(self, key: str, mode: Any, until: datetime) -> None:  # noqa: ANN401
        """Let nobody delete the newest version of an object before `until`."""
        with self.translated(f"lock {key}"):
            self.client.put_object_retention(
                **self.full(key), Retention={"Mode": mode, "RetainUntilDate": until}
            )

    def list_objects(self, prefix: str, after: str) -> Iterator[StoredObject]:
        """Yield all below our prefix whose key begins with `prefix` and is behind `after`."""
        begin: dict[str, Any] = {"StartAfter": self._prefix + after} if after else {}
        pages = self.client.get_paginator("list_objects_v2").paginate(
            Bucket=self.config.bucket, Prefix=self._prefix + prefix, **begin
        )
        with self.translated(f"list the bucket {self.config.bucket}"):
            for page in pages:
                for entry in page.get("Contents", []):
                    key = entry["Key"].removeprefix(self._prefix)
                    # A service that does not know StartAfter begins again with the first.
                    if key > after:
                        yield StoredObject(
                            key=key, size=entry["Size"], modified_at=entry["LastModified"]
                        )

    def presign(self, key: str, disposition: str, expires_seconds: int) -> str:
        """Return a URL that downloads the object for at most 7 days, as signature v4 allows."""
        with self.translated(f"sign a download of {key}"):
            return self.client.generate_presigned_url(
                "get_object",
                Params={**self.full(key), "ResponseContentDisposition": disposition},
                ExpiresIn=max(1, min(expires_seconds, LONGEST_PRESIGNED_SECONDS)),
            )

    def _proof(self, digest: Digest) -> dict[str, Any]:
        """Return the headers by which the service can check what arrives."""
        if self.checksums:
            return {"ChecksumSHA256": digest.sha256_base64, "ContentMD5": digest.md5_base64}
        return {"ContentMD5": digest.md5_base64}

    def require_bucket(self) -> None:
        """Raise if the reason for a 404 is that there is no bucket."""
        try:
            with self.translated(f"look at the bucket {self.config.bucket}"):
                self.client.head_bucket(Bucket=self.config.bucket)
        except ObjectMissing as error:
            raise EngineError(
                f"There is no bucket {self.config.bucket}.",
                hint="Create the bucket, or correct its name, the endpoint or the addressing.",
                permanent=True,
                code="bucket_missing",
            ) from error
        except EngineError as error:
            # Keys may be allowed to use objects without seeing the bucket.
            if not error.permanent:
                raise

    def translated(self, doing: str) -> AbstractContextManager[None]:
        """Turn errors of the client within the block into `EngineError`."""
        return translated(doing, self.config.secrets)


def _bare(etag: str | None) -> str:
    """Return an ETag without quotes; some services give it with, some without."""
    return (etag or "").strip('"')


def _without_count(checksum: str | None) -> str:
    """Return a composed checksum without the "-<number of parts>" that Amazon puts after it."""
    return (checksum or "").partition("-")[0]


def _header_safe(metadata: Mapping[str, str]) -> dict[str, str]:
    """Return metadata that fits into HTTP headers; `Head.metadata` has it decoded."""
    return {
        name.lower(): urllib.parse.quote(text, safe=" !#$&'()*+,/:;=?@[]~")
        for name, text in metadata.items()
    }
