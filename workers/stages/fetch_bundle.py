"""Bring the bundle to this host, and know by its checksum that it is the one that was stored."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from workers.engine.errors import EngineError
from workers.engine.progress import Reporter
from workers.engine.room import out_of_room
from workers.engine.sources import ByteSource
from workers.stages.context import StageContext, StageResult, megabytes
from workers.stages.restoring import BUNDLE_NAME, bundle_of, is_partial
from workers.stages.room import require_room

# Requests in flight and their size: together what is held in memory.
REQUESTS = 4
REQUEST_BYTES = 8 << 20


def run(context: StageContext) -> StageResult:
    """Copy the whole bundle into the spool, unless only parts of it are wanted.

    A bundle in a folder of this host is read where it is: copying it would prove nothing more.
    """
    bundle = bundle_of(context)
    source = context.store.open().open(bundle.key)
    if source.size != bundle.size:
        raise EngineError(
            f"The stored bundle has {source.size} bytes instead of {bundle.size}",
            hint="It was cut short or replaced in the storage; restore another backup.",
            permanent=True,
            code="bundle_damaged",
        )
    if is_partial(context.parameters):
        return StageResult({"directory": "", "fetched": 0}, "Only what is wanted will be fetched")
    context.reporter.total(bundle.size)
    if context.store.kind == "local":
        context.reporter.detail("Comparing the bundle's checksum")
        require_checksum(sha256_of(source, context.reporter), bundle.sha256)
        return StageResult({"directory": "", "fetched": 0}, "The bundle is on this host, and whole")
    require_room(context, bundle.size, f"the bundle of {context.site.name}", is_first=True)
    context.reporter.detail(f"Fetching {megabytes(bundle.size)}")
    path = context.directory / BUNDLE_NAME
    require_checksum(copy(source, path, context.reporter), bundle.sha256)
    return StageResult(
        {"directory": context.directory.name, "fetched": bundle.size},
        f"Fetched, with the right checksum ({megabytes(bundle.size)})",
    )


def require_checksum(found: str, expected: str) -> None:
    """Raise a permanent `EngineError` unless the bundle is what the catalogue says."""
    if found != expected:
        raise EngineError(
            f"The stored bundle is not what was stored: its sha256 is {found}, not {expected}",
            hint="It changed in the storage. Restore another backup, and look at that storage; "
            "what is whole in this one can be read with tar --zstd -xf.",
            permanent=True,
            code="bundle_damaged",
        )


def sha256_of(source: ByteSource, reporter: Reporter) -> str:
    """Return the checksum (hex) of all of the source."""
    hasher = hashlib.sha256()
    for piece in _pieces(source, reporter):
        hasher.update(piece)
    return hasher.hexdigest()


def copy(source: ByteSource, path: Path, reporter: Reporter) -> str:
    """Write all of the source to a new file and return its checksum (hex)."""
    hasher = hashlib.sha256()
    with out_of_room(path.parent), path.open("xb") as file:
        for piece in _pieces(source, reporter):
            hasher.update(piece)
            file.write(piece)
        file.flush()
        os.fsync(file.fileno())
    return hasher.hexdigest()


def _pieces(source: ByteSource, reporter: Reporter) -> Iterator[bytes]:
    """Yield the source from its start, with a few requests under way at each time."""
    offsets = iter(range(0, source.size, REQUEST_BYTES))
    with ThreadPoolExecutor(REQUESTS, thread_name_prefix="fetch") as pool:
        waiting: list[Future[bytes]] = []
        try:
            for offset in offsets:
                waiting.append(pool.submit(source.read_at, offset, REQUEST_BYTES))
                if len(waiting) == REQUESTS:
                    yield _next(waiting, reporter)
            while waiting:
                yield _next(waiting, reporter)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _next(waiting: list[Future[bytes]], reporter: Reporter) -> bytes:
    piece = waiting.pop(0).result()
    reporter.advance(len(piece))
    return piece
