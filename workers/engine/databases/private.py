"""What the database clients need to be told without anybody else of the host seeing it."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from workers.engine.errors import EngineError


@contextlib.contextmanager
def private_directory(inside: str | None = None) -> Iterator[Path]:
    """Yield a new folder of mode 0700, below `inside` if given, that is removed at the end."""
    with tempfile.TemporaryDirectory(prefix="holdfast-", dir=inside) as directory:
        yield Path(directory)


def write_private(path: Path, text: str) -> None:
    """Write `text` to a new file that only its owner may read, from its first moment on."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8", errors="surrogateescape") as file:
        file.write(text)


@contextlib.contextmanager
def readable(text: str) -> Iterator[int]:
    """Yield a descriptor from which a child reads `text`; it is in memory only."""
    descriptor = os.memfd_create("holdfast", os.MFD_CLOEXEC)
    try:
        with os.fdopen(os.dup(descriptor), "wb") as file:
            file.write(text.encode("utf-8", "surrogateescape"))
        os.lseek(descriptor, 0, os.SEEK_SET)
        yield descriptor
    finally:
        os.close(descriptor)


def refuse_control_characters(label: str, value: str, refused: str = "\0") -> None:
    """Raise a permanent `EngineError` when `value` holds what no client can be told."""
    if any(character in value for character in refused):
        raise EngineError(
            f"The database's {label} holds a character that its client cannot be given",
            hint=f"Change the {label} to one without line breaks and NUL characters.",
            permanent=True,
            code="credentials_unusable",
        )
