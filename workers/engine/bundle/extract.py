"""Writing members of a bundle to a disk, never outside of the folder that was named.

A bundle may come from anywhere, so its paths are not trusted: each part of one is opened or made
relative to the part before, and a link on the way is refused by the kernel instead of followed.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from workers.engine.bundle.container import BundleDamaged
from workers.engine.bundle.descent import FOLDER_FLAGS, Descent
from workers.engine.bundle.manifest import Member
from workers.engine.bundle.reader import BundleReader, Selection
from workers.engine.errors import EngineError
from workers.engine.progress import Reporter

_FILE_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_FOLDER_MODE = 0o700


class UnsafePath(BundleDamaged):
    """A member's path leads out of the folder to extract into."""

    code = "unsafe_path"


class TargetExists(EngineError):
    """Something is already where a member should go."""

    code = "target_exists"


@dataclass(slots=True)
class ExtractReport:
    """What was extracted; `bytes` are those of the files' content as restored."""

    files: int = 0
    folders: int = 0
    links: int = 0
    bytes: int = 0
    warnings: list[str] = field(default_factory=list)


def extract(
    bundle: BundleReader,
    paths: Iterable[str | bytes],
    target: Path,
    *,
    reporter: Reporter,
    overwrite: bool = False,
    owners: bool | None = None,
    is_private: bool = False,
) -> ExtractReport:
    """Extract the members at `paths` and below them ("" is all) into the folder `target`.

    Modes, times, links, holes and extended attributes are restored; owners by number if `owners`
    (None: if we are root). What exists already is an error unless `overwrite`; folders may exist.
    Each file is complete under its name only once its sha256 was right. Raises `UnsafePath`,
    `TargetExists`, `MemberMissing`, `BundleDamaged`, and `EngineError` for a target that cannot be
    written to.

    A target that `is_private` is new, nobody looks at it before this returns, and whoever called
    removes it after an error: then files are written under their names at once, which is faster.
    """
    chown = os.geteuid() == 0 if owners is None else owners
    chosen = Selection(paths)
    try:
        with _opened_target(target) as root, Descent(root, _FOLDER_MODE) as descent:
            extractor = _Extractor(bundle, chosen, descent, overwrite, chown, is_private)
            for member in bundle.select(chosen):
                reporter.check()
                extractor.add(member)
                reporter.advance(member.size)
            extractor.finish()
    except OSError as error:
        raise EngineError(
            f"Cannot write to {target}: {error.strerror}",
            hint="Check that there is room and that its folders may be written to.",
            code="target_unwritable",
        ) from error
    return extractor.report


