"""What a restore of files would change, told before anything is changed."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from workers.engine.bundle import BundleReader, Member
from workers.engine.excludes import Excludes
from workers.engine.progress import Reporter
from workers.engine.restore.files import Part, bytes_needed, held_paths
from workers.engine.restore.standing import LeftAlone, standing

# Names beyond these are counted only: a plan is read by a person.
NAMES_SHOWN = 200


@dataclass(slots=True)
class Group:
    """What happens alike to some paths: how many, how many bytes, and the first of their names."""

    count: int = 0
    bytes: int = 0
    names: list[str] = field(default_factory=list)

    def add(self, path: str, size: int) -> None:
        """Count one more."""
        self.count += 1
        self.bytes += size
        if len(self.names) < NAMES_SHOWN:
            self.names.append(path)


@dataclass(slots=True)
class FilesPlan:
    """What becomes of each file; folders are not counted. Sizes in bytes.

    `unchanged` are those that look as they were: same size, time and kind. `kept` are what backups
    leave out, folders with all below them as one. `bytes_needed` is what is needed beside what is
    there until the restore is done.
    """

    created: Group = field(default_factory=Group)
    overwritten: Group = field(default_factory=Group)
    unchanged: Group = field(default_factory=Group)
    deleted: Group = field(default_factory=Group)
    kept: Group = field(default_factory=Group)
    bytes_needed: int = 0


def plan_files(
    bundle: BundleReader, parts: Sequence[Part], *, excludes: Excludes, reporter: Reporter
) -> FilesPlan:
    """Return what restoring these parts would do; reads the index, the manifest and the disk."""
    plan = FilesPlan()
    left_alone = LeftAlone(bundle, excludes)
    for part in parts:
        plan.bytes_needed += bytes_needed(bundle, part)
        for member in bundle.members(part.archive_path):
            reporter.check()
            if member.kind != "folder":
                _group_of(plan, part, member).add(member.name, member.size)
            elif (size := _in_the_way(part, member)) is not None:
                plan.deleted.add(member.name, size)
        if part.target.is_dir() and not part.target.is_symlink():
            for group, path, size in _standing(bundle, part, left_alone, plan, reporter):
                group.add(path, size)
    return plan


def _standing(
    bundle: BundleReader, part: Part, left_alone: LeftAlone, plan: FilesPlan, reporter: Reporter
) -> Iterator[tuple[Group, str, int]]:
    held = frozenset(held_paths(bundle, part))
    for one in standing(part.target, part.archive_path, held, left_alone, reporter.check):
        path = (part.archive_path + b"/" + one.path).decode("utf-8", "backslashreplace")
        if one.is_kept:
            yield plan.kept, path, one.size
        elif not one.is_folder:
            yield plan.deleted, path, one.size


def _group_of(plan: FilesPlan, part: Part, member: Member) -> Group:
    inner = os.fsdecode(member.path[len(part.archive_path) :].lstrip(b"/"))
    try:
        found = (part.target / inner if inner else part.target).lstat()
    except (FileNotFoundError, NotADirectoryError):
        return plan.created
    return plan.unchanged if _looks_like(member, found, part.target / inner) else plan.overwritten


def _in_the_way(part: Part, folder: Member) -> int | None:
    """Return the size of the file that is where a folder will be, None if there is none."""
    inner = os.fsdecode(folder.path[len(part.archive_path) :].lstrip(b"/"))
    try:
        found = (part.target / inner).lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return None if stat.S_ISDIR(found.st_mode) else found.st_size


def _looks_like(member: Member, found: os.stat_result, path: Path) -> bool:
    if member.kind == "symlink":
        return stat.S_ISLNK(found.st_mode) and os.fsencode(path.readlink()) == member.link
    is_same_file = stat.S_ISREG(found.st_mode) and found.st_mtime_ns == member.mtime_ns
    # The size of a further name is told by the first one only.
    return is_same_file and (member.kind == "hardlink" or found.st_size == member.size)
