from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.workers.engine.bundle.conftest import Built, write
from workers.engine.bundle import BundleReader, write_dump
from workers.engine.bundle.segment import read_blocks
from workers.engine.databases.base import TableMark
from workers.engine.errors import EngineError
from workers.engine.progress import SilentReporter


def test_each_table_begins_a_frame_when_marked(tmp_path: Path) -> None:
    pieces = [
        b"-- head\n",
        TableMark("a"),
        b"A" * 3_000_000,
        b"A" * 3_000_000,
        TableMark("b"),
        TableMark("empty"),
        b"B",
    ]
    reporter = SilentReporter()
    facts = write_dump(tmp_path, pieces, modified_at_ns=1, reporter=reporter)
    with (tmp_path / "members").open("rb") as sidecar:
        sizes = [block.content_size for block in read_blocks(sidecar)]
    padding = -6_000_009 % 512
    assert sizes == [1536, 8, 4 << 20, 6_000_000 - (4 << 20), 1, padding]
    assert facts.frames == len(sizes)
    assert facts.data_size == 6_000_009 == reporter.bytes_done
    assert facts.segment_size == (tmp_path / "segment").stat().st_size


@pytest.mark.parametrize("pieces", [[], [TableMark("a")], [b""]])
def test_a_dump_is_kept_when_it_is_empty(
    build: Callable[..., Built], tmp_path: Path, pieces: list[bytes | TableMark]
) -> None:
    write(tmp_path / "tree/a")
    built = build(tmp_path / "tree", pieces=pieces)
    listed = subprocess.run(
        ["tar", "--zstd", "-xOf", str(built.file), "database.sql"], check=True, capture_output=True
    )
    assert listed.stdout == b""


def test_a_dump_is_whole_when_it_comes_in_pieces_of_any_size(
    build: Callable[..., Built], tmp_path: Path
) -> None:
    write(tmp_path / "tree/a")
    dump = [bytes([number % 251]) * (number * 7919 % 3_000_000) for number in range(12)]
    built = build(tmp_path / "tree", pieces=iter(dump))
    with built.source() as source:
        assert b"".join(BundleReader(source).read("database.sql")) == b"".join(dump)


def test_the_error_passes_and_nothing_hangs_when_the_dump_fails(tmp_path: Path) -> None:
    def failing() -> Iterator[bytes]:
        yield b"x" * 9_000_000
        raise EngineError("the server went away")

    with pytest.raises(EngineError, match="went away"):
        write_dump(tmp_path, failing(), modified_at_ns=1, reporter=SilentReporter())
    assert not (tmp_path / "members").read_bytes()


def test_an_attempt_is_refused_when_its_folder_was_used_before(tmp_path: Path) -> None:
    write_dump(tmp_path, [], modified_at_ns=1, reporter=SilentReporter())
    with pytest.raises(FileExistsError):
        write_dump(tmp_path, [], modified_at_ns=1, reporter=SilentReporter())
