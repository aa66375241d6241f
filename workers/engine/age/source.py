"""An encrypted bundle read at any offset: only the chunks that hold what is wanted are fetched."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from workers.engine.age.errors import ChunkDamaged, Truncated
from workers.engine.age.header import ARMOR, MAGIC, NONCE_BYTES, read_header
from workers.engine.age.keys import Identity, read_identities
from workers.engine.sources import ByteSource

CHUNK_BYTES = 64 << 10
TAG_BYTES = 16
STORED_CHUNK = CHUNK_BYTES + TAG_BYTES
# Frames do not end where chunks do: the two ends of each read are kept for its neighbours.
KEPT_CHUNKS = 8
# A header with 20 recipients, its nonce, and a decoy stanza such as pyrage adds.
HEADER_BYTES = 4 << 10


def is_age(source: ByteSource) -> bool:
    """Tell whether a file begins as age files do, as bytes or as text."""
    head = source.read_at(0, len(ARMOR))
    return head.startswith(MAGIC) or head == ARMOR


def encrypted_size(size: int) -> int:
    """Return what `size` bytes need when they are encrypted, at most."""
    return HEADER_BYTES + size + (size // CHUNK_BYTES + 1) * TAG_BYTES


def plain_source(
    source: ByteSource, identity_file: Path | None, *, is_encrypted: bool | None = None
) -> ByteSource:
    """Return the plain bundle that is in `source`: itself, or decrypted with the keys in a file.

    The file is read only for a bundle that is encrypted. Who knows whether it `is_encrypted` says
    so: then a plain one is not taken for it, since somebody put it there; None looks. Raises
    `NoIdentity`, `IdentityUnusable` and `AgeDamaged`.
    """
    if is_encrypted is None:
        is_encrypted = is_age(source)
    if not is_encrypted:
        return source
    return AgeSource(source, read_identities(identity_file) if identity_file else [])


class AgeSource:
    """The content of an age file, as a `ByteSource`.

    Nothing is returned that was not authenticated, and before anything is, the last chunk: it
    says that the file is as long as it was. Raises `AgeDamaged` and `NoIdentity`. May be read by
    several threads at once, as far as `source` may. Memory: what one call wants, twice.
    """

    def __init__(self, source: ByteSource, identities: Sequence[Identity]) -> None:
        self._source = source
        header, self._fetched = read_header(source)
        self._cipher = ChaCha20Poly1305(header.payload_key(identities))
        self._start = header.size + NONCE_BYTES
        stored = source.size - self._start
        self._chunks = -(-stored // STORED_CHUNK)
        last = stored - (self._chunks - 1) * STORED_CHUNK
        # Only a file that holds nothing at all ends with an empty chunk.
        if stored < TAG_BYTES or last < TAG_BYTES or (last == TAG_BYTES and self._chunks > 1):
            raise Truncated("it ends within a chunk")
        self._size = stored - self._chunks * TAG_BYTES
        self._kept: OrderedDict[int, bytes] = OrderedDict()
        self._end_is_proven = False
        self._lock = threading.Lock()
        if not self._size:
            # Whoever reads it to its end reads nothing.
            self._prove_end()

    @property
    def size(self) -> int:
        """The number of bytes of the content."""
        return self._size

    @property
    def stored_size(self) -> int:
        """The number of bytes of the encrypted file."""
        return self._source.size

    @property
    def bytes_fetched(self) -> int:
        """How many bytes of the encrypted file were read so far."""
        return self._fetched

    def read_at(self, offset: int, length: int) -> bytes:
        """See `ByteSource.read_at`."""
        end = min(self._size, offset + length)
        if offset >= end:
            self._prove_end()
            return b""
        first, last = offset // CHUNK_BYTES, (end - 1) // CHUNK_BYTES
        if last < self._chunks - 1:
            self._prove_end()
        content = b"".join(self._contents(first, last))
        return content[offset - first * CHUNK_BYTES : end - first * CHUNK_BYTES]

    def _prove_end(self) -> None:
        if not self._end_is_proven:
            self._contents(self._chunks - 1, self._chunks - 1)

    def _contents(self, first: int, last: int) -> list[bytes]:
        """Return the content of these chunks; those in the middle come by one read."""
        with self._lock:
            kept = {number: self._kept[number] for number in self._kept if first <= number <= last}
        begin, stop = first, last + 1
        while begin in kept:
            begin += 1
        while stop > begin and stop - 1 in kept:
            stop -= 1
        contents = [kept[number] for number in range(first, begin)]
        contents += self._fetch(begin, stop)
        contents += [kept[number] for number in range(stop, last + 1)]
        self._keep(first, contents[0])
        self._keep(last, contents[-1])
        return contents

    def _fetch(self, begin: int, stop: int) -> list[bytes]:
        if begin == stop:
            return []
        offset = self._start + begin * STORED_CHUNK
        wanted = min(self._source.size, self._start + stop * STORED_CHUNK) - offset
        data = memoryview(self._source.read_at(offset, wanted))
        with self._lock:
            self._fetched += len(data)
        if len(data) != wanted:
            raise Truncated(f"it ends at byte {offset + len(data)}")
        return [
            self._opened(number, data[(number - begin) * STORED_CHUNK :][:STORED_CHUNK])
            for number in range(begin, stop)
        ]

    def _opened(self, number: int, stored: memoryview) -> bytes:
        is_last = number == self._chunks - 1
        try:
            content = self._cipher.decrypt(_nonce(number, is_last), stored, None)
        except InvalidTag:
            raise self._why(number, is_last, stored) from None
        if is_last:
            self._end_is_proven = True
        return content

    def _why(self, number: int, is_last: bool, stored: memoryview) -> Exception:
        """Tell a chunk that should not be the last one from a damaged one."""
        try:
            self._cipher.decrypt(_nonce(number, not is_last), stored, None)
        except InvalidTag:
            return ChunkDamaged(number, self._start + number * STORED_CHUNK)
        if is_last:
            return Truncated(f"it goes on after chunk {number}, where the file ends")
        return ChunkDamaged(number + 1, self._start + (number + 1) * STORED_CHUNK)

    def _keep(self, number: int, content: bytes) -> None:
        with self._lock:
            self._kept[number] = content
            self._kept.move_to_end(number)
            while len(self._kept) > KEPT_CHUNKS:
                self._kept.popitem(last=False)


def _nonce(number: int, is_last: bool) -> bytes:
    return number.to_bytes(11, "big") + bytes([is_last])
