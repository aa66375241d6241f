"""Reading a tar header back, and holding it against what the manifest says of its member.

Only headers as `tarheader` writes them pass. They may come from a bundle that somebody else made,
so nothing in one is believed before it was checked.
"""

from __future__ import annotations

from workers.engine.bundle.container import BundleDamaged
from workers.engine.bundle.manifest import MANIFEST_NAME, Member, nanoseconds
from workers.engine.bundle.tarheader import BLOCK, NANO, half_sum, padding

_MAGIC = b"ustar\x0000"
_XATTR = b"SCHILY.xattr."

Records = dict[bytes, bytes]


def check_header(header: bytes, member: Member) -> None:
    """Raise `BundleDamaged` unless `header` is sound and says of `member` what the manifest says.

    Of the manifest itself, only its place and size are known. The names of owner and group are
    not compared: the manifest may hold them changed.
    """
    block = header[-BLOCK:]
    if not _is_sound(block):
        raise BundleDamaged(f"The tar header of {member.name} is not where the index says")
    try:
        records = _read_records(header[:-BLOCK])
        agrees = _identity(block, records) == (member.path, member.tar_kind, member.stored_size)
        if agrees and member.path != MANIFEST_NAME:
            agrees = _details(block, records) == _expected(member)
    except (ValueError, IndexError) as error:
        raise BundleDamaged(f"The tar header of {member.name} is damaged") from error
    if not agrees:
        raise BundleDamaged(f"The tar header of {member.name} and the manifest do not agree")


def _is_sound(block: bytes) -> bool:
    if len(block) != BLOCK or block[257:265] != _MAGIC:
        return False
    return block[148:156] == b"%06o\0 " % (half_sum(block[:148]) + half_sum(block[156:]) + 8 * 0x20)


def _identity(block: bytes, records: Records) -> tuple[bytes, bytes, int]:
    """Return path, type and number of bytes that follow."""
    path = records.get(b"GNU.sparse.name") or records.get(b"path")
    if path is None:
        prefix, name = block[345:500].rstrip(b"\0"), block[:100].rstrip(b"\0")
        path = prefix + b"/" + name if prefix else name
    return path.rstrip(b"/"), block[156:157], _number(block[124:136], records.get(b"size"))


def _details(block: bytes, records: Records) -> tuple[object, ...]:
    told_time = records.get(b"mtime")
    return (
        _number(block[100:108]),
        _number(block[108:116], records.get(b"uid")),
        _number(block[116:124], records.get(b"gid")),
        int(block[136:147], 8) * NANO if told_time is None else nanoseconds(told_time.decode()),
        records.get(b"linkpath") or block[157:257].rstrip(b"\0"),
        records.get(b"GNU.sparse.realsize"),
        {key: value for key, value in records.items() if key.startswith(_XATTR)},
    )


def _expected(member: Member) -> tuple[object, ...]:
    return (
        member.mode,
        member.uid,
        member.gid,
        member.mtime_ns,
        member.link or b"",
        b"%d" % member.size if member.sparse else None,
        {_XATTR + key: value for key, value in member.xattrs},
    )


def _number(field: bytes, record: bytes | None = None) -> int:
    """Return an octal field's number, or that of the record which stands for it."""
    return int(field[:-1], 8) if record is None else int(record)


def _read_records(extended: bytes) -> Records:
    """Return the records of an extended header; raises `ValueError` for anything else."""
    if not extended:
        return {}
    length = int(extended[124:135], 8)
    if (
        not _is_sound(extended[:BLOCK])
        or extended[156:157] != b"x"
        or len(extended) != BLOCK + length + padding(length)
        or any(extended[BLOCK + length :])
    ):
        raise ValueError("no extended header")
    records = {}
    start, end = BLOCK, BLOCK + length
    while start < end:
        space = extended.index(b" ", start, end)
        after = start + int(extended[start:space])
        if not space + 1 < after <= end or extended[after - 1] != 0x0A:
            raise ValueError("a record is not as long as it says")
        key, _, value = extended[space + 1 : after - 1].partition(b"=")
        records[key] = value
        start = after
    return records
