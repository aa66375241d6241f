from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.workers.engine.bundle.conftest import Built, build_bundle, write
from tests.workers.engine.bundle.trees import describe, make_hard_tree
from workers.engine.bundle import BundleReader, TreeRoot
from workers.engine.excludes import Excludes
from workers.engine.progress import SilentReporter
from workers.engine.restore.files import (
    FilePart,
    RestoreRoot,
    parts_of,
    planned,
    prepare_files,
    switch_of,
)
from workers.engine.restore.journal import Journal

EXCLUDES = Excludes(["wp-content/cache/", "*.log"], exact_paths=[b"wp-content/database/live.db"])


@dataclass
class Damaged:
    """A site as it was backed up, and as it is now: changed in every way that there is."""

    folder: Path
    site: Path
    bundle: Built
    original: dict[bytes, tuple[object, ...]]

    @property
    def roots(self) -> list[RestoreRoot]:
        return [
            RestoreRoot("wp-content", self.site / "wp-content"),
            RestoreRoot("wp-config.php", self.site / "wp-config.php"),
        ]

    @property
    def journal(self) -> Journal:
        return Journal(self.folder / "journal")

    def now(self) -> dict[bytes, tuple[object, ...]]:
        return describe(self.site)

    @contextmanager
    def reader(self) -> Iterator[BundleReader]:
        with self.bundle.source() as source:
            yield BundleReader(source)

    def prepare(self, *paths: str, roots: list[RestoreRoot] | None = None) -> list[FilePart]:
        with self.reader() as reader:
            parts = parts_of(reader, roots or self.roots, paths)
            self.journal.announce(planned(parts, "job"))
            return prepare_files(
                reader, parts, label="job", excludes=EXCLUDES, reporter=SilentReporter()
            )


def make_switch(record: Any) -> FilePart:
    return switch_of(record)


def leftovers(folder: Path) -> list[str]:
    return [str(path) for path in folder.rglob(".holdfast-*")]


def damage(content: Path) -> None:
    """Change what was backed up, and add what is to go and what is to stay."""
    shutil.rmtree(content / "plugins")
    write(content / "themes" / "index.php", b"<?php defaced();")
    write(content / "new" / "shell.php", b"<?php evil();")
    write(content / "turned", b"a file where a folder was")
    write(content / "cache" / "page" / "kept.html", b"kept")
    write(content / "new" / "debug.log", b"kept as well")
    write(content / "database" / "live.db", b"the present rows")
    (content / "link").unlink()
    (content / "link").symlink_to("/etc/hostname")


def make_site(site: Path, *, hard: bool) -> None:
    content = site / "wp-content"
    if hard:
        make_hard_tree(content / "uploads")
    write(content / "plugins" / "a" / "a.php", b"<?php a();")
    write(content / "themes" / "index.php", b"<?php theme();")
    write(content / "turned" / "into" / "file.txt", b"deep")
    write(content / "database" / "readme.txt", b"beside the live one")
    write(content / "database" / "live.db", b"the old rows")
    (content / "link").symlink_to("themes")
    write(site / "wp-config.php", b"<?php // old")
    (content / "plugins" / "a").chmod(0o2750)
    for folder in (content / "themes", content / "database", content):
        os.utime(folder, ns=(1_600_000_000_000_000_001, 1_600_000_000_123_456_789))


def make_damaged(folder: Path, *, hard: bool) -> Damaged:
    site = folder / "www" / "site"
    make_site(site, hard=hard)
    roots = [
        TreeRoot(site / "wp-content", "wp-content"),
        TreeRoot(site / "wp-config.php", "wp-config.php"),
    ]
    bundle = build_bundle(folder / "bundle", site, roots=roots, excludes=EXCLUDES, readers=1)
    original = describe(site)
    shutil.rmtree(site / "wp-content" / "turned")
    damage(site / "wp-content")
    write(site / "wp-config.php", b"<?php // new")
    return Damaged(folder, site, bundle, original)


@pytest.fixture
def damaged(tmp_path: Path) -> Damaged:
    """A site with every kind of file."""
    return make_damaged(tmp_path, hard=True)


@pytest.fixture
def small(tmp_path: Path) -> Damaged:
    """A site of a few files."""
    return make_damaged(tmp_path, hard=False)