class _Extractor:
    def __init__(
        self,
        bundle: BundleReader,
        chosen: Selection,
        descent: Descent,
        overwrite: bool,
        chown: bool,
        is_private: bool,
    ) -> None:
        self.report = ExtractReport()
        self._bundle = bundle
        self._chosen = chosen
        self._descent = descent
        self._overwrite = overwrite
        self._chown = chown
        self._is_private = is_private
        self._folders: list[Member] = []
        # Where the content of a file that is not under its own name went, by that name.
        self._stand_ins: dict[bytes, bytes] = {}
        self._kinds = {
            "file": self._add_file,
            "folder": self._add_folder,
            "symlink": self._add_symlink,
            "hardlink": self._add_hard_link,
        }

    def add(self, member: Member) -> None:
        """Extract one member."""
        parts = safe_parts(member.path)
        if member.kind != "file":
            # That of a file is compared when its content is read.
            self._bundle.check(member)
        parent = self._open_folder(b"/".join(parts[:-1]))
        self._kinds[member.kind](member, parent, parts[-1])

    def finish(self) -> None:
        """Give folders their modes and times, which writing into them would have changed."""
        for member in sorted(self._folders, key=lambda folder: folder.path, reverse=True):
            with _opened(self._descent.folder(member.path)) as descriptor:
                self._dress(descriptor, member)

    def _open_folder(self, path: bytes) -> int:
        """Return a folder of the target, made if need be; never through a link."""
        try:
            return self._descent.folder(path)
        except (NotADirectoryError, FileExistsError) as error:
            shown = path.decode("utf-8", "backslashreplace")
            raise UnsafePath(f"{shown} is not a folder in the target: {error.strerror}") from error

    def _add_folder(self, member: Member, parent: int, name: bytes) -> None:
        try:
            os.mkdir(name, _FOLDER_MODE, dir_fd=parent)
        except FileExistsError:
            self._open_folder(member.path)
        self._folders.append(member)
        self.report.folders += 1

    def _add_file(self, member: Member, parent: int, name: bytes) -> None:
        self._write_file(member, parent, name, member)

    def _write_file(self, member: Member, parent: int, name: bytes, source: Member) -> None:
        """Write the content of `source` under another name first, then move it into place."""
        if self._is_private:
            self._write_at_once(member, parent, name, source)
            return
        self._refuse_existing(parent, name)
        temporary = b".holdfast-%d.part" % os.getpid()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary, dir_fd=parent)
        descriptor = os.open(temporary, _FILE_FLAGS, 0o600, dir_fd=parent)
        try:
            self._fill(descriptor, member, source)
            os.rename(temporary, name, src_dir_fd=parent, dst_dir_fd=parent)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary, dir_fd=parent)
            raise

    def _write_at_once(self, member: Member, parent: int, name: bytes, source: Member) -> None:
        try:
            descriptor = os.open(name, _FILE_FLAGS, 0o600, dir_fd=parent)
        except FileExistsError as error:
            raise self._exists_already(name) from error
        self._fill(descriptor, member, source)

    def _fill(self, descriptor: int, member: Member, source: Member) -> None:
        """Write the content of `source` and make it look like `member`; closes the descriptor."""
        with _closing(descriptor):
            if source.sparse:
                _make_hole(descriptor, source)
            for offset, piece in self._bundle.pieces(source):
                _write(descriptor, piece, offset)
            self._dress(descriptor, member)
        self.report.files += 1
        self.report.bytes += source.size

    def _add_symlink(self, member: Member, parent: int, name: bytes) -> None:
        self._make_way(parent, name)
        os.symlink(member.link or b"", name, dir_fd=parent)
        times = (member.mtime_ns, member.mtime_ns)
        os.utime(name, ns=times, dir_fd=parent, follow_symlinks=False)
        if self._chown:
            os.chown(name, member.uid, member.gid, dir_fd=parent, follow_symlinks=False)
        self.report.links += 1

    def _add_hard_link(self, member: Member, parent: int, name: bytes) -> None:
        """Link to the file if it was extracted too, else write its content under this name.

        What the target held before is never linked to: it may be anything.
        """
        assert member.link is not None
        known = self._stand_ins.get(member.link)
        if known is None and self._chosen.has(member.link):
            known = member.link
        own = os.dup(parent)
        with _closing(own):
            self._make_way(own, name)
            if known is None or not self._link(known, own, name):
                source = self._linked_files.get(member.link)
                if source is None:
                    raise UnsafePath(f"{member.name} is a link to what is no file of the bundle")
                self._write_file(member, own, name, source)
                self._stand_ins[member.link] = member.path

    def _link(self, path: bytes, folder: int, name: bytes) -> bool:
        """Make a hard link to `path` of the target; False where there can be none."""
        parts = safe_parts(path)
        try:
            source = self._descent.folder(b"/".join(parts[:-1]))
            os.link(parts[-1], name, src_dir_fd=source, dst_dir_fd=folder, follow_symlinks=False)
        except OSError:
            return False
        self.report.links += 1
        return True

    @cached_property
    def _linked_files(self) -> dict[bytes, Member]:
        """The files that chosen hard links lead to; asked for only when linking fails."""
        wanted = {
            member.link for member in self._bundle.select(self._chosen) if member.kind == "hardlink"
        }
        return {
            member.path: member
            for member in self._bundle.members()
            if member.kind == "file" and member.path in wanted
        }

    def _refuse_existing(self, parent: int, name: bytes) -> None:
        try:
            mode = os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode
        except FileNotFoundError:
            return
        if stat.S_ISDIR(mode) or not self._overwrite:
            raise self._exists_already(name)

    def _exists_already(self, name: bytes) -> EngineError:
        shown = name.decode("utf-8", "backslashreplace")
        if self._is_private:
            # Nobody else writes there.
            return BundleDamaged(f"The bundle holds {shown} twice in one folder")
        return TargetExists(
            f"{shown} exists already where it should be extracted",
            hint="Extract into an empty folder, or ask for existing files to be replaced.",
            permanent=True,
        )

    def _make_way(self, parent: int, name: bytes) -> None:
        self._refuse_existing(parent, name)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=parent)

    def _dress(self, descriptor: int, member: Member) -> None:
        """Give an open file or folder its owner, mode, attributes and time, in that order.

        Changing the owner clears set-user-ID bits and file capabilities.
        """
        if self._chown:
            os.fchown(descriptor, member.uid, member.gid)
        os.fchmod(descriptor, member.mode)
        for key, value in member.xattrs:
            try:
                os.setxattr(descriptor, key, value)
            except OSError as error:
                self.report.warnings.append(
                    f"{member.name}: extended attribute {key.decode()}: {error.strerror}"
                )
        os.utime(descriptor, ns=(member.mtime_ns, member.mtime_ns))


def safe_parts(path: bytes) -> list[bytes]:
    """Return the parts of a member's path; raises `UnsafePath` for one that could lead out."""
    parts = path.split(b"/")
    if {b"", b".", b".."} & set(parts) or b"\0" in path:
        raise UnsafePath(f"The bundle holds an unsafe path: {path!r}")
    return parts


def _write(descriptor: int, piece: bytes, offset: int) -> None:
    view = memoryview(piece)
    while view:
        written = os.pwrite(descriptor, view, offset)
        view = view[written:]
        offset += written


def _make_hole(descriptor: int, member: Member) -> None:
    """Give a file its size, before its pieces are written."""
    try:
        os.ftruncate(descriptor, member.size)
    except OSError as error:
        if error.errno not in (errno.EFBIG, errno.EINVAL):
            raise
        raise EngineError(
            f"{member.name} has {member.size} bytes, more than a file can have on this disk",
            hint="Restore the rest by its paths, or to another file system.",
            permanent=True,
            code="file_too_large",
        ) from error


@contextlib.contextmanager
def _closing(descriptor: int) -> Iterator[int]:
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _opened_target(target: Path) -> Iterator[int]:
    """Make the folder if need be and open it."""
    target.mkdir(parents=True, exist_ok=True)
    with _closing(os.open(target, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)) as root:
        yield root


@contextlib.contextmanager
def _opened(descriptor: int) -> Iterator[int]:
    """Reopen a folder, so that it can be changed while the descent goes on."""
    with _closing(os.open(b".", FOLDER_FLAGS, dir_fd=descriptor)) as own:
        yield own
