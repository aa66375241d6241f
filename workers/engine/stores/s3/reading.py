"""An object as a `ByteSource`: by range requests, each checked to be what was asked for."""

from __future__ import annotations

import random
import time

from workers.engine.errors import EngineError
from workers.engine.stores.s3.bucket import Bucket
from workers.engine.stores.s3.errors import ObjectChanged, ObjectMissing

# One request's bytes are in memory at once.
REQUEST_BYTES = 8 << 20
LONGEST_PAUSE_SECONDS = 8.0
HTTP_WHOLE = 200


class ObjectSource:
    """See `ByteSource`. May be read by several threads at once.

    Botocore tries again what fails before the answer; what breaks off in its middle, we do.
    Raises `EngineError`: permanent `object_changed` when another object has taken its place, and
    `range_ignored` when the service sends something else than the range.
    """

    def __init__(self, bucket: Bucket, key: str) -> None:
        head = bucket.head(key)
        if head is None:
            raise ObjectMissing(
                f"There is no object {key} in the bucket {bucket.config.bucket}.",
                hint="It was deleted outside Holdfast, or the storage points somewhere else now.",
                permanent=True,
            )
        self._bucket = bucket
        self._key = key
        self._etag = head.etag
        self.size = head.size

    def read_at(self, offset: int, length: int) -> bytes:
        """See `ByteSource.read_at`."""
        end = min(self.size, offset + length)
        pieces: list[bytes] = []
        while offset < end:
            piece = self._patiently(offset, min(offset + REQUEST_BYTES, end))
            pieces.append(piece)
            offset += len(piece)
        return b"".join(pieces)

    def _patiently(self, start: int, stop: int) -> bytes:
        attempts = self._bucket.config.max_attempts
        for attempt in range(1, attempts):
            try:
                return self._range(start, stop)
            except EngineError as error:
                if error.permanent:
                    raise
            # Full jitter, so that many readers do not come back at the same moment.
            ceiling = min(2.0**attempt / 2, LONGEST_PAUSE_SECONDS)
            time.sleep(random.uniform(0, ceiling))  # noqa: S311  no secret depends on it
        return self._range(start, stop)

    def _range(self, start: int, stop: int) -> bytes:
        answer = self._bucket.get_range(self._key, start, stop - 1, self._etag)
        # A service may ignore If-Match, so the ETag that comes with the bytes decides.
        if self._etag and answer.etag != self._etag:
            raise ObjectChanged(
                f"{self._key} is another object than when it was opened.",
                hint="Something else writes to this bucket below the prefix: find out what.",
                permanent=True,
            )
        whole = answer.status == HTTP_WHOLE and (start, stop) == (0, self.size)
        wanted = f"bytes {start}-{stop - 1}/{self.size}"
        # The header decides, not the status: rclone's server sends ranges with a 200.
        if answer.content_range != wanted and not (whole and not answer.content_range):
            raise EngineError(
                f"The service answered a request for {wanted} of {self._key} with status "
                f"{answer.status} and {answer.content_range or 'no range'}.",
                hint="It, or a proxy before it, does not support range requests; use another.",
                permanent=True,
                code="range_ignored",
            )
        if len(answer.data) != stop - start:
            raise EngineError(
                f"Reading {self._key} ended after {len(answer.data)} of {stop - start} bytes.",
                hint="The network or a proxy cuts connections; it is tried again later.",
                code="storage_unreachable",
            )
        return answer.data
