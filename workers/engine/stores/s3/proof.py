"""What an object's checksum or ETag proves, and what it does not."""

from __future__ import annotations

import base64
import binascii
import re

from workers.engine.stores.base import StoredObject
from workers.engine.stores.s3.bucket import Head
from workers.engine.stores.s3.parts import PartHasher, combined_md5, combined_sha256

_MD5_ETAG = re.compile(r"[0-9a-f]{32}(-[0-9]+)?")


def prove_by_answer(
    key: str,
    head: Head,
    hasher: PartHasher,
    *,
    multipart: bool,
    checksums: bool,
    trust_etag: bool,
) -> StoredObject | None:
    """Return the object if the service's own words prove that it is what was hashed.

    `checksums` and `trust_etag` say which of them it was seen to compute itself. None means that
    only reading it back can tell: the ETag of an encrypted object is no MD5, for example.
    """
    if checksums and head.sha256 == combined_sha256(hasher.digests(), multipart=multipart):
        return stored_object(key, head, _sha256_text(head), "sha256")
    if trust_etag and head.md5_etag and head.etag == _expected_etag(head, hasher, multipart):
        return stored_object(key, head, _md5_text(head), "md5_parts")
    return None


def _expected_etag(head: Head, hasher: PartHasher, multipart: bool) -> str:
    if "-" in head.etag:
        return combined_md5(hasher.digests())
    # Some services show the MD5 of the whole also for what was put together of parts.
    return hasher.whole_md5() if multipart else hasher.digests()[0].md5.hex()


def described(key: str, head: Head, *, checksums: bool, trust_etag: bool) -> StoredObject:
    """Return the object as `Store.stat` does: with what the service says, proven by nobody now."""
    if checksums and head.sha256:
        return stored_object(key, head, _sha256_text(head), "")
    if trust_etag and head.md5_etag and _MD5_ETAG.fullmatch(head.etag):
        return stored_object(key, head, _md5_text(head), "")
    return stored_object(key, head, "", "")


def stored_object(key: str, head: Head, checksum: str, verified_by: str) -> StoredObject:
    """Return a head in the words of the contract."""
    return StoredObject(
        key=key,
        size=head.size,
        modified_at=head.modified_at,
        checksum=checksum,
        verified_by=verified_by,
        metadata=head.metadata,
        locked_until=head.locked_until,
    )


def _sha256_text(head: Head) -> str:
    kind = "sha256_parts" if "-" in head.etag else "sha256"
    try:
        return f"{kind}:{base64.b64decode(head.sha256, validate=True).hex()}"
    except binascii.Error:
        return ""


def _md5_text(head: Head) -> str:
    return f"{'md5_parts' if '-' in head.etag else 'md5'}:{head.etag}"
