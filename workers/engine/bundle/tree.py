"""The second part of a bundle: the site's files."""

from __future__ import annotations

import contextlib
import heapq
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from workers.engine.bundle import facts, tasks
from workers.engine.bundle.archiver import is_stored
from workers.engine.bundle.dump import DUMP_NAME
from workers.engine.bundle.facts import Tally, TreeFacts
from workers.engine.bundle.later import LaterWork
from workers.engine.bundle.manifest import MANIFEST_NAME
from workers.engine.bundle.pool import Reader, ReaderPool, start_reader
from workers.engine.bundle.segment import (
    LEFT_OUT_NAME,
    MEMBERS_NAME,
    SharedAllocator,
    closing,
    open_segment,
    read_blocks,
)
from workers.engine.bundle.tree_reader import OpenRoot
from workers.engine.bundle.walk import walk
from workers.engine.errors import EngineError
from workers.engine.excludes import Excludes
from workers.engine.progress import Reporter
from workers.engine.room import out_of_room

# More readers than this gain nothing on a disk and cost 30 MB each.
_MOST_READERS = 3
_LATER_NAME = "later"


@dataclass(frozen=True, slots=True)
class TreeRoot:
    """A folder or a single file of this host, and the path that it has in the archive."""

    path: Path
    archive_name: str


@dataclass(frozen=True, slots=True)
class TreeEstimate:
    """What a walk through a tree sees before it is archived; sizes in bytes.

    `stored_bytes` of them are in files that are compressed already and will be stored as they are.
    """

    files: int
    bytes: int
    stored_bytes: int = 0


def default_readers() -> int:
    """Return how many readers are worth it here: one for each core, up to three."""
    return max(1, min(_MOST_READERS, len(os.sched_getaffinity(0))))


def estimate_tree(
    roots: Sequence[TreeRoot], excludes: Excludes, reporter: Reporter
) -> TreeEstimate:
    """Add up the files below `roots` that are not excluded; opens nothing but folders.

    Raises `EngineError` for a root that `write_tree` would refuse.
    """
    files = size = stored = 0
    with _open_roots(roots) as opened:
        for root in opened:
            if root.file_name:
                files += 1
                size += os.stat(root.file_name, dir_fd=root.descriptor).st_size
                continue
            start = root.archive_name + b"/"
            for path, folder, names in walk(
                root.descriptor,
                enter=lambda path, name: excludes.match_folder(start + path, name) is None,  # noqa: B023
            ):
                reporter.check()
                above = start + path + b"/" if path else start
                for name in names:
                    if excludes.match_file(above + name, name) is None:
                        status = _regular(name, folder)
                        if status is None:
                            continue
                        files += 1
                        size += status.st_size
                        stored += status.st_size if is_stored(name, status.st_size) else 0
    return TreeEstimate(files, size, stored)


def write_tree(
    directory: Path,
    roots: Sequence[TreeRoot],
    *,
    excludes: Excludes,
    reporter: Reporter,
    readers: int | None = None,
) -> TreeFacts:
    """Archive all that is below `roots` as the segment in `directory`, and write its sidecars.

    `directory` exists and holds no segment yet. `readers` processes read (None: see
    `default_readers`). What changes, vanishes or cannot be read meanwhile is no error: it is
    counted, listed for the manifest, and one warning for each kind goes to the reporter.
    `reporter.advance` counts bytes of the tar. Raises `EngineError`: permanent for a root that
    does not exist, is a link, or cannot be opened; temporary for a reader that ends too early,
    permanent when there is no room. What was written is worthless then.
    """
    with out_of_room(directory), _open_roots(roots) as opened:
        with closing(open_segment(directory)) as segment:
            tally, end = _read_all(
                directory, segment, opened, excludes, reporter, readers or default_readers()
            )
            os.ftruncate(segment, end)
        frames, content_size = _merge_sidecars(directory, end)
    _warn(tally, reporter)
    return _facts(tally, end, content_size, frames)


def _read_all(
    directory: Path,
    segment: int,
    roots: Sequence[OpenRoot],
    excludes: Excludes,
    reporter: Reporter,
    readers: int,
) -> tuple[Tally, int]:
    """Run the readers; return what they did, and where the segment ends."""
    with contextlib.ExitStack() as stack:
        read_end, write_end = (stack.enter_context(closing(end)) for end in os.pipe())
        allocator = SharedAllocator(read_end, write_end)
        allocator.give(0)
        settings = {
            "directory": str(directory),
            "segment": segment,
            "allocator": [read_end, write_end],
            "roots": [root.as_json() for root in roots],
            "patterns": excludes.patterns,
            "exact": [os.fsdecode(path) for path in excludes.exact_paths],
        }
        shared = [segment, read_end, write_end, *(root.descriptor for root in roots)]
        started: list[Reader] = []
        for number in range(readers):
            own = settings | _own_files(directory, number)
            started.append(stack.enter_context(start_reader(own, shared, reporter.check)))
        spill = stack.enter_context(tempfile.TemporaryFile(dir=directory))
        waiting = tasks.TaskStack(spill)
        later = stack.enter_context(contextlib.closing(LaterWork(directory / _LATER_NAME)))
        pool = ReaderPool(started, waiting, later, reporter)
        for root in reversed(roots):
            pool.push((tasks.SINGLE if root.file_name else tasks.LIST) + root.archive_name)
        pool.run_all()
        pool.run_in_order(later.linked())
        pool.flush()
        pool.run_in_order(later.folders())
        tally = Tally()
        for told in pool.finish():
            tally.add(told)
        return tally, allocator.take()


