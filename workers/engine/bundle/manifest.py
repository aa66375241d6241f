"""The manifest's lines: one JSON object for each member, in the order of the tar.

`manifest.json` is one JSON document, laid out so that it can be read line by line: every fact on
a line of its own, then `"members": [`, one member a line, `],`, `"left_out": [`, one a line.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from workers.engine.bundle import tarheader
from workers.engine.bundle.container import FORMAT_NAME, FORMAT_VERSION, BundleDamaged
from workers.engine.errors import EngineError

JSON = str | int | float | bool | None | Sequence["JSON"] | Mapping[str, "JSON"]

MANIFEST_NAME = b"manifest.json"
SEPARATOR = b",\n"
MEMBERS_LINE = b'"members": [\n'
LEFT_OUT_LINE = b'],\n"left_out": [\n'
END_LINES = b"]\n}\n"
# The longest line: one of a path as long as a frame, of which every byte needs an escape, is less.
LINE_BYTES = 32 << 20
RESERVED_KEYS = frozenset({"format", "format_version", "members", "left_out"})

KIND_NAMES = {
    tarheader.FILE: "file",
    tarheader.HARD_LINK: "hardlink",
    tarheader.SYMBOLIC_LINK: "symlink",
    tarheader.FOLDER: "folder",
}
_KINDS = {name: kind for kind, name in KIND_NAMES.items()}

_LINKS = frozenset({"hardlink", "symlink"})
# Sizes and times are signed 64-bit numbers to a kernel, owners unsigned ones of 32 bits, of which
# the last means "nobody".
_SIZE_LIMIT = 2**63
_OWNER_LIMIT = 2**32 - 1
_PLACES = 9
_MOST_UTF8 = 4
# What a line of somebody else's making can do to the code that reads it.
_NOT_AS_WRITTEN = (ValueError, KeyError, TypeError, AttributeError, RecursionError)

# Printable ASCII but the quote and the backslash: what JSON takes as it is.
_NOT_PLAIN = re.compile(rb"[^ !#-\[\]-~]")


@dataclass(frozen=True, slots=True)
class Member:
    """One member of a bundle, as the manifest and the index describe it.

    `size` is the restored file's size and `stored_size` the bytes after its tar header; they
    differ for sparse files only (`sparse`), whose `sha256` is that of the stored bytes. `status`
    is "" or "changed" or "unreadable". `content_offset` is where its header begins in the tar,
    `frame` the number of the bundle's frame that holds it; both are -1 for a member that was not
    read from an index.
    """

    path: bytes
    kind: str
    mode: int
    uid: int
    gid: int
    user: str
    group: str
    size: int
    stored_size: int
    mtime_ns: int
    link: bytes | None = None
    sha256: str = ""
    sparse: bool = False
    status: str = ""
    xattrs: tuple[tuple[bytes, bytes], ...] = field(default=(), repr=False)
    content_offset: int = -1
    header_length: int = -1
    frame: int = -1

    @property
    def name(self) -> str:
        """The path as text for a person; what is not UTF-8 in it shows as backslash escapes."""
        return self.path.decode("utf-8", "backslashreplace")

    @property
    def tar_kind(self) -> bytes:
        """The type flag that the tar header carries."""
        return _KINDS[self.kind]


def is_plain(text: bytes) -> bool:
    """Tell whether JSON takes `text` between quotes as it is."""
    return _NOT_PLAIN.search(text) is None


def json_text(text: bytes) -> bytes:
    """Return `text` for use between quotes; bytes that are not UTF-8 become U+FFFD."""
    if is_plain(text):
        return text
    return json.dumps(text.decode("utf-8", "replace"), ensure_ascii=False)[1:-1].encode()


def json_path(key: bytes, path: bytes) -> bytes:
    """Return `"key":"path"`, and `"key_base64":"…"` with the exact bytes if it is not UTF-8."""
    if is_plain(path):
        return b'"%b":"%b"' % (key, path)
    shown = b'"%b":"%b"' % (key, json_text(path))
    try:
        path.decode("utf-8")
    except UnicodeDecodeError:
        return b'%b,"%b_base64":"%b"' % (shown, key, base64.b64encode(path))
    return shown


def owner_fields(uid: int, gid: int, user: bytes, group: bytes) -> bytes:
    """Return the four fields that say whose a member is."""
    return b'"uid":%d,"gid":%d,"user":"%b","group":"%b"' % (
        uid,
        gid,
        json_text(user),
        json_text(group),
    )


def member_front(entry: tarheader.Entry, *, size: int | None = None) -> bytes:
    """Return the line of `entry` but for its end; `size` is a sparse file's restored size."""
    parts = [
        json_path(b"path", entry.path.rstrip(b"/")),
        b'"type":"%b"' % KIND_NAMES[entry.kind].encode(),
        b'"mode":"%04o"' % entry.mode,
        owner_fields(entry.uid, entry.gid, entry.user, entry.group),
        b'"size":%d' % (entry.size if size is None else size),
        b'"mtime":"%b"' % tarheader.decimal_time(entry.mtime_ns),
    ]
    if entry.link:
        parts.append(json_path(b"link", entry.link))
    if size is not None:
        parts.append(b'"sparse":true,"stored_size":%d' % entry.size)
    if entry.xattrs:
        parts.append(b'"xattrs":{%b}' % b",".join(_xattr(*pair) for pair in entry.xattrs))
    return b"{%b" % b",".join(parts)


