"""Reading an age file at any offset gives what pyrage and age decrypt, or says what is wrong."""

from __future__ import annotations

import io
import random
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pyrage
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.servers.age import KeyPair
from tests.workers.engine.age.conftest import MemorySource
from tests.workers.engine.bundle.crafting import Crafted
from workers.engine.age import AgeDamaged, AgeError, AgeSource, NoIdentity, identity_of
from workers.engine.age.source import CHUNK_BYTES, STORED_CHUNK
from workers.engine.bundle import BundleReader
from workers.engine.bundle.container import BundleDamaged
from workers.engine.bundle.tarheader import Entry
from workers.engine.errors import EngineError

IDENTITY = pyrage.x25519.Identity.generate()
OURS = identity_of(str(IDENTITY))
SIZES = [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES, 3 * CHUNK_BYTES + 5]
CONTENT = random.Random(4711).randbytes(5 * CHUNK_BYTES + 77)


def encrypted(content: bytes, *identities: pyrage.x25519.Identity) -> bytes:
    keys = [identity.to_public() for identity in identities or (IDENTITY,)]
    return bytes(pyrage.encrypt(content, keys))


LARGE = encrypted(CONTENT)


def opened(data: bytes) -> AgeSource:
    return AgeSource(MemorySource(data), [OURS])


def everything(source: AgeSource) -> bytes:
    return source.read_at(0, source.size)


@pytest.mark.parametrize("size", SIZES)
def test_content_of_any_size_is_what_was_encrypted(size: int) -> None:
    source = opened(encrypted(CONTENT[:size]))
    assert source.size == size
    assert everything(source) == CONTENT[:size]
    assert source.read_at(size, 10) == b""


@pytest.mark.parametrize("size", SIZES)
def test_what_age_itself_encrypted_is_read(size: int, age_program: str) -> None:
    argv = [age_program, "-r", OURS.recipient]
    done = subprocess.run(argv, input=CONTENT[:size], capture_output=True, check=True)
    assert everything(opened(done.stdout)) == CONTENT[:size]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(0, len(CONTENT) + 9), st.integers(0, 3 * CHUNK_BYTES))))
def test_every_range_is_the_same_bytes_in_whatever_order(ranges: list[tuple[int, int]]) -> None:
    source = opened(LARGE)
    for offset, length in ranges:
        assert source.read_at(offset, length) == CONTENT[offset : offset + length]


def test_only_the_chunks_that_are_touched_are_fetched() -> None:
    stored = MemorySource(LARGE)
    source = AgeSource(stored, [OURS])
    source.read_at(len(CONTENT) - 10, 10)
    stored.reads.clear()
    source.read_at(2 * CHUNK_BYTES - 1, 2)
    assert [length for _, length in stored.reads] == [2 * STORED_CHUNK]
    source.read_at(2 * CHUNK_BYTES + 100, CHUNK_BYTES)
    assert [length for _, length in stored.reads] == [2 * STORED_CHUNK, STORED_CHUNK]


def test_bytes_fetched_are_those_of_the_encrypted_file() -> None:
    stored = MemorySource(LARGE)
    source = AgeSource(stored, [OURS])
    source.read_at(10, 10)
    assert source.bytes_fetched == sum(length for _, length in stored.reads)
    assert source.stored_size == len(LARGE)