def _own_files(directory: Path, number: int) -> dict[str, str]:
    return {
        "sidecar": str(directory / f"{MEMBERS_NAME}.{number}"),
        "left_out": str(directory / f"{LEFT_OUT_NAME}.{number}"),
    }


def _merge_sidecars(directory: Path, end: int) -> tuple[int, int]:
    """Make one sidecar and one list of the readers' own; return the frames and the content's size.

    The frames must lie end to end from 0 to `end`: a gap would be a frame that was never noted.
    """
    frames = content_size = position = 0
    with contextlib.ExitStack() as stack:
        files = [stack.enter_context(path.open("rb")) for path in _readers_files(directory)]
        out = stack.enter_context((directory / MEMBERS_NAME).open("xb"))
        blocks = heapq.merge(*map(read_blocks, files), key=lambda block: block.offset)
        for block in blocks:
            if block.offset != position:
                break
            position += block.size
            content_size += block.content_size
            frames += 1
            out.write(block.pack())
    if position != end:
        raise EngineError(
            f"The frames of the files add up to {position} bytes instead of {end}",
            hint="This is a fault in Holdfast. The attempt is thrown away and made again.",
        )
    with (directory / LEFT_OUT_NAME).open("xb") as left_out:
        for path in sorted(directory.glob(f"{LEFT_OUT_NAME}.*")):
            _append(path, left_out)
    for path in [*_readers_files(directory), directory / _LATER_NAME]:
        path.unlink()
    return frames, content_size


def _readers_files(directory: Path) -> list[Path]:
    return sorted(directory.glob(f"{MEMBERS_NAME}.*"))


def _append(path: Path, out: BinaryIO) -> None:
    with path.open("rb") as part:
        shutil.copyfileobj(part, out)
    path.unlink()


def _warn(tally: Tally, reporter: Reporter) -> None:
    for reason, sentence in _WARNINGS.items():
        noted = tally.noted_as(reason)
        if noted.count:
            some = "; ".join(noted.examples[:3])
            more = f" and {noted.count - 3} more" if noted.count > 3 else ""
            reporter.warn(f"{sentence}: {some}{more}")


_WARNINGS = {
    facts.UNREADABLE: "Could not be read and are missing or incomplete in the backup",
    facts.CHANGED: "Changed while they were read, twice",
    facts.VANISHED: "Vanished while the backup ran",
    facts.SKIPPED: "Are no files, folders or links, and were skipped",
    facts.OUTWARD_LINK: "Links that lead outside: the links are in the backup, their targets not",
    facts.ATTRIBUTES: "Are in the backup without their extended attributes",
}


def _facts(tally: Tally, segment_size: int, content_size: int, frames: int) -> TreeFacts:
    excluded = {
        pattern: facts.ExcludedTotal(files, size)
        for pattern, (files, size) in sorted(tally.excluded.items())
    }
    return TreeFacts(
        bytes_total=tally.bytes_total,
        files=tally.files,
        folders=tally.folders,
        symlinks=tally.symlinks,
        hard_links=tally.hard_links,
        excluded_files=sum(total.files for total in excluded.values()),
        excluded_bytes=sum(total.bytes for total in excluded.values()),
        excluded=excluded,
        changed=tally.noted_as(facts.CHANGED),
        vanished=tally.noted_as(facts.VANISHED),
        unreadable=tally.noted_as(facts.UNREADABLE),
        skipped=tally.noted_as(facts.SKIPPED),
        outward_links=tally.noted_as(facts.OUTWARD_LINK),
        attributes_lost=tally.noted_as(facts.ATTRIBUTES),
        segment_size=segment_size,
        content_size=content_size,
        frames=frames,
    )


@contextlib.contextmanager
def _open_roots(roots: Sequence[TreeRoot]) -> Iterator[list[OpenRoot]]:
    names = [os.fsencode(root.archive_name) for root in roots]
    for name in names:
        parts = name.split(b"/")
        nested = any(other != name and name.startswith(other + b"/") for other in names)
        if {b"", b".", b".."} & set(parts) or nested or names.count(name) > 1:
            raise ValueError(f"archive name {name!r} is not relative, or not of its own")
        if name in (MANIFEST_NAME, os.fsencode(DUMP_NAME)):
            raise ValueError(f"archive name {name!r} is that of another member")
    with contextlib.ExitStack() as stack:
        opened = []
        for root in roots:
            opened.append(_open_root(root))
            stack.callback(os.close, opened[-1].descriptor)
        yield opened


def _open_root(root: TreeRoot) -> OpenRoot:
    name = os.fsencode(root.archive_name)
    try:
        mode = root.path.lstat().st_mode
        if stat.S_ISLNK(mode):
            raise _bad_root(root, "is a symbolic link", "Give the path that it leads to.")
        real_path = os.fsencode(root.path.resolve(strict=True))
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
        if stat.S_ISDIR(mode):
            return OpenRoot(os.open(root.path, flags | os.O_NOFOLLOW), name, real_path)
        if stat.S_ISREG(mode):
            folder = os.open(root.path.parent, flags)
            return OpenRoot(folder, name, real_path, os.fsencode(root.path.name))
    except OSError as error:
        hint = "Check the path, and that the worker's user may read it."
        raise _bad_root(root, f"cannot be opened: {error.strerror}", hint) from error
    raise _bad_root(root, "is no folder and no file", "Check the path.")


def _bad_root(root: TreeRoot, problem: str, hint: str) -> EngineError:
    message = f"{root.path} {problem}, so it cannot be backed up"
    return EngineError(message, hint=hint, permanent=True, code="root_unusable")


def _regular(name: bytes, folder: int) -> os.stat_result | None:
    try:
        status = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except OSError:
        return None
    return status if stat.S_ISREG(status.st_mode) else None
