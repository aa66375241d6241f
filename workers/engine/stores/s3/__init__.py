"""Bundles in a bucket of Amazon S3 or of a service that speaks its protocol."""

from __future__ import annotations

import urllib.parse
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from workers.engine.progress import Reporter
from workers.engine.sources import ByteSource
from workers.engine.stores.base import Capabilities, Checkpoint, StoredObject, UnfinishedUpload
from workers.engine.stores.config import fields_of, parse_config
from workers.engine.stores.keys import checked_key, checked_metadata, is_plain_key
from workers.engine.stores.s3.bucket import Bucket
from workers.engine.stores.s3.config import S3Config
from workers.engine.stores.s3.lock import delete_object, ensure_locked
from workers.engine.stores.s3.probe import Probe
from workers.engine.stores.s3.proof import described
from workers.engine.stores.s3.reading import ObjectSource
from workers.engine.stores.s3.upload import Upload, remove_upload
from workers.engine.throttle import Throttle

CONFIG_FIELDS = fields_of(S3Config)


def open_store(
    config: Mapping[str, Any], capabilities: Mapping[str, Any], throttle: Throttle | None = None
) -> S3Store:
    """Return the store for a configuration; see `stores.open_store`."""
    return S3Store(parse_config(S3Config, config), capabilities, throttle)


class S3Store:
    """See `base.Store`.

    How an upload is proven to be whole depends on what the probe saw: by SHA-256 only where the
    service was seen to refuse a wrong one, by ETags unless it was seen to make others than MD5s,
    else by reading the object back.
    """

    def __init__(
        self,
        config: S3Config,
        capabilities: Mapping[str, Any],
        throttle: Throttle | None = None,
    ) -> None:
        self._throttle = throttle
        self._checksums = capabilities.get("checksum_sha256") is True
        self._trust_etag = capabilities.get("etag_md5") is not False
        self._bucket = Bucket(config, checksums=self._checksums)

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
        """See `Store.put`. `source.read_at` is called by several threads at once."""
        upload = Upload(
            self._bucket,
            checked_key(key),
            source,
            metadata=checked_metadata(metadata, sha256),
            reporter=reporter,
            save_checkpoint=save_checkpoint,
            trust_etag=self._trust_etag,
            throttle=self._throttle,
        )
        return ensure_locked(self._bucket, upload.run(resume))

    def abandon(self, key: str, checkpoint: Checkpoint) -> None:
        """See `Store.abandon`."""
        upload_id = str(checkpoint.get("upload_id", ""))
        if upload_id and checkpoint.get("key") == checked_key(key):
            remove_upload(self._bucket, key, upload_id)

    def list_uploads(self, prefix: str) -> Iterator[UnfinishedUpload]:
        """See `Store.list_uploads`."""
        return self._bucket.list_uploads(prefix)

    def stat(self, key: str) -> StoredObject | None:
        """See `Store.stat`."""
        head = self._bucket.head(checked_key(key))
        if head is None:
            return None
        return described(key, head, checksums=self._checksums, trust_etag=self._trust_etag)

    def open(self, key: str) -> ByteSource:
        """See `Store.open`."""
        return ObjectSource(self._bucket, checked_key(key))

    def delete(self, key: str) -> bool:
        """See `Store.delete`. In a bucket with versions the older ones stay, as it was set up."""
        return delete_object(self._bucket, checked_key(key))

    def list(self, prefix: str = "", *, after: str = "") -> Iterator[StoredObject]:
        """See `Store.list`."""
        listed = self._bucket.list_objects(prefix, after)
        return (found for found in listed if is_plain_key(found.key))

    def presign(self, key: str, *, filename: str, expires_seconds: int) -> str | None:
        """See `Store.presign`. None with a customer key, which a browser could not send."""
        if self._bucket.customer_key:
            return None
        return self._bucket.presign(checked_key(key), _disposition(filename), expires_seconds)

    def probe(self) -> Capabilities:
        """See `Store.probe`."""
        return Probe(self._bucket).run()


def _disposition(filename: str) -> str:
    """Return a Content-Disposition (RFC 6266) that also older programs understand."""
    plain = "".join(
        character
        if character.isascii() and character.isprintable() and character not in '"\\%'
        else "_"
        for character in filename
    )
    encoded = urllib.parse.quote(filename, safe="")
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{encoded}"