def test_threads_that_read_at_once_get_what_they_ask_for() -> None:
    source, wrong = opened(LARGE), []

    def read(seed: int) -> None:
        generator = random.Random(seed)
        for _ in range(200):
            offset = generator.randrange(len(CONTENT))
            if source.read_at(offset, 1000) != CONTENT[offset : offset + 1000]:
                wrong.append(offset)

    threads = [threading.Thread(target=read, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_each_of_several_recipients_opens_it_and_nobody_else() -> None:
    pairs = [pyrage.x25519.Identity.generate() for _ in range(4)]
    data = encrypted(CONTENT, *pairs[:3])
    for pair in pairs[:3]:
        source = AgeSource(MemorySource(data), [identity_of(str(pair))])
        assert source.read_at(CHUNK_BYTES, 100) == CONTENT[CHUNK_BYTES : CHUNK_BYTES + 100]
    with pytest.raises(NoIdentity) as refused:
        AgeSource(MemorySource(data), [identity_of(str(pairs[3]))])
    assert refused.value.code == "age_no_identity"
    assert refused.value.permanent
    several = [identity_of(str(pairs[3])), identity_of(str(pairs[0]))]
    assert everything(AgeSource(MemorySource(data), several)) == CONTENT


def test_it_is_said_that_no_key_is_at_hand_when_there_is_none() -> None:
    with pytest.raises(NoIdentity, match="no secret key is at hand"):
        AgeSource(MemorySource(LARGE), [])


def test_a_file_with_a_passphrase_is_not_opened_by_a_key() -> None:
    data = bytes(pyrage.passphrase.encrypt(b"content", "correct horse"))
    with pytest.raises(NoIdentity):
        opened(data)


def test_a_file_in_armor_is_refused_with_advice() -> None:
    sink = io.BytesIO()
    pyrage.encrypt_io(io.BytesIO(b"content"), sink, [IDENTITY.to_public()], armored=True)
    with pytest.raises(AgeError, match="encrypted as text") as refused:
        opened(sink.getvalue())
    assert refused.value.code == "age_armored"


SMALL = encrypted(b"content")


def test_a_flipped_bit_is_found_and_named_wherever_it_is() -> None:
    codes = {"age_header_damaged", "age_no_identity", "age_chunk_damaged", "age_truncated"}
    for bit in range(8 * len(SMALL)):
        damaged = bytearray(SMALL)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(EngineError) as found:
            everything(opened(bytes(damaged)))
        assert isinstance(found.value, AgeDamaged | NoIdentity), bit
        assert found.value.permanent, bit
        assert found.value.code in codes, bit


def test_a_damaged_chunk_is_named_and_the_others_are_read() -> None:
    head = len(LARGE) - (len(CONTENT) + 6 * 16)
    damaged = bytearray(LARGE)
    damaged[head + 2 * STORED_CHUNK + 1000] ^= 1
    source = opened(bytes(damaged))
    assert source.read_at(0, 2 * CHUNK_BYTES) == CONTENT[: 2 * CHUNK_BYTES]
    with pytest.raises(BundleDamaged, match="Chunk 2 of ") as found:
        source.read_at(2 * CHUNK_BYTES, 1)
    assert found.value.code == "age_chunk_damaged"
    rest = CONTENT[3 * CHUNK_BYTES :]
    assert source.read_at(3 * CHUNK_BYTES, len(rest)) == rest


def test_chunks_in_another_order_are_found() -> None:
    head = len(LARGE) - (len(CONTENT) + 6 * 16)
    chunks = [LARGE[at : at + STORED_CHUNK] for at in range(head, len(LARGE), STORED_CHUNK)]
    chunks[1], chunks[2] = chunks[2], chunks[1]
    source = opened(LARGE[:head] + b"".join(chunks))
    with pytest.raises(BundleDamaged):
        source.read_at(CHUNK_BYTES, 1)


@pytest.mark.parametrize("data", [SMALL, LARGE], ids=["one chunk", "several"])
def test_what_is_cut_short_is_found_before_anything_is_returned(data: bytes) -> None:
    head = len(LARGE) - (len(CONTENT) + 6 * 16)
    borders = [head + number * STORED_CHUNK for number in range(6)]
    lengths = {0, 1, 21, 22, 23, 100, len(data) - 17, len(data) - 16, len(data) - 1, *borders}
    lengths |= {border + change for border in borders for change in (-1, 1, 15, 16, 17)}
    for length in (length for length in lengths if length < len(data)):
        with pytest.raises(EngineError) as found:
            opened(data[:length]).read_at(0, 1)
        codes = {"age_truncated", "age_chunk_damaged", "age_header_damaged"}
        assert found.value.code in codes, length


def test_a_file_that_ends_with_a_whole_chunk_is_called_cut_short() -> None:
    head = len(LARGE) - (len(CONTENT) + 6 * 16)
    with pytest.raises(AgeDamaged) as found:
        opened(LARGE[: head + 3 * STORED_CHUNK]).read_at(0, 1)
    assert found.value.code == "age_truncated"


def test_what_was_appended_is_found() -> None:
    for more in (b"x", bytes(16), bytes(17), bytes(STORED_CHUNK), SMALL):
        with pytest.raises(AgeDamaged):
            opened(LARGE + more).read_at(0, 1)


@pytest.mark.parametrize(
    "data",
    [b"", b"\x28\xb5\x2f\xfd" + bytes(1000), CONTENT[:5000], b"age-encryption.org/v2\n"],
    ids=["nothing", "zstd", "anything", "a later version"],
)
def test_what_is_no_age_file_is_refused(data: bytes) -> None:
    with pytest.raises(AgeDamaged):
        opened(data)


@pytest.mark.parametrize(
    "head",
    [
        b"age-encryption.org/v1\n" + b"-> X25519 a\n" * 60_000,
        b"age-encryption.org/v1\n" + b"x" * 600_000,
    ],
    ids=["recipients", "nothing"],
)
def test_a_header_without_an_end_is_not_read_for_ever(head: bytes) -> None:
    stored = MemorySource(head)
    with pytest.raises(AgeDamaged, match="has no end"):
        AgeSource(stored, [OURS])
    assert max(length for _, length in stored.reads) <= 256 << 10


def test_a_header_of_many_recipients_is_read() -> None:
    pairs = [pyrage.x25519.Identity.generate() for _ in range(200)]
    data = encrypted(b"content", *pairs)
    assert everything(AgeSource(MemorySource(data), [identity_of(str(pairs[199]))])) == b"content"


def test_a_source_that_returns_less_than_it_said_is_called_cut_short() -> None:
    class Shorter(MemorySource):
        def read_at(self, offset: int, length: int) -> bytes:
            return super().read_at(offset, length)[: 4096 if offset == 0 else 100]

    with pytest.raises(AgeDamaged) as found:
        AgeSource(Shorter(LARGE), [OURS]).read_at(0, 1)
    assert found.value.code == "age_truncated"


def test_a_key_file_of_age_keygen_is_read(
    age_program: str, new_key: Callable[[], KeyPair], tmp_path: Path
) -> None:
    key = new_key()
    argv = [age_program, "-r", key.recipient]
    data = subprocess.run(argv, input=b"content", capture_output=True, check=True).stdout
    assert everything(AgeSource(MemorySource(data), [identity_of(key.secret)])) == b"content"


def test_a_reader_counts_what_was_fetched_and_not_what_it_decrypts_to() -> None:
    bundle = Crafted([(Entry(b"wp-content/a", size=len(CONTENT)), CONTENT)]).build().data
    stored = MemorySource(encrypted(bundle))
    reader = BundleReader(AgeSource(stored, [OURS]))
    assert b"".join(reader.read("wp-content/a")) == CONTENT
    assert reader.bytes_fetched == sum(length for _, length in stored.reads) > len(bundle)
