"""Reading single members of a bundle that may be far away, fetching only what they need."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import Any

from workers.engine.bundle.container import BundleDamaged, Footer
from workers.engine.bundle.header_check import check_header
from workers.engine.bundle.index import BundleIndex, TailSource
from workers.engine.bundle.manifest import Member, items, parse_head
from workers.engine.bundle.sparse import SparseExpander
from workers.engine.errors import EngineError
from workers.engine.sources import ByteSource

_ZEROS = bytes(1 << 20)


class MemberMissing(EngineError):
    """A bundle has no member of that path."""

    code = "member_missing"

    def __init__(self, path: bytes) -> None:
        super().__init__(
            f"The bundle holds no {path.decode('utf-8', 'backslashreplace')}",
            hint="Paths are relative and case-sensitive; list the bundle to see them.",
            permanent=True,
        )


class Selection:
    """Chosen paths, each with all that lies below it; "" is everything."""

    def __init__(self, paths: Iterable[str | bytes]) -> None:
        self._paths = dict.fromkeys(os.fsencode(path).rstrip(b"/") for path in paths)

    def __iter__(self) -> Iterator[bytes]:
        """Yield the chosen paths."""
        return iter(self._paths)

    def paths_to(self, path: bytes) -> list[bytes]:
        """Return the chosen paths that are `path` or above it."""
        if not self._paths:
            return []
        found = [b""] if b"" in self._paths else []
        end = path.find(b"/")
        while end >= 0:
            if path[:end] in self._paths:
                found.append(path[:end])
            end = path.find(b"/", end + 1)
        return [*found, path] if path in self._paths else found

    def has(self, path: bytes) -> bool:
        """Tell whether `path` is chosen."""
        return bool(self.paths_to(path))


class BundleReader:
    """Gives access to the members of a bundle.

    Paths are relative to the archive; text stands for its bytes in the file system's encoding.
    Everything raises `BundleDamaged` for a bundle whose index, manifest or data are not what was
    written. Memory: the compressed index and manifest (see `KEPT_BYTES`), and one frame. Who wants
    the facts alone asks that the manifest is not kept: then only its beginning is fetched.
    """

    def __init__(
        self, source: ByteSource, *, keeps_manifest: bool = True, end: bytes = b""
    ) -> None:
        """`end` is what another reader of the same bundle returned; it is not fetched again."""
        self._source = TailSource(source, end)
        self._keeps_manifest = keeps_manifest

    @property
    def bytes_fetched(self) -> int:
        """How many bytes were fetched so far from where the bundle is stored."""
        return self._source.bytes_fetched

    def end(self) -> bytes:
        """Return the bytes at the end of the bundle that were fetched: its index and manifest."""
        return self._source.end()

    @property
    def footer(self) -> Footer:
        """The totals of the bundle."""
        return self._index.footer

    @cached_property
    def _index(self) -> BundleIndex:
        index = BundleIndex(self._source)
        if self._keeps_manifest:
            self._source.keep_from(index.manifest_offset)
        return index

    def members(self, prefix: str | bytes = "") -> Iterator[Member]:
        """Yield the members at `prefix` and below it (all if empty), in the order of the tar."""
        wanted = os.fsencode(prefix).rstrip(b"/")
        for member in self._index.members():
            if not wanted or member.path == wanted or member.path.startswith(wanted + b"/"):
                yield member

    def member(self, path: str | bytes) -> Member:
        """Return one member; raises `MemberMissing`."""
        wanted = os.fsencode(path).rstrip(b"/")
        for member in self._index.members():
            if member.path == wanted:
                return member
        raise MemberMissing(wanted)

    def select(self, paths: Iterable[str | bytes]) -> Iterator[Member]:
        """Yield the members at `paths` and below them, each once, in the order of the tar.

        Raises `MemberMissing` at the end for the first path that is not there.
        """
        chosen = Selection(paths)
        missing = dict.fromkeys(chosen)
        for member in self._index.members():
            found = chosen.paths_to(member.path)
            for path in found:
                missing.pop(path, None)
            if found:
                yield member
        if missing:
            raise MemberMissing(next(iter(missing)))

    def read(self, path: str | bytes) -> Iterator[bytes]:
        """Yield the content of a file as it was, whatever name of it is given; holes as zeros.

        Its sha256 is checked, and a difference raised as `BundleDamaged` after the last piece:
        what was yielded until then is worth nothing. Raises `MemberMissing` and, for anything
        that is no file, `EngineError`.
        """
        yield from self.file(path)[1]

    def file(self, path: str | bytes) -> tuple[int, Iterator[bytes]]:
        """Return the size of a file and what `read` yields; raises at once where there is none."""
        member = self.member(path)
        if member.kind == "hardlink" and member.link is not None:
            member = self.member(member.link)
        if member.kind != "file":
            raise EngineError(f"{member.name} is a {member.kind}, not a file", permanent=True)
        return member.size, self._content(member)

    def _content(self, member: Member) -> Iterator[bytes]:
        if not member.sparse:
            yield from self.stored(member)
            return
        position = 0
        for start, piece in self.pieces(member):
            yield from _zeros(start - position)
            yield piece
            position = start + len(piece)
        yield from _zeros(member.size - position)

    def pieces(self, member: Member) -> Iterator[tuple[int, bytes]]:
        """Yield (offset, bytes) of a file's data without its holes; checked like `read`."""
        if not member.sparse:
            position = 0
            for piece in self.stored(member):
                yield position, piece
                position += len(piece)
            return
        expander = SparseExpander(member.size)
        for piece in self.stored(member):
            yield from expander.feed(piece)
        expander.finish()

    def stored(self, member: Member) -> Iterator[bytes]:
        """Yield what follows a member's tar header: its data, after the map if it is sparse."""
        length = member.header_length + member.stored_size
        content = self._index.content(member.content_offset, length)
        hasher = hashlib.sha256()
        piece = next(content)
        header, piece = piece[: member.header_length], piece[member.header_length :]
        check_header(header, member)
        if piece:
            hasher.update(piece)
            yield piece
        for piece in content:
            hasher.update(piece)
            yield piece
        if member.kind == "file" and hasher.hexdigest() != member.sha256:
            raise BundleDamaged(f"The content of {member.name} is not what was backed up")

    def check(self, member: Member) -> None:
        """Raise `BundleDamaged` unless the member's tar header says what the manifest says."""
        content = self._index.content(member.content_offset, member.header_length)
        check_header(b"".join(content), member)

    def slice(self, member: Member, offset: int, length: int) -> Iterator[bytes]:
        """Yield a part of what follows a member's tar header, fetching only that part's frames.

        Each frame's own checksum is compared; the member's, which is of the whole, is not.
        """
        length = max(0, min(length, member.stored_size - offset))
        start = member.content_offset + member.header_length + offset
        return self._index.content(start, length) if length else iter(())

    def require_manifest(self, sha256: str) -> None:
        """Raise `BundleDamaged` unless the manifest has this sha256 (hex; "" is any).

        The manifest has that of every file: who reads only parts of a bundle knows by this that
        they are of the one that was stored.
        """
        found = self.footer.manifest_sha256.hex()
        if sha256 not in ("", found):
            raise BundleDamaged(
                "The stored bundle is not the one that was stored: it has another manifest",
                hint="Something exchanged it in the storage. Restore another backup, and look at "
                "that storage.",
            )

    def manifest(self) -> Iterator[bytes]:
        """Yield the bytes of manifest.json."""
        return self._index.manifest()

    def facts(self) -> dict[str, Any]:
        """Return what the manifest says before its members: format, site, times, tools."""
        return parse_head(self._index.manifest_lines())

    def left_out(self) -> Iterator[bytes]:
        """Yield, each as a JSON object, what is not in the bundle or not as it should be."""
        lines = self._index.manifest_lines()
        parse_head(lines)
        for _ in items(lines):
            pass
        if next(lines, b"") != b'"left_out": [\n':
            raise BundleDamaged("The manifest does not say what was left out")
        yield from items(lines)


def _zeros(length: int) -> Iterator[bytes]:
    while length > 0:
        yield _ZEROS[:length]
        length -= len(_ZEROS)
