from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from workers.engine.bundle import (
    SealedBundle,
    SegmentFacts,
    TreeFacts,
    TreeRoot,
    seal,
    write_dump,
    write_tree,
)
from workers.engine.databases.base import TableMark
from workers.engine.excludes import Excludes
from workers.engine.progress import SilentReporter
from workers.engine.sources import FilesSource, chunks_of


@dataclass
class Built:
    """A sealed bundle, as one file and as its parts."""

    file: Path
    sealed: SealedBundle
    tree: TreeFacts
    dump: SegmentFacts
    reporter: SilentReporter = field(default_factory=SilentReporter)

    def source(self) -> FilesSource:
        return FilesSource([self.file])


def join_parts(paths: Sequence[Path], target: Path) -> Path:
    with FilesSource(paths) as source, target.open("wb") as file:
        for chunk in chunks_of(source):
            file.write(chunk)
    return target


def build_bundle(
    folder: Path,
    tree: Path,
    *,
    pieces: Iterable[bytes | TableMark] = (TableMark("posts"), b"SELECT 1;\n"),
    excludes: Excludes | None = None,
    facts: Mapping[str, Any] | None = None,
    readers: int | None = None,
    roots: Sequence[TreeRoot] | None = None,
) -> Built:
    parts = [folder / name for name in ("database", "files", "seal")]
    for part in parts:
        part.mkdir(parents=True)
    reporter = SilentReporter()
    dump = write_dump(parts[0], pieces, modified_at_ns=1_700_000_000_123_456_789, reporter=reporter)
    written = write_tree(
        parts[1],
        roots or [TreeRoot(tree, "wp-content")],
        excludes=excludes or Excludes(),
        reporter=reporter,
        readers=readers,
    )
    sealed = seal(parts[2], parts[:2], facts=facts or {"site": "test"}, reporter=reporter)
    file = join_parts(sealed.paths, folder / "bundle.tar.zst")
    return Built(file, sealed, written, dump, reporter)


@pytest.fixture
def build(tmp_path: Path) -> Callable[..., Built]:
    made = []

    def make(tree: Path, **options: Any) -> Built:
        made.append(tree)
        return build_bundle(tmp_path / f"bundle-{len(made)}", tree, **options)

    return make


def write(path: Path, content: bytes = b"x", mtime_ns: int | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    if mtime_ns is not None:
        os.utime(path, ns=(mtime_ns, mtime_ns))
    return path
