"""What is known of a WordPress site when it is backed up, so that a restore can be held against it.

A fact that cannot be read becomes a warning and stays out; it never fails a backup.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from workers.engine.databases.base import Database
from workers.engine.errors import EngineError
from workers.engine.wordpress.attachments import (
    attached_files,
    count_attachments,
    libraries,
    uploads_folder,
)
from workers.engine.wordpress.config import PREFIX
from workers.engine.wordpress.extensions import Extension, read_plugins, read_themes
from workers.engine.wordpress.site import SiteInspection

_OPTIONS = ("active_plugins", "template", "stylesheet", "db_version", "upload_path")
_PIECE = re.compile(rb'a:\d+:\{|i:\d+;|b:[01];|s:(\d+):"')


@dataclass(slots=True)
class Known:
    """Facts that could be read, and sentences on those that could not."""

    facts: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


class DatabaseFacts:
    """What a site's database says of it. `tables` are the names of those that it has."""

    def __init__(
        self,
        database: Database,
        prefix: str,
        tables: Collection[str],
        *,
        site: Path,
        content: Path,
        check: Callable[[], None],
    ) -> None:
        self._database = database
        self._prefix = prefix if PREFIX.match(prefix) else ""
        self._tables = tables
        self._site = site
        self._content = content
        self._check = check
        self._folder: str | None = None

    def read(self) -> Known:
        """Return what the options say: version of the schema, what is active."""
        known = Known()
        if not self._prefix or f"{self._prefix}options" not in self._tables:
            return known
        try:
            self._read_options(known)
        except (EngineError, ValueError) as error:
            known.warnings.append(_unread("What the site's options say", error))
        return known

    def count(self) -> int | None:
        """Return how many files the media libraries know now; None where that is not known."""
        try:
            return sum(
                count_attachments(self._database, prefix, check=self._check)
                for prefix, _folder in self._libraries()
            )
        except (EngineError, ValueError):
            return None

    def attachments(self) -> Iterator[bytes]:
        """Yield the archive path of each attachment's file; after `read`. Raises `EngineError`."""
        for prefix, folder in self._libraries():
            yield from attached_files(self._database, prefix, folder, check=self._check)

    @property
    def has_library(self) -> bool:
        """Whether there is a media library whose files would be in the bundle."""
        return bool(self._libraries())

    def _libraries(self) -> list[tuple[str, str]]:
        if not self._prefix or self._folder is None:
            return []
        return libraries(self._prefix, self._tables, self._folder)

    def _read_options(self, known: Known) -> None:
        names = ", ".join(f"'{name}'" for name in _OPTIONS)
        rows = self._database.query(
            f"SELECT option_name, option_value FROM {self._prefix}options"  # noqa: S608
            f" WHERE option_name IN ({names})",
            check=self._check,
        )
        options = {row[0]: row[1] for row in rows}
        active = set(serialised_strings(options.get("active_plugins", "")))
        if f"{self._prefix}sitemeta" in self._tables:
            rows = self._database.query(
                f"SELECT meta_value FROM {self._prefix}sitemeta"  # noqa: S608
                " WHERE meta_key = 'active_sitewide_plugins'",
                check=self._check,
            )
            for (value,) in rows:
                active.update(serialised_strings(value))
        known.facts = {
            "table_prefix": self._prefix,
            "database_version": options.get("db_version", ""),
            "active_plugins": sorted(active),
            "active_themes": sorted(
                {options.get("template", ""), options.get("stylesheet", "")} - {""}
            ),
        }
        self._folder = uploads_folder(options.get("upload_path", ""), self._site, self._content)
        if self._folder is None:
            known.warnings.append(
                f"The site keeps its uploads in {options['upload_path']}, outside of its content "
                "folder: they are not in the backup"
            )


def tree_facts(
    content: Path, version: str | None = None, *, check: Callable[[], None] = lambda: None
) -> Known:
    """Return what the files say: plugins and themes with their versions, and WordPress's own."""
    known = Known()
    if version is not None:
        known.facts["version"] = version
    readers: tuple[tuple[str, Callable[[Path, Callable[[], None]], list[Extension]]], ...] = (
        ("plugins", read_plugins),
        ("themes", read_themes),
    )
    for name, read in readers:
        try:
            known.facts[name] = [asdict(extension) for extension in read(content, check)]
        except FileNotFoundError:
            known.facts[name] = []
        except OSError as error:
            known.warnings.append(f"The site's {name} cannot be listed: {error.strerror}")
    return known


