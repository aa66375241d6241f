"""Holds what a bundle says of itself against what it lists, before anything of it is used.

A bundle may come from anywhere. The reader has compared its checksums by then, but whoever made it
could choose those as well: so each fact has to be of the kind that the later stages take it for.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from workers.engine.bundle import BundleDamaged, Member
from workers.engine.bundle.dump import DUMP_NAME
from workers.engine.bundle.extract import safe_parts
from workers.engine.bundle.manifest import MANIFEST_NAME
from workers.engine.wordpress.config import PREFIX
from workers.stages.source import CONTENT_NAME

# What may stand at the top of a bundle, and as what.
_ROOTS = {
    CONTENT_NAME.encode(): "folder",
    b"wp-config.php": "file",
    DUMP_NAME.encode(): "file",
    MANIFEST_NAME: "file",
}
_NOT_OF_THE_TREE = frozenset({DUMP_NAME.encode(), MANIFEST_NAME})


@dataclass(slots=True)
class Listed:
    """What a bundle lists: counts by kind, of the tree alone, and the sizes of all of it."""

    members: int = 0
    size: int = 0
    kinds: dict[str, int] = field(default_factory=dict)
    roots: dict[bytes, Member] = field(default_factory=dict)

    def add(self, member: Member) -> None:
        """Count one more; raises `UnsafePath` for one that would lead out, and `BundleDamaged`."""
        parts = safe_parts(member.path)
        if len(parts) == 1:
            self._add_root(member)
        self.members += 1
        self.size += member.size
        if member.path not in _NOT_OF_THE_TREE:
            self.kinds[member.kind] = self.kinds.get(member.kind, 0) + 1

    def _add_root(self, member: Member) -> None:
        wanted = _ROOTS.get(member.path, member.kind)
        if member.kind != wanted:
            raise BundleDamaged(f"{member.name} is a {member.kind} in the bundle and no {wanted}")
        if member.path in self.roots:
            raise BundleDamaged(f"The bundle lists {member.name} twice")
        self.roots[member.path] = member


def require_stated(facts: Mapping[str, Any], site: str) -> None:
    """Raise `BundleDamaged` unless the manifest's facts can be used, and are of that site."""
    with stated("as a backup says it"):
        found = facts["site"]["uuid"]
    if found != site:
        raise BundleDamaged(
            "The bundle says that it is of another site than the catalogue does",
            hint="Something exchanged bundles in the storage; restore another backup.",
        )
    with stated("as a backup says it"):
        _require_counts(facts["files"])
        require_database(facts.get("database") or {"tables": {}})
        prefix = (facts.get("wordpress") or {}).get("table_prefix") or "wp_"
        if PREFIX.match(prefix) is None:
            raise ValueError("no table prefix")


def require_listed(facts: Mapping[str, Any], listed: Listed) -> None:
    """Raise `BundleDamaged` unless the bundle lists as much as its facts say was backed up."""
    counts, kinds = facts["files"], listed.kinds
    pairs = (
        ("files and links", counts["files"] + counts["symlinks"] + counts["hard_links"],
         sum(kinds.get(kind, 0) for kind in ("file", "symlink", "hardlink"))),
        ("folders", counts["folders"], kinds.get("folder", 0)),
    )  # fmt: skip
    for what, said, found in pairs:
        if said != found:
            raise BundleDamaged(
                f"The manifest says that {said} {what} were backed up, and lists {found}"
            )
    if CONTENT_NAME.encode() not in listed.roots:
        raise BundleDamaged(f"The bundle holds no {CONTENT_NAME}")
    database, dump = facts.get("database"), listed.roots.get(DUMP_NAME.encode())
    if (dump is None) != (database is None):
        says = "a database" if database else "no database"
        raise BundleDamaged(
            f"The manifest says that {says} was backed up; {DUMP_NAME} says otherwise"
        )
    offsets = (database or {}).get("table_offsets") or {}
    if dump is not None and any(offset > dump.stored_size for offset in offsets.values()):
        raise BundleDamaged("The manifest says that a table begins after the end of the dump")


@contextlib.contextmanager
def stated(how: str = "as it was recorded") -> Iterator[None]:
    """Raise `BundleDamaged` where a fact of the manifest is of another kind than it should be."""
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise BundleDamaged(f"The manifest does not say {how} what was backed up") from error


def _require_counts(files: Mapping[str, Any]) -> None:
    for name in ("files", "folders", "symlinks", "hard_links"):
        _require_number(files[name])


def require_database(database: Mapping[str, Any]) -> None:
    """Raise what `stated` catches unless the facts of a dump are of the kinds that they must be."""
    for rows in database["tables"].values():
        if rows is not None:
            _require_number(rows)
    for offset in (database.get("table_offsets") or {}).values():
        _require_number(offset)
    (database.get("checksums") or {}).items()
    for name in ("engine", "tool"):
        if not isinstance(database.get(name, ""), str | None):
            raise TypeError(f"{name} is no text")


def _require_number(value: Any) -> None:  # noqa: ANN401
    if type(value) is not int or value < 0:
        raise ValueError(f"{value!r} is no count")
