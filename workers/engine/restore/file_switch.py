"""One tree or file of a site and what is to replace it, on either side of an exchange."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from workers.engine.restore.exchange import (
    ExchangeUnsupported,
    exchange,
    explained,
    move,
    sync_file_system,
    sync_folder,
)
from workers.engine.restore.kept import folders_above, give_times, link_kept, move_kept, times_of
from workers.engine.restore.places import PlaceRefused, pinned

KIND = "files"
_KEPT_NAME = ".kept"
_TIMES_NAME = ".times"
_OLD_NAME = ".old"
_SPARE_NAME = ".folder"
GONE_SUFFIX = ".gone"


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
    told by where the new one's inode is, so a process that comes after a kill sees how far it came.
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
        for folder in map(Path, reversed(self.made_folders)):
            with pinned(folder.parent) as parent:
                (parent / folder.name).mkdir(mode=0o755, exist_ok=True)
        with self._pinned() as here:
            here.staging.mkdir(mode=0o700)

    def adopt(self, new: Path) -> None:
        """Take what was prepared; from now on its inode says whether it is in its place."""
        self.new, self.inode = new, _inode(new)

    def keep(self, paths: Iterable[bytes]) -> None:
        """Note what of the old tree is to stay: paths relative to it.

        And the times that the folders have which are changed by that, to give these back.
        """
        with self._pinned() as here:
            assert here.new is not None
            folders: set[bytes] = set()
            with (here.staging / _KEPT_NAME).open("wb") as file:
                for path in paths:
                    file.write(path + b"\0")
                    folders.update(folders_above(path))
            old, new = times_of(here.target, folders), times_of(here.new, folders)
            times = json.dumps({"old": old, "new": {**old, **new}})
            (here.staging / _TIMES_NAME).write_text(times)

    @property
    def is_switched(self) -> bool:
        """Whether the new part is in its place, or was until the site itself replaced it."""
        if self.inode is None or (self.new is not None and _inode(self.new) == self.inode):
            return False
        return _inode(self.target) == self.inode or os.path.lexists(self.staging)

    def switch(self) -> None:
        """See `Switch.switch`."""
        assert self.new is not None, "nothing was prepared"
        with told(f"{self.target} cannot be replaced"), self._pinned() as here:
            if not here.is_switched:
                here.put_in_place()
            here.move_kept(here.old, here.target)
            here.give_times_back("new")
            sync_folder(here.target.parent)

    def revert(self) -> None:
        """See `Switch.revert`."""
        doing = f"What was at {self.target} cannot be put back"
        with told(doing), self._if_there() as here:
            if here is not None:
                here.put_back()

    def discard(self) -> None:
        """See `Switch.discard`."""
        is_switched = False
        with told(f"{self.staging} cannot be removed"), self._if_there() as here:
            if here is not None:
                is_switched = here.remove_other()
        if not is_switched:
            for folder in self.made_folders:
                with contextlib.suppress(OSError, PlaceRefused), pinned(Path(folder).parent) as at:
                    (at / Path(folder).name).rmdir()

    @contextlib.contextmanager
    def _pinned(self) -> Iterator[_Here]:
        """Yield the switch with names that lead nowhere else, whatever happens to the folders."""
        folder = self.target.parent
        with pinned(folder) as parent:
            new = parent / self.new.relative_to(folder) if self.new else None
            yield _Here(
                parent / self.target.name,
                parent / self.staging.name,
                new=new,
                inode=self.inode,
                made_folders=self.made_folders,
                parent_times=self.parent_times,
            )

    @contextlib.contextmanager
    def _if_there(self) -> Iterator[_Here | None]:
        """Yield the same, or None where nothing can be: not even its folder is there."""
        with contextlib.ExitStack() as stack:
            try:
                here = stack.enter_context(self._pinned())
            except FileNotFoundError:
                here = None
            except PlaceRefused:
                if self.inode is not None:
                    raise
                here = None
            yield here


class _Here(FileSwitch):
    """The steps of a switch, below a folder that is held open."""

    def put_in_place(self) -> None:
        """Exchange the old part for the new one."""
        assert self.new is not None
        if self.target.is_dir() and self._kept():
            link_kept(self.target, self.new, self._kept(), self.staging / _SPARE_NAME)
        if not os.path.lexists(self.target):
            move(self.new, self.target)
            return
        try:
            exchange(self.new, self.target)
        except ExchangeUnsupported:
            # For a moment there is nothing. What a kill leaves then is told by the second name.
            aside = self.staging / _OLD_NAME
            if not os.path.lexists(aside):
                move(self.target, aside)
            move(self.new, self.target)

    def put_back(self) -> None:
        """Have the old part in its place, with all that was kept."""
        aside = self.staging / _OLD_NAME
        if not os.path.lexists(self.staging):
            return
        if self.is_switched:
            self.move_kept(self.target, self.old)
            self._swap(self.old)
        elif os.path.lexists(aside) and not os.path.lexists(self.target):
            move(aside, self.target)
        self.give_times_back("old")
        sync_folder(self.target.parent)

    def remove_other(self) -> bool:
        """Remove what is not in its place; tell whether that is the old part."""
        is_switched = self.is_switched
        if not is_switched and os.path.lexists(self.staging / _OLD_NAME):
            self.put_back()
        gone = self.staging.with_name(self.staging.name + GONE_SUFFIX)
        if os.path.lexists(gone):
            remove(gone)
        if os.path.lexists(self.staging):
            if is_switched:
                # The new part's names and those that it took over, before the old ones go.
                sync_file_system(self.target.parent)
            # Half removed it would say that the new part is no longer in it, thus in its place.
            self.staging.rename(gone)
            remove(gone)
        if self.parent_times is not None:
            os.utime(self.target.parent, ns=self.parent_times)
        return is_switched

    @property
    def old(self) -> Path:
        """Where the old part is once the new one is in its place."""
        aside = self.staging / _OLD_NAME
        if os.path.lexists(aside) or self.new is None:
            return aside
        return self.new

    def _swap(self, old: Path) -> None:
        assert self.new is not None
        if not os.path.lexists(old):
            move(self.target, self.new)
        elif old == self.new:
            exchange(old, self.target)
        else:
            if os.path.lexists(self.target):
                move(self.target, self.new)
            move(old, self.target)

    def move_kept(self, here: Path, there: Path) -> None:
        """Move what is kept and is not there yet."""
        kept = self._kept()
        if kept and _is_folder(here) and _is_folder(there):
            move_kept(here, there, kept, self.staging / _SPARE_NAME)

    def give_times_back(self, which: str) -> None:
        """Give the folders of the tree in its place the times that they had before the moves."""
        with contextlib.suppress(FileNotFoundError):
            times = json.loads((self.staging / _TIMES_NAME).read_text())[which]
            give_times(self.target, times)

    def _kept(self) -> list[bytes]:
        try:
            return (self.staging / _KEPT_NAME).read_bytes().split(b"\0")[:-1]
        except FileNotFoundError:
            return []


def _inode(path: Path) -> tuple[int, int] | None:
    try:
        found = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found.st_dev, found.st_ino


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


@contextlib.contextmanager
def told(doing: str) -> Iterator[None]:
    """Say what was being done where the file system refuses."""
    try:
        yield
    except OSError as error:
        raise explained(error, doing) from error


def remove(tree: Path) -> None:
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
