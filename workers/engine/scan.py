"""Finds the WordPress sites below a folder."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from workers.engine.confinement import resolve_below
from workers.engine.errors import EngineError
from workers.engine.wordpress.site import SiteInspection, examine

MAX_DEPTH = 8
MAX_SECONDS = 120.0
MAX_FOLDERS = 500_000
MAX_SITES = 5_000
_CHECK_EVERY = 64

# Folders of a site or a system that hold no site of their own but may hold very many folders.
_SKIPPED = frozenset(
    ("wp-admin", "wp-includes", "node_modules", ".git", ".svn", "vendor", "proc", "sys", "dev")
)


@dataclass(slots=True)
class ScanReport:
    """What a scan did: fill it by passing it in, read it at any time.

    `unreadable` counts folders that could not be listed; `stopped_by` is empty, or names the limit
    that ended the scan early: "seconds", "folders" or "sites". `too_deep` counts folders not
    entered because of the depth.
    """

    folders: int = 0
    unreadable: int = 0
    too_deep: int = 0
    stopped_by: str = ""
    problems: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class ScanLimits:
    """How far a scan goes: depth in folders below the base, seconds, folders and sites in all."""

    depth: int = MAX_DEPTH
    seconds: float = MAX_SECONDS
    folders: int = MAX_FOLDERS
    sites: int = MAX_SITES


def scan(
    base_path: Path,
    *,
    allowed_roots: Sequence[Path],
    check: Callable[[], None] = lambda: None,
    limits: ScanLimits | None = None,
    report: ScanReport | None = None,
) -> Iterator[SiteInspection]:
    """Yield every WordPress site in and below `base_path`, nearest first, in the order of names.

    A site is a folder with wp-content and either WordPress's own files or a `wp-config.php`; also
    one whose content lies elsewhere. Its wp-content is not entered, its other folders are (a blog
    below a site is a site). No link is followed. Folders that cannot be read are counted. `check`
    is called often and may raise.

    Raises `EngineError` as `resolve_below` does for `base_path`, `site_not_found` if it is no
    folder.
    """
    limits = limits or ScanLimits()
    report = report if report is not None else ScanReport()
    base = resolve_below(base_path, allowed_roots)
    if not base.is_dir():
        raise EngineError(
            f"{base} is not a folder",
            hint="Give a folder on the node to look for sites in.",
            permanent=True,
            code="site_not_found",
        )
    return _walk(base, allowed_roots, check, limits, report)


def _walk(
    base: Path,
    allowed_roots: Sequence[Path],
    check: Callable[[], None],
    limits: ScanLimits,
    report: ScanReport,
) -> Iterator[SiteInspection]:
    deadline = time.monotonic() + limits.seconds
    found = 0
    level = [os.fsencode(base)]
    for depth in range(limits.depth + 1):
        following: list[bytes] = []
        for folder in level:
            if report.folders % _CHECK_EVERY == 0:
                check()
            report.stopped_by = _limit_reached(report, limits, found, deadline)
            if report.stopped_by:
                return
            report.folders += 1
            entries = _entries(folder, report)
            if _is_site(entries):
                inspection = _inspect(folder, allowed_roots, report)
                if inspection is not None:
                    found += 1
                    yield inspection
            following += _to_enter(folder, entries)
        level = following
        if depth == limits.depth:
            report.too_deep += len(level)
        if not level:
            return


def _limit_reached(report: ScanReport, limits: ScanLimits, found: int, deadline: float) -> str:
    if time.monotonic() > deadline:
        return "seconds"
    if report.folders >= limits.folders:
        return "folders"
    return "sites" if found >= limits.sites else ""


@dataclass(frozen=True, slots=True)
class _Entries:
    names: frozenset[bytes]
    folders: tuple[bytes, ...]


def _entries(folder: bytes, report: ScanReport) -> _Entries:
    """List a folder, opened without following a link that took its place meanwhile."""
    names: list[bytes] = []
    folders: list[bytes] = []
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        report.unreadable += 1
        return _Entries(frozenset(), ())
    try:
        with os.scandir(descriptor) as listing:
            for entry in listing:
                name = os.fsencode(entry.name)
                names.append(name)
                if entry.is_dir(follow_symlinks=False):
                    folders.append(name)
    except OSError:
        report.unreadable += 1
    finally:
        os.close(descriptor)
    return _Entries(frozenset(names), tuple(sorted(folders)))


def _is_site(entries: _Entries) -> bool:
    core = b"wp-settings.php" in entries.names
    content = b"wp-content" in entries.names
    return (core and (content or b"wp-config.php" in entries.names)) or (
        content and b"wp-config.php" in entries.names
    )


def _to_enter(folder: bytes, entries: _Entries) -> list[bytes]:
    is_site = _is_site(entries)
    return [
        os.path.join(folder, name)  # noqa: PTH118  (bytes: names need not be UTF-8)
        for name in entries.folders
        if os.fsdecode(name) not in _SKIPPED and not (is_site and name == b"wp-content")
    ]


def _inspect(
    folder: bytes, allowed_roots: Sequence[Path], report: ScanReport
) -> SiteInspection | None:
    path = Path(os.fsdecode(folder))
    try:
        return examine(path, allowed_roots=allowed_roots)
    except EngineError as error:
        report.problems.append(f"{path}: {error.message}")
        return None
