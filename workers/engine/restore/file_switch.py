"""One tree or file of a site and what is to replace it, on either side of an exchange."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from workers.engine.restore.exchange import (
    ExchangeUnsupported,
    exchange,
    explained,
    move,
    sync_folder,
)

KIND = "files"
_KEPT_NAME = ".kept"
_TIMES_NAME = ".times"
_OLD_NAME = ".old"


def staging_name(label: str, number: int) -> str:
    """Return the name of the hidden folder in which a part is prepared."""
    return f"{staging_prefix(label)}{number}"


def staging_prefix(label: str) -> str:
    """Return what the names of all of a job's hidden folders begin with."""
    return f".holdfast-{label}-"


@dataclass(slots=True)
class FileSwitch:
    """See `switching.Switch`. `new` is prepared in `staging`, a folder beside `target`.

    `made_folders` are those above the target that were missing, the deepest first; `parent_times`
    those of the folder that it is in.

    After the exchange the old part is where the new one was. Which of the two is in its place is
    told by the inode of the new one, so a process that comes after a kill sees how far it came.
    What is kept (paths in a file in `staging`) moves with the exchange: files are there under both
    names while it happens, so that a database that is in use never seems to be gone.
    """

    target: Path
    staging: Path
    new: Path | None = None
    inode: tuple[int, int] | None = None
    made_folders: list[str] = field(default_factory=list)
    parent_times: tuple[int, int] | None = None

    @classmethod
    def planned(cls, target: Path, label: str, number: int) -> Self:
        """Return the switch of one part of a job, before anything of it is made."""
        missing = [str(folder) for folder in target.parents if not folder.exists()]
        switch = cls(target, target.parent / staging_name(label, number), made_folders=missing)
        if not missing:
            found = target.parent.stat()
            switch.parent_times = (found.st_atime_ns, found.st_mtime_ns)
        return switch

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Self:
        """Return the switch that `record` describes."""
        inode, times = record["inode"], record["parent_times"]
        return cls(
            Path(os.fsdecode(record["target"])),
            Path(os.fsdecode(record["staging"])),
            new=Path(record["new"]) if record["new"] else None,
            inode=(inode[0], inode[1]) if inode else None,
            made_folders=list(record["made_folders"]),
            parent_times=(times[0], times[1]) if times else None,
        )

    def record(self) -> Mapping[str, Any]:
        """See `Switch.record`."""
        return {
            "kind": KIND,
            "target": str(self.target),
            "staging": str(self.staging),
            "new": str(self.new) if self.new else "",
            "inode": list(self.inode) if self.inode else None,
            "made_folders": self.made_folders,
            "parent_times": list(self.parent_times) if self.parent_times else None,
        }

    def begin(self) -> None:
        """Make the folder to prepare in, and the folders above the target that are missing."""
        for folder in reversed(self.made_folders):
            Path(folder).mkdir(mode=0o755, exist_ok=True)
        self.staging.mkdir(mode=0o700)

    def adopt(self, new: Path) -> None:
        """Take what was prepared; from now on its inode says whether it is in its place."""
        found = new.lstat()
        self.new, self.inode = new, (found.st_dev, found.st_ino)

    def keep(self, paths: Iterable[bytes]) -> None:
        """Note what of the old tree is to stay: paths relative to it.

        And the times that the folders have which are changed by that, to give these back.
        """
        assert self.new is not None
        folders: set[bytes] = set()
        with (self.staging / _KEPT_NAME).open("wb") as file:
            for path in paths:
                file.write(path + b"\0")
                folders.update(_folders_above(path))
        old, new = _times_of(self.target, folders), _times_of(self.new, folders)
        (self.staging / _TIMES_NAME).write_text(json.dumps({"old": old, "new": {**old, **new}}))

    @property
    def is_switched(self) -> bool:
        """Whether the new part is in its place."""
        try:
            found = self.target.lstat()
        except FileNotFoundError:
            return False
        return (found.st_dev, found.st_ino) == self.inode

    def switch(self) -> None:
        """See `Switch.switch`."""
        with _told(f"{self.target} cannot be replaced"):
            assert self.new is not None, "nothing was prepared"
            if not self.is_switched:
                self._link_kept()
                self._put_in_place(self.new)
            self._move_kept(self._old, self.target)
            self._give_times_back("new")
            sync_folder(self.target.parent)

    def revert(self) -> None:
        """See `Switch.revert`."""
        with _told(f"What was at {self.target} cannot be put back"):
            if self.new is None:
                return
            if self.is_switched:
                self._move_kept(self.target, self._old)
                if os.path.lexists(self._old):
                    self._swap(self._old)
                else:
                    move(self.target, self.new)
            elif os.path.lexists(self.staging / _OLD_NAME):
                move(self.staging / _OLD_NAME, self.target)
            self._give_times_back("old")
            sync_folder(self.target.parent)

    def discard(self) -> None:
        """See `Switch.discard`."""
        with _told(f"{self.staging} cannot be removed"):
            if not self.is_switched and os.path.lexists(self.staging / _OLD_NAME):
                self.revert()
            if self.staging.exists():
                _remove(self.staging)
            if not self.is_switched:
                for folder in self.made_folders:
                    with contextlib.suppress(OSError):
                        Path(folder).rmdir()
            if self.parent_times is not None:
                os.utime(self.target.parent, ns=self.parent_times)

    @property
    def _old(self) -> Path:
        """Where the old part is once the new one is in its place."""
        aside = self.staging / _OLD_NAME
        if os.path.lexists(aside) or self.new is None:
            return aside
        return self.new

    def _put_in_place(self, new: Path) -> None:
        if not os.path.lexists(self.target):
            move(new, self.target)
            return
        try:
            exchange(new, self.target)
        except ExchangeUnsupported:
            # For a moment there is nothing. What a kill leaves then is told by the second name.
            aside = self.staging / _OLD_NAME
            if not os.path.lexists(aside):
                move(self.target, aside)
            move(new, self.target)

    def _swap(self, old: Path) -> None:
        assert self.new is not None
        if old == self.new:
            exchange(old, self.target)
            return
        move(self.target, self.new)
        move(old, self.target)

    def _kept(self) -> list[bytes]:
        try:
            return (self.staging / _KEPT_NAME).read_bytes().split(b"\0")[:-1]
        except FileNotFoundError:
            return []

    def _give_times_back(self, which: str) -> None:
        """Give the folders of the tree in its place the times that they had before the moves."""
        try:
            times = json.loads((self.staging / _TIMES_NAME).read_text())[which]
        except FileNotFoundError:
            return
        for folder, (read, changed) in times.items():
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                os.utime(self.target / folder, ns=(read, changed), follow_symlinks=False)

    def _link_kept(self) -> None:
        """Give kept files their name in the new tree too; what cannot have two is moved later."""
        assert self.new is not None
        for path in self._kept():
            source, goal = _joined(self.target, path), _joined(self.new, path)
            if not _is_file(source):
                continue
            with contextlib.suppress(OSError):
                _make_folders(self.target, self.new, path)
                # One that the site replaced since an earlier try is linked anew.
                goal.unlink(missing_ok=True)
                os.link(source, goal, follow_symlinks=False)

    def _move_kept(self, here: Path, there: Path) -> None:
        """Move what is kept and is not there yet from one tree to the other."""
        for path in self._kept():
            source, goal = _joined(here, path), _joined(there, path)
            if not os.path.lexists(source) or os.path.lexists(goal):
                continue
            _make_folders(here, there, path)
            source.rename(goal)