def member_line(front: bytes, *, sha256: str = "", status: str = "") -> bytes:
    """Return the manifest's line: `front`, and what is known only once the data was read."""
    checksum = b',"sha256":"%b"' % sha256.encode() if sha256 else b""
    problem = b',"status":"%b"' % status.encode() if status else b""
    return b"%b%b%b}" % (front, checksum, problem)


def parse_member(
    line: bytes, *, content_offset: int = -1, header_length: int = -1, frame: int = -1
) -> Member:
    """Return the member that a line of the manifest describes; raises `BundleDamaged`."""
    try:
        facts = json.loads(line)
        kind = facts["type"]
        size = _below(facts["size"], _SIZE_LIMIT if kind == "file" else 1)
        sparse = facts.get("sparse", False) is True
        return Member(
            path=_exact(facts, "path"),
            kind=KIND_NAMES[_KINDS[kind]],
            mode=_below(int(facts["mode"], 8), 0o10000),
            uid=_below(facts["uid"], _OWNER_LIMIT),
            gid=_below(facts["gid"], _OWNER_LIMIT),
            user=_text(facts["user"]),
            group=_text(facts["group"]),
            size=size,
            stored_size=_below(facts["stored_size"], _SIZE_LIMIT) if sparse else size,
            mtime_ns=nanoseconds(facts["mtime"]),
            link=_exact(facts, "link") if kind in _LINKS else None,
            sha256=_text(facts.get("sha256", "")),
            sparse=sparse,
            status=_text(facts.get("status", "")),
            xattrs=_xattrs(facts.get("xattrs")),
            content_offset=content_offset,
            header_length=header_length,
            frame=frame,
        )
    except _NOT_AS_WRITTEN as error:
        raise BundleDamaged("The manifest holds a line that describes no member") from error


def head_lines(facts: Mapping[str, JSON]) -> bytes:
    """Return the manifest's beginning: the format and `facts`, each on a line of its own.

    Raises `EngineError` for a fact that JSON cannot hold or whose name is the manifest's own.
    """
    if taken := RESERVED_KEYS & facts.keys():
        raise EngineError(f"The manifest's facts use reserved names: {', '.join(sorted(taken))}")
    named = {"format": FORMAT_NAME, "format_version": FORMAT_VERSION, **facts}
    try:
        lines = [f"{json.dumps(key)}: {_compact(value)},\n" for key, value in named.items()]
    except (TypeError, ValueError, RecursionError) as error:
        raise EngineError(f"The manifest's facts cannot be written as JSON: {error}") from error
    if max(map(len, lines)) * _MOST_UTF8 > LINE_BYTES:
        raise EngineError("One of the manifest's facts is larger than a reader would take")
    return b"{\n" + "".join(lines).encode() + MEMBERS_LINE


def parse_head(lines: Iterator[bytes]) -> dict[str, Any]:
    """Return the facts before the members; afterwards `lines` stands at the first member."""
    facts: dict[str, Any] = {}
    if next(lines, b"") != b"{\n":
        raise BundleDamaged("The manifest does not begin as one")
    for line in lines:
        if line == MEMBERS_LINE:
            return facts
        try:
            facts.update(json.loads(b"{" + line.rstrip().removesuffix(b",") + b"}"))
        except (ValueError, RecursionError) as error:
            raise BundleDamaged("The manifest's facts cannot be read") from error
    raise BundleDamaged("The manifest ends before its members")


def items(lines: Iterator[bytes]) -> Iterator[bytes]:
    """Yield the objects of the list in which `lines` stands, one a line, up to its end."""
    for line in lines:
        if line.startswith(b"]"):
            return
        yield line.rstrip().removesuffix(b",")
    raise BundleDamaged("The manifest is cut short")


def _compact(value: JSON) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def _xattr(key: bytes, value: bytes) -> bytes:
    return b'"%b":"%b"' % (json_text(key), base64.b64encode(value))


def _xattrs(facts: Mapping[str, str] | None) -> tuple[tuple[bytes, bytes], ...]:
    if not facts:
        return ()
    if any("\0" in key for key in facts):
        raise ValueError("an attribute's name holds NUL")
    return tuple((key.encode(), base64.b64decode(value)) for key, value in facts.items())


def _exact(facts: Mapping[str, str], key: str) -> bytes:
    encoded = facts.get(f"{key}_base64")
    exact = facts[key].encode() if encoded is None else base64.b64decode(encoded)
    if not exact or b"\0" in exact:
        raise ValueError("a path is empty or holds NUL")
    return exact


def _below(number: Any, limit: int) -> int:  # noqa: ANN401
    """Return what should be a whole number from 0 up to `limit`."""
    if type(number) is not int or not 0 <= number < limit:
        raise ValueError(f"{number!r} is no number below {limit}")
    return number


def _text(value: Any) -> str:  # noqa: ANN401
    if not isinstance(value, str):
        raise TypeError("no text")
    return value


def nanoseconds(text: str) -> int:
    """Return the time that decimal seconds with nine places say; raises `ValueError`."""
    seconds, _, fraction = text.partition(".")
    number = abs(int(seconds)) * tarheader.NANO + int(fraction)
    if len(fraction) != _PLACES or number >= _SIZE_LIMIT * tarheader.NANO:
        raise ValueError(f"{text!r} is no time")
    return -number if text.startswith("-") else number
