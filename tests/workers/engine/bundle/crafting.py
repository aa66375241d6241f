"""Bundles that no Holdfast would write, whose checksums are right all the same."""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from workers.engine.bundle import container, manifest
from workers.engine.bundle.container import Footer
from workers.engine.bundle.tarheader import END_OF_ARCHIVE, Entry, build_header, padding


class Bytes:
    """A source in memory."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.size = len(data)

    def read_at(self, offset: int, length: int) -> bytes:
        return self.data[offset : offset + length]


@dataclass
class Piece:
    """One frame: its stored bytes, and what the index says of it."""

    stored: bytes
    content_size: int
    positions: Sequence[tuple[int, int]] = ()


@dataclass
class Crafted:
    """Members by their entry and data; every other part can be replaced by a lie."""

    members: list[tuple[Entry, bytes]] = field(default_factory=list)
    lines: list[bytes] | None = None
    head: bytes = b""
    manifest: bytes | None = None
    footer: dict[str, Any] = field(default_factory=dict)
    index: bytes | None = None
    end: bytes = END_OF_ARCHIVE

    def build(self) -> Bytes:
        pieces = [frame(build_header(entry), data) for entry, data in self.members]
        lines = self.lines
        if lines is None:
            lines = [line_of(entry, data) for entry, data in self.members]
        text = self.manifest
        if text is None:
            head = self.head or manifest.head_lines({})
            text = head + b",\n".join(lines) + b"\n" + manifest.LEFT_OUT_LINE + manifest.END_LINES
        entry = Entry(manifest.MANIFEST_NAME, size=len(text))
        pieces.append(frame(build_header(entry), text[: 3 << 20]))
        pieces += [
            frame(b"", text[start : start + (3 << 20)], len(text))
            for start in range(3 << 20, len(text), 3 << 20)
        ]
        if self.end:
            pieces.append(Piece(container.new_compressor().compress(self.end), len(self.end)))
        body = b"".join(piece.stored for piece in pieces)
        index = self.index
        if index is None:
            index = pack(pieces)
        footer = Footer(
            frames=len(pieces),
            members=sum(len(piece.positions) for piece in pieces),
            content_size=sum(piece.content_size for piece in pieces),
            index_offset=len(body),
            index_size=len(index),
            manifest_size=len(text),
            manifest_sha256=hashlib.sha256(text).digest(),
            index_sha256=hashlib.sha256(index).digest(),
        )
        return Bytes(body + index + container.pack_footer(replace(footer, **self.footer)))


def pack(pieces: Sequence[Piece]) -> bytes:
    return b"".join(
        container.pack_index(
            container.pack_index_frame(
                len(piece.stored),
                piece.content_size,
                zlib.crc32(piece.stored),
                b"".join(container.pack_position(*position) for position in piece.positions),
            )
            for piece in pieces
        )
    )


def frame(header: bytes, data: bytes, whole: int | None = None) -> Piece:
    """Return a frame; `whole` is the size of data of which this is a later part."""
    total = len(data) if whole is None else whole
    is_last = whole is None or len(data) < 3 << 20
    content = header + data + (bytes(padding(total)) if is_last else b"")
    positions = [(0, len(header))] if header else []
    return Piece(container.new_compressor().compress(content), len(content), positions)


def line_of(entry: Entry, data: bytes, **changes: object) -> bytes:
    """Return the manifest's line of a member, some of its facts replaced (None: left out)."""
    checksum = hashlib.sha256(data).hexdigest() if entry.kind == b"0" else ""
    size = entry.sparse_size
    line = manifest.member_line(manifest.member_front(entry, size=size), sha256=checksum)
    facts = {**json.loads(line), **changes}
    return json.dumps({key: value for key, value in facts.items() if value is not None}).encode()
