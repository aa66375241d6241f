"""Taking away what was not there before: how a restore of chosen paths is undone."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from workers.engine.restore.exchange import move, sync_file_system, sync_folder
from workers.engine.restore.file_switch import GONE_SUFFIX, remove, staging_name, told
from workers.engine.restore.places import PlaceRefused, pinned

KIND = "removal"
_OLD_NAME, _SINCE_NAME = ".old", ".since"


@dataclass(slots=True)
class Removal:
    """See `switching.Switch`: what is at `target` goes, and nothing comes in its place.

    It is moved into `staging`, a folder beside it, so it is there as long as it may be needed.
    """

    target: Path
    staging: Path
    parent_times: tuple[int, int] | None = None

    @classmethod
    def planned(cls, target: Path, label: str, number: int) -> Self:
        """Return the removal of one part of a job, before anything of it is made."""
        found = target.parent.stat() if target.parent.is_dir() else None
        times = (found.st_atime_ns, found.st_mtime_ns) if found else None
        return cls(target, target.parent / staging_name(label, number), times)

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Self:
        """Return the removal that `record` describes."""
        times = record["parent_times"]
        return cls(
            Path(os.fsdecode(record["target"])),
            Path(os.fsdecode(record["staging"])),
            (times[0], times[1]) if times else None,
        )

    def record(self) -> Mapping[str, Any]:
        """See `Switch.record`."""
        return {
            "kind": KIND,
            "target": str(self.target),
            "staging": str(self.staging),
            "parent_times": list(self.parent_times) if self.parent_times else None,
        }

    def switch(self) -> None:
        """See `Switch.switch`."""
        with told(f"{self.target} cannot be removed"), self._if_there() as here:
            if here is None or os.path.lexists(here.staging / _OLD_NAME):
                return
            if os.path.lexists(here.target):
                here.staging.mkdir(mode=0o700, exist_ok=True)
                sync_folder(here.target.parent)
                move(here.target, here.staging / _OLD_NAME)
                sync_folder(here.staging)
                sync_folder(here.target.parent)

    def revert(self) -> None:
        """See `Switch.revert`."""
        doing = f"What was at {self.target} cannot be put back"
        with told(doing), self._if_there() as here:
            if here is None or not os.path.lexists(here.staging / _OLD_NAME):
                return
            if os.path.lexists(here.target):  # somebody made it anew
                move(here.target, here.staging / _SINCE_NAME)
            move(here.staging / _OLD_NAME, here.target)
            sync_folder(here.target.parent)

    def discard(self) -> None:
        """See `Switch.discard`."""
        with told(f"{self.staging} cannot be removed"), self._if_there() as here:
            if here is None:
                return
            gone = here.staging.with_name(here.staging.name + GONE_SUFFIX)
            if os.path.lexists(gone):
                remove(gone)
            if os.path.lexists(here.staging):
                sync_file_system(here.target.parent)
                here.staging.rename(gone)
                remove(gone)
            if self.parent_times is not None and not os.path.lexists(here.staging):
                os.utime(here.target.parent, ns=self.parent_times)

    @contextlib.contextmanager
    def _if_there(self) -> Iterator[Removal | None]:
        """Yield the same with names that lead nowhere else, None where its folder is not there."""
        with contextlib.ExitStack() as stack:
            try:
                parent = stack.enter_context(pinned(self.target.parent))
            except (FileNotFoundError, PlaceRefused):
                yield None
                return
            yield Removal(parent / self.target.name, parent / self.staging.name)
