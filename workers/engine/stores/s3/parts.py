"""How a source is cut into parts, what each must hash to, and how one is read while it is sent."""

from __future__ import annotations

import base64
import hashlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from workers.engine.errors import EngineError, InterruptedWork
from workers.engine.sources import ByteSource, chunks_of
from workers.engine.throttle import Throttle

# Amazon S3 User Guide, "Amazon S3 multipart upload limits".
MIN_PART_BYTES = 5 << 20
MAX_PART_BYTES = 5 << 30
MAX_PARTS = 10_000
MEBIBYTE = 1 << 20


@dataclass(frozen=True, slots=True)
class Part:
    """One piece of a source; numbers begin at 1, as S3 counts."""

    number: int
    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class Digest:
    """The hashes of one part."""

    md5: bytes
    sha256: bytes

    @property
    def md5_base64(self) -> str:
        """As the Content-MD5 header wants it."""
        return base64.b64encode(self.md5).decode()

    @property
    def sha256_base64(self) -> str:
        """As the x-amz-checksum-sha256 header wants it."""
        return base64.b64encode(self.sha256).decode()


def part_size_for(size: int, preferred: int) -> int:
    """Return the size of the parts of an object of `size` bytes: `preferred`, or whole MiB above.

    Raises a permanent `EngineError` for what 10,000 parts of 5 GiB cannot hold.
    """
    needed = -(-size // MAX_PARTS)
    if needed > MAX_PART_BYTES:
        raise EngineError(
            f"The bundle has {size:,} bytes; S3 takes at most {MAX_PARTS * MAX_PART_BYTES:,}.",
            hint="Exclude what need not be backed up, or use a local storage.",
            permanent=True,
            code="object_too_large",
        )
    if needed <= preferred:
        return preferred
    return min(-(-needed // MEBIBYTE) * MEBIBYTE, MAX_PART_BYTES)


def parts_of(size: int, part_size: int) -> list[Part]:
    """Return the parts of `size` bytes; an empty source has one empty part."""
    starts = range(0, max(size, 1), part_size)
    return [
        Part(number, offset, min(part_size, size - offset))
        for number, offset in enumerate(starts, start=1)
    ]


class PartHasher:
    """Hashes the parts of a source in their order, and so the whole of it; each is read once."""

    def __init__(self, source: ByteSource, parts: list[Part], check: Callable[[], None]) -> None:
        self._source = source
        self._parts = parts
        self._check = check
        self._whole = hashlib.sha256()
        self._digests: list[Digest] = []

    def digest(self, part: Part) -> Digest:
        """Return the hashes of one part, after hashing all those before it."""
        while len(self._digests) < part.number:
            self._digests.append(self._hash(self._parts[len(self._digests)]))
        return self._digests[part.number - 1]

    def digests(self) -> list[Digest]:
        """Return the hashes of all parts."""
        self.digest(self._parts[-1])
        return self._digests

    def whole_sha256(self) -> str:
        """Return the hash of the whole source in hexadecimal."""
        self.digests()
        return self._whole.hexdigest()

    def whole_md5(self) -> str:
        """Return the MD5 of the whole source in hexadecimal; reads it once more."""
        md5 = hashlib.md5(usedforsecurity=False)
        for chunk in chunks_of(self._source):
            md5.update(chunk)
            self._check()
        return md5.hexdigest()

    def _hash(self, part: Part) -> Digest:
        # MD5 because S3's Content-MD5 and ETag are made of it, never as protection from anybody.
        md5 = hashlib.md5(usedforsecurity=False)
        sha256 = hashlib.sha256()
        for chunk in chunks_of(self._source, part.offset, part.length):
            md5.update(chunk)
            sha256.update(chunk)
            self._whole.update(chunk)
            self._check()
        return Digest(md5.digest(), sha256.digest())


def combined_md5(digests: list[Digest]) -> str:
    """Return the ETag (without its quotes) that S3 gives an object put together of these parts."""
    joined = b"".join(digest.md5 for digest in digests)
    return f"{hashlib.md5(joined, usedforsecurity=False).hexdigest()}-{len(digests)}"


def combined_sha256(digests: list[Digest], *, multipart: bool) -> str:
    """Return the checksum of an object of these parts, "<base64>" as S3 composes it."""
    if not multipart:
        return digests[0].sha256_base64
    joined = b"".join(digest.sha256 for digest in digests)
    return base64.b64encode(hashlib.sha256(joined).digest()).decode()


class SendingCancelled(InterruptedWork):
    """Raised inside the thread that sends a part, so that it stops in the middle."""


class PartBody:
    """A part as the file that an HTTP client reads: straight from the source, nothing buffered.

    `sent` is how far sending has ever come; it does not fall back when a request is tried again.
    Botocore also reads a body to sign it, which does not count: `sending` is set while it counts.
    """

    def __init__(
        self,
        source: ByteSource,
        part: Part,
        cancelled: threading.Event,
        throttle: Throttle | None = None,
    ) -> None:
        self._source = source
        self._part = part
        self._cancelled = cancelled
        self._throttle = throttle
        self._position = 0
        self.sending = False
        self.sent = 0

    def __len__(self) -> int:
        return self._part.length

    def __iter__(self) -> Iterator[bytes]:
        while chunk := self.read(MEBIBYTE):
            yield chunk

    def read(self, size: int | None = -1) -> bytes:
        """Return up to `size` bytes, all that is left if negative or None.

        While a limit holds it may be fewer, as of a pipe.
        """
        if self._cancelled.is_set():
            raise SendingCancelled("The upload is being ended")
        left = self._part.length - self._position
        wanted = left if size is None or size < 0 else min(size, left)
        if wanted and self.sending and self._throttle is not None:
            wanted = self._throttle.take(wanted, self._wait)
        chunk = self._source.read_at(self._part.offset + self._position, wanted) if wanted else b""
        self._position += len(chunk)
        if self.sending:
            self.sent = max(self.sent, self._position)
        return chunk

    def _wait(self, seconds: float) -> None:
        if self._cancelled.wait(seconds):
            raise SendingCancelled("The upload is being ended")

    def seek(self, offset: int, whence: int = 0) -> int:
        """Move within the part, as files do."""
        start = (0, self._position, self._part.length)[whence]
        self._position = max(0, start + offset)
        return self._position

    def tell(self) -> int:
        """Return the position within the part."""
        return self._position
