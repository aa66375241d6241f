"""Carries out the tasks that a tree is divided into: lists folders, reads files."""

from __future__ import annotations

import contextlib
import errno
import os
import posixpath
import stat
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from workers.engine.bundle import tarheader, tasks
from workers.engine.bundle.archiver import Archiver
from workers.engine.bundle.descent import Descent
from workers.engine.bundle.facts import (
    ATTRIBUTES,
    OUTWARD_LINK,
    SKIPPED,
    UNREADABLE,
    VANISHED,
    LeftOut,
    Tally,
)
from workers.engine.bundle.headers import (
    Attributes,
    FolderHeaders,
    file_entry,
    read_attributes,
)
from workers.engine.bundle.walk import walk
from workers.engine.excludes import Excludes

# A file that was exchanged for a FIFO or a terminal since its folder was read must not block us.
_FILE_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
# More files than this in one folder are shared with the other readers.
NAMES_PER_TASK = 2048

# What opening says of a name that has gone, or become a link or a socket, since it was listed.
_GONE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO, errno.ESTALE})

_SPECIAL = {
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a character device",
    stat.S_IFBLK: "a block device",
}


@dataclass(frozen=True, slots=True)
class OpenRoot:
    """A root as a reader has it: the descriptor of a folder, and the path it has in the archive.

    `real_path` is where it is on this host, to tell which links lead out of it. For a root that
    is a file, the descriptor is that of the folder it is in and `file_name` its name there.
    """

    descriptor: int
    archive_name: bytes
    real_path: bytes
    file_name: bytes = b""

    def as_json(self) -> dict[str, Any]:
        """Return the root as the settings of a reader process hold it."""
        return {
            "descriptor": self.descriptor,
            "archive_name": os.fsdecode(self.archive_name),
            "real_path": os.fsdecode(self.real_path),
            "file_name": os.fsdecode(self.file_name),
        }

    @classmethod
    def from_json(cls, settings: dict[str, Any]) -> OpenRoot:
        """Return the root that `as_json` described."""
        names = ("archive_name", "real_path", "file_name")
        return cls(settings["descriptor"], **{name: os.fsencode(settings[name]) for name in names})