def _joined(tree: Path, path: bytes) -> Path:
    return tree / os.fsdecode(path)


def _is_file(path: Path) -> bool:
    try:
        return not stat.S_ISDIR(path.lstat().st_mode)
    except FileNotFoundError:
        return False


def _make_folders(like: Path, tree: Path, path: bytes) -> None:
    """Make the folders above `path` in `tree` that are missing, with the modes that they had."""
    parts = path.split(b"/")[:-1]
    for depth in range(1, len(parts) + 1):
        inner = b"/".join(parts[:depth])
        folder = _joined(tree, inner)
        if os.path.lexists(folder):
            continue
        found = _joined(like, inner).lstat()
        folder.mkdir()
        folder.chmod(stat.S_IMODE(found.st_mode))
        with contextlib.suppress(PermissionError):
            os.chown(folder, found.st_uid, found.st_gid)


def _folders_above(path: bytes) -> Iterator[bytes]:
    """Yield the folders that `path` is in, the tree itself (b"") first."""
    parts = path.split(b"/")[:-1]
    return (b"/".join(parts[:depth]) for depth in range(len(parts) + 1))


def _times_of(tree: Path, folders: Iterable[bytes]) -> dict[str, list[int]]:
    """Return when those of the folders that are there were read and changed, in nanoseconds."""
    times = {}
    for folder in folders:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            found = _joined(tree, folder).lstat()
            times[os.fsdecode(folder)] = [found.st_atime_ns, found.st_mtime_ns]
    return times


@contextlib.contextmanager
def _told(doing: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise explained(error, doing) from error


def _remove(tree: Path) -> None:
    """Remove a tree, also where its folders' modes protect what is in them."""
    try:
        shutil.rmtree(tree)
    except PermissionError:
        tree.chmod(0o700)
        for folder, names, _files in os.walk(tree):
            # Before the walk goes into them: it goes from the top down.
            for inner in (Path(folder) / name for name in names):
                if not inner.is_symlink():
                    inner.chmod(0o700)
        shutil.rmtree(tree)