def inspected_facts(inspection: SiteInspection, check: Callable[[], None]) -> Known:
    """Return `tree_facts` of a site that was looked at."""
    if inspection.content_directory is None:
        return Known()
    return tree_facts(inspection.content_directory, inspection.wordpress_version, check=check)


def combined(
    tree: Mapping[str, Any], database: Mapping[str, Any], attachments: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Return the manifest's fact `wordpress`."""
    facts = dict(tree) | dict(database)
    if attachments is not None:
        facts["attachments"] = dict(attachments)
    return facts


def compare_facts(recorded: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    """Return a sentence for each fact of a manifest that is not the same after a restore.

    Compared are the keys `wordpress` and `folders`, and of them what both sides know: bundles
    from before a fact was recorded, and restores into places without WordPress, lack some.
    """
    was, now = recorded.get("wordpress") or {}, found.get("wordpress") or {}
    differences: list[str] = []
    for key, label in (("version", "WordPress"), ("database_version", "the database's version")):
        if was.get(key) and now.get(key) and was[key] != now[key]:
            differences.append(f"{label}: {was[key]} was backed up, {now[key]} came back")
    for key, label in (("plugins", "plugin"), ("themes", "theme")):
        if key in was and key in now:
            differences += _compare_versions(label, was[key], now[key])
    for key, label in (("active_plugins", "active plugin"), ("active_themes", "active theme")):
        if key in was and key in now:
            differences += _compare_names(label, was[key], now[key])
    if was.get("attachments") and now.get("attachments"):
        differences += _compare_attachments(was["attachments"], now["attachments"])
    if "folders" in recorded and "folders" in found:
        differences += _compare_folders(recorded["folders"], found["folders"])
    return differences


def _compare_versions(
    label: str, was: Sequence[Mapping[str, str]], now: Sequence[Mapping[str, str]]
) -> list[str]:
    before, after = ({each["file"]: each["version"] for each in side} for side in (was, now))
    differences = _compare_names(label, before, after)
    for file in sorted(before.keys() & after.keys()):
        if before[file] != after[file]:
            differences.append(
                f"{label} {file}: version {before[file]} was backed up, {after[file]} came back"
            )
    return differences


def _compare_names(label: str, was: Iterable[str], now: Iterable[str]) -> list[str]:
    before, after = set(was), set(now)
    gone = [f"{label} {name} was backed up and did not come back" for name in before - after]
    new = [f"{label} {name} came back and was not backed up" for name in after - before]
    return sorted(gone) + sorted(new)


def _compare_attachments(was: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Compare, allowing for what the site changed while it was dumped."""
    allowed = was.get("changed", 0)
    pairs = (("attachments", "count"), ("attachments without their file", "missing"))
    return [
        f"{label}: {was[key]} were backed up, {now[key]} came back"
        for label, key in pairs
        if key in was and key in now and abs(was[key] - now[key]) > allowed
    ]


def _compare_folders(
    was: Mapping[str, Mapping[str, int]], now: Mapping[str, Mapping[str, int]]
) -> list[str]:
    differences = []
    nothing = {"files": 0, "bytes": 0}
    for folder in sorted({*was, *now}):
        before, after = was.get(folder, nothing), now.get(folder, nothing)
        if dict(before) != dict(after):
            differences.append(
                f"folder {folder or '/'}: {before['files']} files of {before['bytes']} bytes were"
                f" backed up, {after['files']} of {after['bytes']} came back"
            )
    return differences


def serialised_strings(value: str) -> list[str]:
    """Return the strings of a serialised array of strings and numbers, keys among them."""
    data, position, found = value.encode("utf-8", "replace"), 0, []
    while (piece := _PIECE.match(data, position)) is not None:
        position = piece.end()
        if piece[1]:
            length = int(piece[1])
            found.append(data[position : position + length].decode("utf-8", "replace"))
            position += length + 2
    return found


def _unread(what: str, error: Exception) -> str:
    said = error.message if isinstance(error, EngineError) else str(error)
    return f"{what} could not be read: {said}"
