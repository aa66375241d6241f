"""The first part of a bundle: the database's dump."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from workers.engine.bundle.segment import (
    MEMBERS_NAME,
    SegmentFacts,
    closing,
    open_segment,
)
from workers.engine.bundle.streamed import StreamedMember
from workers.engine.bundle.tarheader import Entry
from workers.engine.databases.base import TableMark
from workers.engine.progress import Reporter
from workers.engine.room import out_of_room

DUMP_NAME = "database.sql"
# A dump holds password hashes and personal data: whoever unpacks it owns it, nobody else reads it.
_DUMP_MODE = 0o600


def write_dump(
    directory: Path,
    pieces: Iterable[bytes | TableMark],
    *,
    archive_name: str = DUMP_NAME,
    modified_at_ns: int,
    reporter: Reporter,
) -> SegmentFacts:
    """Write the dump that `pieces` make up as the segment in `directory`, and its sidecar.

    A frame begins at each `TableMark`. `directory` exists and holds no segment yet.
    `reporter.advance` counts the bytes of SQL text. Raises `EngineError` when there is no room;
    what `pieces` and `reporter` raise passes through, and what was written is then worthless.
    """
    entry = Entry(
        archive_name.encode(), mode=_DUMP_MODE, user=b"root", group=b"root", mtime_ns=modified_at_ns
    )
    with (
        out_of_room(directory),
        closing(open_segment(directory)) as descriptor,
        (directory / MEMBERS_NAME).open("xb") as sidecar,
        StreamedMember(descriptor, sidecar, entry) as member,
    ):
        for piece in pieces:
            if isinstance(piece, TableMark):
                member.cut()
            else:
                member.write(piece)
                reporter.advance(len(piece))
        return member.finish()
