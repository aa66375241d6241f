"""Trees that are hard to archive, and comparing two of them."""

from __future__ import annotations

import hashlib
import os
import random
import socket
import stat
from pathlib import Path

FRAME = 4 << 20


def make_hard_tree(root: Path) -> None:
    """Make names, links, holes, times and owners of every kind that a bundle must keep."""
    top = os.fsencode(root)
    os.makedirs(top, exist_ok=True)
    generator = random.Random(7)
    long_folder = b"/".join([b"d" * 100] * 3)
    os.makedirs(top + b"/" + long_folder)
    os.makedirs(top + b"/sub")
    os.makedirs(top + b"/empty-folder")
    contents = {
        b"new\nline.txt": b"n",
        b"\xff\xfenot-utf8.txt": b"u",
        b"n" * 255: b"255",
        'grüße "q" \\b'.encode(): b"json",
        b"empty": b"",
        long_folder + b"/" + b"\xff" + b"l" * 200: b"long and not UTF-8",
        b"p" * 99: b"99",
        b"p" * 100: b"100",
        b"several-names": b"linked" * 1000,
        b"large.bin": generator.randbytes(9 << 20),
        b"large.jpg": generator.randbytes((9 << 20) + 1),
        b"frame.jpg": generator.randbytes(FRAME),
        b"nearly.jpg": generator.randbytes(FRAME - 1536),
        b"text.txt": b"hello world " * 1_000_000,
    }
    for number in range(40):
        contents[b"sub/photo-%d.jpg" % number] = generator.randbytes(number * 7001)
    for name, content in contents.items():
        with open(top + b"/" + name, "wb") as file:
            file.write(content)
    os.link(top + b"/several-names", top + b"/a-second-name")
    os.link(top + b"/several-names", top + b"/sub/third-name")
    os.symlink(b"loop", top + b"/loop")
    os.symlink(b"..", top + b"/sub/up")
    os.symlink(b"x" * 300, top + b"/long-target")
    os.symlink(b"\xff\xfe" * 80, top + b"/target-not-utf8")
    with open(top + b"/sparse", "wb") as file:
        file.seek(5 << 20)
        file.write(b"middle")
        file.seek(10 << 30)
        file.write(b"end")
        file.truncate((10 << 30) + (1 << 20))
    with open(top + b"/only-a-hole", "wb") as file:
        file.truncate(1 << 20)
    os.setxattr(top + b"/empty", "user.note", b"\x00\xff binary\n")
    os.setxattr(top + b"/sub", "user.folder", b"1")
    os.chmod(top + b"/empty", 0o600)
    os.utime(top + b"/empty", ns=(1, 1_234_567_890_123_456_789))
    if os.geteuid() == 0:
        os.chown(top + b"/p" + b"p" * 98, 12_345_678, 99_999_999)
        os.chmod(top + b"/p" + b"p" * 98, 0o4751)
    os.utime(top + b"/empty-folder", ns=(0, 987_654_321_987_654_321))


def add_special_files(root: Path) -> None:
    """Add what no archive of a site holds."""
    os.mkfifo(root / "fifo")
    before = os.getcwd()
    os.chdir(root)
    try:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind("socket")
    finally:
        os.chdir(before)


def describe(root: Path, *, times: str = "all") -> dict[bytes, tuple[object, ...]]:
    """Return all there is to know of a tree by path; `times` is "all", "files" or "none"."""
    top = os.fsencode(root)
    found: dict[bytes, tuple[object, ...]] = {}
    waiting = [top]
    while waiting:
        path = waiting.pop()
        status = os.lstat(path)
        kind = stat.S_IFMT(status.st_mode)
        regular = kind == stat.S_IFREG
        timed = times == "all" or (times == "files" and regular)
        found[os.path.relpath(path, top)] = (
            oct(status.st_mode),
            status.st_uid,
            status.st_gid,
            status.st_size if regular else 0,
            status.st_mtime_ns if timed else 0,
            status.st_nlink if regular else 0,
            os.readlink(path) if stat.S_ISLNK(status.st_mode) else _digest(path, status),
            _attributes(path) if not stat.S_ISLNK(status.st_mode) else (),
        )
        if kind == stat.S_IFDIR:
            waiting += [os.path.join(path, name) for name in os.listdir(path)]
    return found


def _digest(path: bytes, status: os.stat_result) -> str:
    """Return the sha256 of a file's size and data, holes left out (zeros in data count as one)."""
    if not stat.S_ISREG(status.st_mode):
        return ""
    hasher = hashlib.sha256(b"%d" % status.st_size)
    with open(path, "rb") as file:
        if status.st_size < 1 << 28:
            hasher.update(file.read())
            return hasher.hexdigest()
        position = 0
        while True:
            try:
                position = os.lseek(file.fileno(), position, os.SEEK_DATA)
            except OSError:
                return hasher.hexdigest()
            end = os.lseek(file.fileno(), position, os.SEEK_HOLE)
            block = os.pread(file.fileno(), end - position, position)
            hasher.update(b"%d" % (position + len(block) - len(block.lstrip(b"\0"))))
            hasher.update(block.strip(b"\0"))
            position = end


def _attributes(path: bytes) -> tuple[tuple[str, bytes], ...]:
    names = [name for name in os.listxattr(path) if name.startswith("user.")]
    return tuple((name, os.getxattr(path, name)) for name in sorted(names))
