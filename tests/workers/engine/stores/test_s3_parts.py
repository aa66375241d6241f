"""The arithmetic of parts, and how a part is read while it is sent."""

from __future__ import annotations

import base64
import hashlib
import threading

import pytest

from tests.contracts.store_sources import BytesSource, pattern
from workers.engine.errors import EngineError
from workers.engine.stores.s3.parts import (
    MAX_PART_BYTES,
    MAX_PARTS,
    MIN_PART_BYTES,
    Part,
    PartBody,
    PartHasher,
    SendingCancelled,
    combined_md5,
    combined_sha256,
    part_size_for,
    parts_of,
)

MIB = 1 << 20
TIB = 1 << 40


@pytest.mark.parametrize(
    ("size", "preferred", "expected"),
    [
        (0, 16 * MIB, 16 * MIB),
        (10_000 * 16 * MIB, 16 * MIB, 16 * MIB),
        (10_000 * 16 * MIB + 1, 16 * MIB, 17 * MIB),
        (5 * TIB, 16 * MIB, 525 * MIB),
        (MAX_PARTS * MAX_PART_BYTES, MIN_PART_BYTES, MAX_PART_BYTES),
        (MAX_PARTS * MAX_PART_BYTES - 1, MIN_PART_BYTES, MAX_PART_BYTES),
    ],
)
def test_parts_are_few_enough_when_the_object_is_large(
    size: int, preferred: int, expected: int
) -> None:
    part_size = part_size_for(size, preferred)
    assert part_size == expected
    parts = parts_of(size, part_size)
    assert 1 <= len(parts) <= MAX_PARTS
    assert sum(part.length for part in parts) == size
    assert [part.number for part in (parts[0], parts[-1])] == [1, len(parts)]
    assert all(part.length == part_size for part in parts[:-1])
    assert all(part.offset == (part.number - 1) * part_size for part in parts)


def test_object_is_refused_when_no_parts_can_hold_it() -> None:
    with pytest.raises(EngineError) as caught:
        part_size_for(MAX_PARTS * MAX_PART_BYTES + 1, 16 * MIB)
    assert (caught.value.code, caught.value.permanent) == ("object_too_large", True)


def test_hashes_are_those_of_the_parts_when_asked_in_any_order() -> None:
    data = pattern(2_500_000)
    source = BytesSource(data)
    parts = parts_of(len(data), 1_000_000)
    hasher = PartHasher(source, parts, lambda: None)
    last = hasher.digest(parts[2])
    first = hasher.digest(parts[0])
    assert last.md5 == hashlib.md5(data[2_000_000:]).digest()
    assert first.sha256 == hashlib.sha256(data[:1_000_000]).digest()
    assert hasher.whole_sha256() == hashlib.sha256(data).hexdigest()
    assert hasher.whole_md5() == hashlib.md5(data).hexdigest()
    joined = b"".join(
        hashlib.md5(data[i : i + 1_000_000]).digest() for i in range(0, 2_500_000, 1_000_000)
    )
    assert combined_md5(hasher.digests()) == f"{hashlib.md5(joined).hexdigest()}-3"
    one = combined_sha256(hasher.digests()[:1], multipart=False)
    assert base64.b64decode(one) == first.sha256
    assert base64.b64decode(combined_sha256(hasher.digests(), multipart=True)) != first.sha256


def test_body_reads_like_a_file_when_sought_and_counts_only_what_is_sent() -> None:
    data = pattern(1000)
    body = PartBody(BytesSource(data), Part(2, 100, 300), threading.Event())
    assert len(body) == 300
    assert body.read() == data[100:400]
    assert body.sent == 0
    body.seek(0)
    body.sending = True
    assert body.read(10) == data[100:110]
    assert (body.tell(), body.sent) == (10, 10)
    body.seek(-5, 2)
    assert body.read(100) == data[395:400]
    body.seek(0)
    assert body.read(1) == data[100:101]
    assert body.sent == 300
    assert body.seek(2, 1) == 3
    body.seek(0)
    assert b"".join(body) == data[100:400]


def test_body_stops_when_sending_was_cancelled() -> None:
    cancelled = threading.Event()
    body = PartBody(BytesSource(b"x" * 10), Part(1, 0, 10), cancelled)
    assert body.read(1)
    cancelled.set()
    with pytest.raises(SendingCancelled):
        body.read(1)
