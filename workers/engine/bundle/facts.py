"""What was left out of a tree, changed under our hands or could not be read: counted and listed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO, Self

from workers.engine.bundle.manifest import SEPARATOR, json_path, json_text
from workers.engine.room import writing

EXAMPLES = 20

# Reasons. A member that has `CHANGED` or `UNREADABLE` as its status is in the bundle all the same:
# mixed from two states of the file, or filled up with zeros from where it could not be read.
CHANGED, VANISHED, UNREADABLE, SKIPPED, EXCLUDED = (
    "changed",
    "vanished",
    "unreadable",
    "skipped",
    "excluded",
)
# A link whose target lies outside of what is backed up: the link is kept, what it shows is not.
OUTWARD_LINK = "outward_link"
# A file that is in the bundle without its extended attributes.
ATTRIBUTES = "attributes"


@dataclass(frozen=True, slots=True)
class Noted:
    """How many, and the first few as text for a person ("path: why")."""

    count: int = 0
    examples: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ExcludedTotal:
    """What one pattern left out; folders themselves are not counted."""

    files: int = 0
    bytes: int = 0


@dataclass(frozen=True, slots=True)
class TreeFacts:
    """What `write_tree` put into its segment, and what not. All sizes are in bytes.

    `bytes_total` is the content of all files as restored, each counted once however many names it
    has. `hard_links` counts further names of files.
    """

    bytes_total: int
    files: int
    folders: int
    symlinks: int
    hard_links: int
    excluded_files: int
    excluded_bytes: int
    excluded: Mapping[str, ExcludedTotal]
    changed: Noted
    vanished: Noted
    unreadable: Noted
    skipped: Noted
    outward_links: Noted
    attributes_lost: Noted
    segment_size: int
    content_size: int
    frames: int


@dataclass(slots=True)
class Tally:
    """The counts while they grow; a reader's own, or the sum of all readers'."""

    bytes_total: int = 0
    files: int = 0
    folders: int = 0
    symlinks: int = 0
    hard_links: int = 0
    noted: dict[str, tuple[int, list[str]]] = field(default_factory=dict)
    excluded: dict[str, tuple[int, int]] = field(default_factory=dict)

    def note(self, reason: str, path: bytes, why: str) -> None:
        """Count one more path for `reason`, and keep it as an example while there are few."""
        shown = path.decode("utf-8", "backslashreplace")
        self._add(reason, 1, [f"{shown}: {why}" if why else shown])

    def exclude(self, pattern: str, files: int, size: int) -> None:
        """Count what `pattern` left out."""
        old_files, old_size = self.excluded.get(pattern, (0, 0))
        self.excluded[pattern] = (old_files + files, old_size + size)

    def as_json(self) -> dict[str, Any]:
        """Return the counts as JSON can hold them."""
        return {name: getattr(self, name) for name in self.__slots__}

    def add(self, other: Mapping[str, Any]) -> Self:
        """Add what `as_json` gave."""
        for name in ("bytes_total", "files", "folders", "symlinks", "hard_links"):
            setattr(self, name, getattr(self, name) + other[name])
        for reason, (count, examples) in other["noted"].items():
            self._add(reason, count, examples)
        for pattern, (files, size) in other["excluded"].items():
            self.exclude(pattern, files, size)
        return self

    def noted_as(self, reason: str) -> Noted:
        """Return what was noted for `reason`."""
        count, examples = self.noted.get(reason, (0, []))
        return Noted(count, tuple(examples))

    def _add(self, reason: str, count: int, examples: Iterable[str]) -> None:
        old_count, old_examples = self.noted.get(reason, (0, []))
        self.noted[reason] = (old_count + count, [*old_examples, *examples][:EXAMPLES])


class LeftOut:
    """The full list behind the counts: lines for the manifest, in a file as they come."""

    def __init__(self, file: BinaryIO, tally: Tally) -> None:
        self._file = file
        self._tally = tally

    def note(self, reason: str, path: bytes, why: str = "") -> None:
        """List one path that is not in the bundle, or not as it should be, and why."""
        self._tally.note(reason, path, why)
        detail = b',"detail":"%b"' % json_text(why.encode()) if why else b""
        self._line(reason, path, detail)

    def exclude(self, path: bytes, pattern: str, files: int, size: int) -> None:
        """List one path that a pattern left out, with all that lies below it."""
        self._tally.exclude(pattern, files, size)
        shown = json_text(pattern.encode("utf-8", "replace"))
        self._line(EXCLUDED, path, b',"pattern":"%b","files":%d,"bytes":%d' % (shown, files, size))

    def _line(self, reason: str, path: bytes, rest: bytes) -> None:
        shown = json_path(b"path", path)
        with writing():
            self._file.write(b'{%b,"reason":"%b"%b}%b' % (shown, reason.encode(), rest, SEPARATOR))
