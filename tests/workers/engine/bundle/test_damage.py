from __future__ import annotations

import hashlib
import random
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.workers.engine.bundle.conftest import Built, build_bundle, write
from workers.engine.bundle import BundleDamaged, BundleReader, seal, verify, write_dump, write_tree
from workers.engine.bundle.container import FOOTER_BYTES
from workers.engine.bundle.tree import TreeRoot
from workers.engine.errors import EngineError, StopRequested
from workers.engine.excludes import Excludes
from workers.engine.progress import SilentReporter
from workers.engine.sources import FilesSource


class Bytes:
    def __init__(self, data: bytes) -> None:
        self.data = data
        self.size = len(data)

    def read_at(self, offset: int, length: int) -> bytes:
        return self.data[offset : offset + length]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("damage")
    generator = random.Random(3)
    write(folder / "tree/a.txt", b"some text " * 300)
    write(folder / "tree/photo.jpg", generator.randbytes(70_000))
    write(folder / "tree/sub/b.php", b"<?php\n")
    return build_bundle(folder / "bundle", folder / "tree").file.read_bytes()


def check(data: bytes) -> None:
    verify(Bytes(data), reporter=SilentReporter())


def test_the_bundle_is_whole_when_nothing_happened_to_it(bundle: bytes) -> None:
    check(bundle)


def test_verify_fails_when_any_byte_is_flipped(bundle: bytes) -> None:
    # All of the small structures at the end, the beginning, and every 211th byte of the rest.
    edges = [*range(1700), *range(len(bundle) - 900, len(bundle))]
    for position in sorted({*edges, *range(0, len(bundle), 211)}):
        for mask in (0x01, 0x80):
            damaged = bytearray(bundle)
            damaged[position] ^= mask
            with pytest.raises(Exception) as caught:
                check(bytes(damaged))
                pytest.fail(f"byte {position} flipped with {mask:#x} went unnoticed")
            assert caught.type.__name__ in ("BundleDamaged", "EngineError"), position


def test_verify_fails_when_the_bundle_is_cut_or_grows(bundle: bytes) -> None:
    for length in [*range(0, len(bundle), 101), len(bundle) - 1, len(bundle) - FOOTER_BYTES]:
        with pytest.raises(BundleDamaged):
            check(bundle[:length])
    with pytest.raises(BundleDamaged):
        check(bundle + b"\0")
    with pytest.raises(BundleDamaged):
        check(bundle[:1000] + bundle[1001:])


def test_the_advice_is_plain_tar_when_the_index_is_missing(bundle: bytes) -> None:
    with pytest.raises(BundleDamaged) as caught:
        list(BundleReader(Bytes(bundle[:-1])).members())
    assert "tar --zstd -xf" in caught.value.hint
    assert caught.value.permanent


@pytest.mark.parametrize("part", ["database", "files"])
def test_sealing_fails_when_a_segment_has_a_flipped_bit(tmp_path: Path, part: str) -> None:
    write(tmp_path / "tree/a.txt", b"some text " * 300)
    parts = {name: tmp_path / name for name in ("database", "files", "seal")}
    for folder in parts.values():
        folder.mkdir()
    reporter = SilentReporter()
    write_dump(parts["database"], [b"SELECT 1;"], modified_at_ns=0, reporter=reporter)
    write_tree(
        parts["files"], [TreeRoot(tmp_path / "tree", "t")], excludes=Excludes(), reporter=reporter
    )
    segment = parts[part] / "segment"
    data = bytearray(segment.read_bytes())
    data[len(data) // 2] ^= 0x10
    segment.write_bytes(data)
    with pytest.raises(BundleDamaged, match="could not be read back"):
        seal(parts["seal"], [parts["database"], parts["files"]], facts={}, reporter=reporter)


def test_reading_a_member_fails_when_its_frame_is_damaged(
    build: Callable[..., Built], tmp_path: Path
) -> None:
    photo = random.Random(4).randbytes(100_000)
    write(tmp_path / "tree/photo.jpg", photo)
    data = bytearray(build(tmp_path / "tree").file.read_bytes())
    data[data.find(photo[5000:5100])] ^= 1
    with pytest.raises(BundleDamaged, match="not what was backed up"):
        list(BundleReader(Bytes(bytes(data))).read("wp-content/photo.jpg"))
    assert b"".join(BundleReader(Bytes(bytes(data))).read("database.sql")) == b"SELECT 1;\n"


def test_verify_stops_when_the_source_fails(bundle: bytes) -> None:
    class Failing(Bytes):
        def read_at(self, offset: int, length: int) -> bytes:
            if offset == 0:
                raise OSError(5, "Input/output error")
            return super().read_at(offset, length)

    with pytest.raises(OSError, match="Input/output"):
        verify(Failing(bundle), reporter=SilentReporter())


def test_a_stop_is_heard_when_the_source_hangs(bundle: bytes) -> None:
    released = threading.Event()

    class Hanging(Bytes):
        def read_at(self, offset: int, length: int) -> bytes:
            if offset == 0:
                released.wait()
            return super().read_at(offset, length)

    class Stopper(SilentReporter):
        def check(self) -> None:
            released.set()
            raise StopRequested

    with pytest.raises(StopRequested):
        verify(Hanging(bundle), reporter=Stopper())
    assert not any(thread.name == "bundle-check" for thread in threading.enumerate())


def test_the_sha256_is_that_of_the_file_when_sealed(
    build: Callable[..., Built], tmp_path: Path
) -> None:
    write(tmp_path / "tree/a.txt")
    built = build(tmp_path / "tree")
    content = built.file.read_bytes()
    assert built.sealed.sha256 == hashlib.sha256(content).hexdigest()
    assert built.sealed.size == len(content)
    with FilesSource(built.sealed.paths) as source:
        assert verify(source, reporter=SilentReporter()).sha256 == built.sealed.sha256


@pytest.mark.parametrize("cut", [1, 10, 60])
def test_sealing_says_so_when_a_list_beside_a_segment_is_cut_short(
    tmp_path: Path, cut: int
) -> None:
    part, last = tmp_path / "database", tmp_path / "seal"
    part.mkdir()
    last.mkdir()
    write_dump(part, [b"SELECT 1;"], modified_at_ns=0, reporter=SilentReporter())
    sidecar = part / "members"
    sidecar.write_bytes(sidecar.read_bytes()[:-cut])
    with pytest.raises(EngineError) as caught:
        seal(last, [part], facts={}, reporter=SilentReporter())
    assert caught.value.code == "spool_damaged"


@pytest.mark.parametrize("name", ["manifest.json", "database.sql", "../a", "/a", "a//b"])
def test_a_root_is_refused_when_its_name_in_the_archive_is_taken_or_unsafe(
    tmp_path: Path, name: str
) -> None:
    with pytest.raises(ValueError, match="archive name"):
        write_tree(
            tmp_path, [TreeRoot(tmp_path, name)], excludes=Excludes(), reporter=SilentReporter()
        )
