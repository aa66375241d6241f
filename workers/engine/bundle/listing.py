"""What one folder of a bundle holds, as a person who looks through it sees it."""

from __future__ import annotations

from dataclasses import dataclass, field

from workers.engine.bundle.manifest import Member
from workers.engine.bundle.reader import BundleReader, MemberMissing
from workers.engine.progress import Reporter


@dataclass(slots=True)
class Entry:
    """One name in a folder. Of a folder, `size` and `files` count everything below it.

    `path` is None where it is not UTF-8: such a path cannot be asked for by text, but the folder
    that holds it can.
    """

    name: str
    path: str | None
    kind: str
    mode: int = 0
    mtime_ns: int = 0
    size: int = 0
    files: int = 0
    sha256: str = ""
    link: str | None = None


@dataclass(slots=True)
class Listing:
    """A part of a folder's entries, folders first; `total` is how many there are in all."""

    entries: list[Entry] = field(default_factory=list)
    total: int = 0


def list_folder(
    bundle: BundleReader, path: str, *, skip: int, limit: int, reporter: Reporter
) -> Listing:
    """Return the entries of the folder at `path` ("" is the top) from `skip` on, `limit` of them.

    Reads the index and the manifest and no file's content. Raises `MemberMissing` for a folder
    that is not there, and `BundleDamaged`. Memory: the entries of that one folder.
    """
    folder = path.strip("/").encode("utf-8", "surrogateescape")
    prefix = folder + b"/" if folder else b""
    found: dict[bytes, Entry] = {}
    is_there = not folder
    for member in bundle.members():
        reporter.check()
        is_there = is_there or (member.path == folder and member.kind == "folder")
        if member.path.startswith(prefix) and member.path != folder:
            is_there = True
            _count(found, member, prefix)
    if not is_there:
        raise MemberMissing(folder)
    entries = sorted(found.values(), key=lambda entry: (entry.kind != "folder", entry.name))
    return Listing(entries[skip : skip + limit], len(entries))


def _count(found: dict[bytes, Entry], member: Member, prefix: bytes) -> None:
    name, slash, _rest = member.path[len(prefix) :].partition(b"/")
    entry = found.get(name)
    if entry is None:
        # A folder's own member may come after what is in it, or be missing.
        entry = found[name] = _entry(name, prefix, "folder" if slash else member.kind)
    if slash:
        entry.size += member.size
        entry.files += member.kind == "file"
        return
    entry.kind, entry.mode, entry.mtime_ns = member.kind, member.mode, member.mtime_ns
    if member.kind != "folder":
        entry.size, entry.files, entry.sha256 = member.size, 1, member.sha256
        entry.link = member.link.decode("utf-8", "backslashreplace") if member.link else None


def _entry(name: bytes, prefix: bytes, kind: str) -> Entry:
    shown = name.decode("utf-8", "backslashreplace")
    try:
        return Entry(shown, (prefix + name).decode("utf-8"), kind)
    except UnicodeDecodeError:
        return Entry(shown, None, kind)
