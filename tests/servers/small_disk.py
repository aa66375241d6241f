"""A disk that is really small, and really full when a test says so."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

MEBIBYTE = 1 << 20
# What a folder in memory of this host may have in all for a test to take all but a part of it.
SMALL_FOLDER = Path("/dev/shm")
SMALL_FOLDER_BYTES = 512 * MEBIBYTE


class SmallDisk:
    """A file system of a few megabytes at `path`; the kernel itself answers ENOSPC."""

    def __init__(self, path: Path, keep_free: int | None = None) -> None:
        self.path = path
        self._ballast = path / ".ballast"
        if keep_free is not None and keep_free < self.free:
            self.leave(keep_free)

    @property
    def free(self) -> int:
        """The bytes that can still be written."""
        found = os.statvfs(self.path)
        return found.f_bavail * found.f_frsize

    @property
    def size_said(self) -> str:
        """The disk's size as errors give it."""
        found = os.statvfs(self.path)
        return f"{found.f_blocks * found.f_frsize / MEBIBYTE:,.1f} MB in all"

    @property
    def used_by_tests(self) -> list[str]:
        """The files on the disk, without the ballast."""
        found = (path.relative_to(self.path) for path in self.path.rglob("*") if path.is_file())
        return sorted(str(path) for path in found if path.name != self._ballast.name)

    def leave(self, free: int) -> None:
        """Fill the disk up until only `free` bytes are left, or let go of as much."""
        with self._ballast.open("ab") as ballast:
            size = ballast.tell() + self.free - free
            assert size >= 0, f"{self.path} has {self.free} bytes free, not {free}"
            if size > ballast.tell():
                os.posix_fallocate(ballast.fileno(), ballast.tell(), size - ballast.tell())
            ballast.truncate(size)

    def fill(self) -> None:
        """Leave no room at all, whoever else may be writing at this moment."""
        with self._ballast.open("ab", buffering=0) as ballast, contextlib.suppress(OSError):
            while True:
                ballast.write(bytes(max(4096, min(self.free, MEBIBYTE))))

    def make_room(self) -> None:
        """Let go of all that the test took."""
        self._ballast.unlink(missing_ok=True)


@contextlib.contextmanager
def small_disk_at(path: Path, size: int) -> Iterator[SmallDisk]:
    """Yield a disk of `size` bytes: mounted at `path`, or what of a small folder in memory is left.

    Mounting needs root, or sudo without a password as many CI machines have it. An unprivileged
    container has no mounts, but a small /dev/shm as a rule.
    """
    path.mkdir()
    options = f"size={size},mode=0700,uid={os.getuid()},gid={os.getgid()}"
    mounted = _as_root("mount", "-t", "tmpfs", "-o", options, "tmpfs", str(path))
    if mounted.returncode == 0:
        try:
            yield SmallDisk(path)
        finally:
            # Lazily: a process that is being killed may still be in it.
            _as_root("umount", "--lazy", str(path)).check_returncode()
        return
    if shutil.disk_usage(SMALL_FOLDER).total > SMALL_FOLDER_BYTES:
        pytest.fail(
            f"No disk can be filled here: {mounted.stderr.strip()}, and {SMALL_FOLDER} is too "
            "large to fill. Run as root, or in a container with a small /dev/shm."
        )
    folder = SMALL_FOLDER / f"holdfast-disk-{os.getpid()}-{path.name}"
    folder.mkdir(mode=0o700)
    try:
        yield SmallDisk(folder, keep_free=size)
    finally:
        shutil.rmtree(folder)


def _as_root(*argv: str) -> subprocess.CompletedProcess[str]:
    sudo = ["sudo", "-n"] if os.geteuid() and shutil.which("sudo") else []
    return subprocess.run([*sudo, *argv], capture_output=True, text=True)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[..., SmallDisk]]:
    """Return what makes small disks: `small_disk(bytes)`."""
    with contextlib.ExitStack() as stack:
        made: list[SmallDisk] = []

        def make(size: int) -> SmallDisk:
            path = tmp_path / f"disk-{len(made)}"
            made.append(stack.enter_context(small_disk_at(path, size)))
            return made[-1]

        yield make