class TreeReader:
    """Reads what it is told to below `roots`. `spare(task)` passes on work that others can do."""

    def __init__(
        self,
        roots: Sequence[OpenRoot],
        excludes: Excludes,
        archiver: Archiver,
        left_out: LeftOut,
        tally: Tally,
        spare: Callable[[bytes], None],
    ) -> None:
        self._descents = [(root, Descent(root.descriptor)) for root in roots]
        self._excludes = excludes
        self._archiver = archiver
        self._left_out = left_out
        self._tally = tally
        self._spare = spare
        self._linked: list[bytes] = []
        self._last_linked: tuple[int, int] | None = None
        self._last_target: tuple[bytes, bool] = (b"", False)
        self._work = {
            tasks.LIST: self._list_folder,
            tasks.NAMES: self._read_names,
            tasks.HARD_LINKED: self._read_hard_linked,
            tasks.SINGLE: self._read_single,
            tasks.FOLDERS: self._add_folders,
        }

    def run(self, task: bytes) -> None:
        """Carry out one task."""
        self._work[task[:1]](task[1:])

    def take_linked(self) -> list[bytes]:
        """Return "device inode path" of the files with several names met since the last call."""
        linked, self._linked = self._linked, []
        return linked

    def _find(self, path: bytes) -> tuple[OpenRoot, Descent, bytes]:
        """Return the root that an archive's path is below, and the path from there."""
        for root, descent in self._descents:
            name = root.archive_name
            if path == name:
                return root, descent, b""
            if path.startswith(name + b"/"):
                return root, descent, path[len(name) + 1 :]
        raise ValueError(f"{path!r} is below none of the roots")

    def _list_folder(self, path: bytes) -> None:
        _, descent, below = self._find(path)
        try:
            descriptor = descent.folder(below)
            with os.scandir(descriptor) as entries:
                files = self._sort_entries(entries, descriptor, path)
        except OSError as error:
            self._note_failure(path, error)
            return
        self._read_files(FolderHeaders(path), descriptor, sorted(files))

    def _add_folders(self, payload: bytes) -> None:
        for path in payload.split(b"\0"):
            _, descent, below = self._find(path)
            # A folder that has gone or cannot be opened was noted when it was to be listed.
            with contextlib.suppress(OSError):
                status, attributes = self._look_at_folder(descent, below, path)
                entry = file_entry(path + b"/", status, attributes)
                self._archiver.add_entry(replace(entry, kind=tarheader.FOLDER, size=0))
                self._tally.folders += 1

    def _look_at_folder(
        self, descent: Descent, below: bytes, path: bytes
    ) -> tuple[os.stat_result, Attributes]:
        try:
            descriptor = descent.folder(below)
        except PermissionError:
            above, _, name = below.rpartition(b"/")
            parent = descent.folder(above)
            return os.stat(name, dir_fd=parent, follow_symlinks=False), ()
        status = os.fstat(descriptor)
        try:
            return status, read_attributes(descriptor)
        except (OSError, ValueError) as error:
            self._left_out.note(ATTRIBUTES, path, str(error))
            return status, ()

    def _sort_entries(
        self, entries: Iterable[os.DirEntry[str]], descriptor: int, path: bytes
    ) -> list[bytes]:
        """Deal with all but files; return the files' names, or the first of very many."""
        files: list[bytes] = []
        first: list[bytes] | None = None
        folders = []
        for entry in entries:
            name = os.fsencode(entry.name)
            below = path + b"/" + name
            if entry.is_file(follow_symlinks=False):
                if (pattern := self._excludes.match_file(below, name)) is not None:
                    self._left_out.exclude(below, pattern, 1, _size_of(name, descriptor))
                    continue
                files.append(name)
                if len(files) == NAMES_PER_TASK:
                    if first is None:
                        first = files
                    else:
                        self._spare(tasks.NAMES + b"\0".join([path, *sorted(files)]))
                    files = []
            elif entry.is_dir(follow_symlinks=False):
                if (pattern := self._excludes.match_folder(below, name)) is not None:
                    self._exclude_folder(below, pattern)
                else:
                    folders.append(tasks.LIST + below)
            else:
                self._add_special(entry, name, descriptor, below)
        for task in sorted(folders, reverse=True):
            self._spare(task)
        if first is not None and files:
            self._spare(tasks.NAMES + b"\0".join([path, *sorted(files)]))
        return files if first is None else first

    def _add_special(
        self, entry: os.DirEntry[str], name: bytes, descriptor: int, path: bytes
    ) -> None:
        try:
            status = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
            if (pattern := self._excludes.match_file(path, name)) is not None:
                self._left_out.exclude(path, pattern, 1, 0)
            elif entry.is_symlink():
                target = os.readlink(name, dir_fd=descriptor)
                member = file_entry(path, status)
                self._archiver.add_entry(
                    replace(member, kind=tarheader.SYMBOLIC_LINK, size=0, link=target)
                )
                self._tally.symlinks += 1
                self._note_outward(path, target)
            else:
                kind = _SPECIAL.get(stat.S_IFMT(status.st_mode), "no regular file")
                self._left_out.note(SKIPPED, path, kind)
        except OSError as error:
            self._note_failure(path, error)

    def _note_outward(self, path: bytes, target: bytes) -> None:
        root, _, _ = self._find(path)
        here = root.real_path + path[len(root.archive_name) :]
        aim = posixpath.normpath(posixpath.join(posixpath.dirname(here), target))
        inside = any(
            aim == other.real_path or aim.startswith(other.real_path + b"/")
            for other, _ in self._descents
        )
        if not inside:
            shown = target.decode("utf-8", "backslashreplace")
            self._left_out.note(OUTWARD_LINK, path, f"leads to {shown}")

    def _exclude_folder(self, path: bytes, pattern: str) -> None:
        root, _, below = self._find(path)
        files = size = 0
        for _, descriptor, names in walk(root.descriptor, below):
            files += len(names)
            size += sum(_size_of(name, descriptor) for name in names)
        self._left_out.exclude(path, pattern, files, size)

    def _read_names(self, payload: bytes) -> None:
        path, *names = payload.split(b"\0")
        _, descent, below = self._find(path)
        try:
            descriptor = descent.folder(below)
        except OSError as error:
            for name in names:
                self._note_failure(path + b"/" + name, error)
            return
        self._read_files(FolderHeaders(path), descriptor, names)

    def _read_single(self, archive_name: bytes) -> None:
        root, _, _ = self._find(archive_name)
        folder, _, name = archive_name.rpartition(b"/")
        self._read_file(FolderHeaders(folder), root.descriptor, name, root.file_name)

    def _read_files(self, folder: FolderHeaders, descriptor: int, names: Sequence[bytes]) -> None:
        for name in names:
            self._read_file(folder, descriptor, name)

    def _read_file(
        self, folder: FolderHeaders, parent: int, name: bytes, root_name: bytes = b""
    ) -> None:
        """Add one file, unless it has several names: those wait until all are known.

        `root_name` is the name on disk of a root that is itself a file; it stands alone.
        """
        try:
            descriptor = os.open(root_name or name, _FILE_FLAGS, dir_fd=parent)
        except OSError as error:
            self._note_failure(folder.start + name, error)
            return
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                self._left_out.note(VANISHED, folder.start + name, "is no file any more")
            elif status.st_nlink > 1 and not root_name:
                self._linked.append(
                    b"%d %d %b" % (status.st_dev, status.st_ino, folder.start + name)
                )
            else:
                self._archiver.add_file(descriptor, folder, name, status)
        finally:
            os.close(descriptor)

    def _read_hard_linked(self, payload: bytes) -> None:
        for path in payload.split(b"\0"):
            _, descent, below = self._find(path)
            above, _, name = below.rpartition(b"/")
            folder = path[: len(path) - len(name) - 1]
            try:
                parent = descent.folder(above)
                descriptor = os.open(name, _FILE_FLAGS, dir_fd=parent)
            except OSError as error:
                self._note_failure(path, error)
                continue
            try:
                self._add_hard_linked(descriptor, FolderHeaders(folder), name)
            finally:
                os.close(descriptor)

    def _add_hard_linked(self, descriptor: int, folder: FolderHeaders, name: bytes) -> None:
        """Add a link to the file before, if this is one more name of it, else the file itself."""
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            self._left_out.note(VANISHED, folder.start + name, "is no file any more")
            return
        path = folder.start + name
        identity = (status.st_dev, status.st_ino)
        target, stored = self._last_target
        if identity == self._last_linked:
            entry = file_entry(path, status)
            link = replace(entry, kind=tarheader.HARD_LINK, size=0, link=target)
            self._archiver.add_entry(link, stored=stored)
            self._tally.hard_links += 1
            return
        added = self._archiver.add_file(descriptor, folder, name, status)
        self._last_linked = identity if added is not None else None
        self._last_target = (path, bool(added))

    def _note_failure(self, path: bytes, error: OSError) -> None:
        reason = VANISHED if error.errno in _GONE else UNREADABLE
        self._left_out.note(reason, path, error.strerror or "cannot be read")


def _size_of(name: bytes, folder: int) -> int:
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=False).st_size
    except OSError:
        return 0
