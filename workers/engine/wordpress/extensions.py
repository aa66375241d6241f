"""Plugins and themes as WordPress finds them: by the comment at the head of their files.

Nothing is executed, and no link is followed: a tree may have been made to lead elsewhere.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

# As WordPress's get_file_data().
HEAD_BYTES = 8192
# What a site may have of each before the rest is not looked at.
MOST_FILES = 5000
_TEXT_LENGTH = 200

_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Extension:
    """A plugin (`file` is its main file below plugins/) or a theme (`file` is its folder)."""

    file: str
    name: str
    version: str


def _header(field: bytes) -> re.Pattern[bytes]:
    # The end of the comment, or of the PHP, may stand in the same line.
    return re.compile(
        rb"^(?:[ \t]*<\?php)?[ \t/*#@]*" + field + rb":(.*?)[ \t]*(?:\*/|\?>)?[ \t]*\r?$",
        re.IGNORECASE | re.MULTILINE,
    )


_PLUGIN_NAME, _THEME_NAME, _VERSION = (
    _header(field) for field in (b"Plugin Name", b"Theme Name", b"Version")
)


def read_plugins(content: Path, check: Callable[[], None]) -> list[Extension]:
    """Return the plugins in a content folder, by file. Raises `OSError` if they cannot be listed.

    Must-use plugins are listed as `mu-plugins/…`; they need no header to run.
    """
    found: list[Extension] = []
    for path, head in _heads(content / "plugins", (b".php",), check):
        if (name := _PLUGIN_NAME.search(head)) is not None:
            found.append(_extension(path, name[1], head))
    with contextlib.suppress(FileNotFoundError):
        for path, head in _heads(content / "mu-plugins", (b".php",), check, deep=False):
            name = _PLUGIN_NAME.search(head)
            found.append(_extension(b"mu-plugins/" + path, name[1] if name else path, head))
    return sorted(found, key=lambda plugin: plugin.file)


def read_themes(content: Path, check: Callable[[], None]) -> list[Extension]:
    """Return the themes in a content folder, by folder. Raises `OSError` as `read_plugins` does."""
    found: list[Extension] = []
    for path, head in _heads(content / "themes", (b"style.css",), check):
        name = _THEME_NAME.search(head)
        if b"/" in path and path.endswith(b"/style.css") and name is not None:
            found.append(_extension(path.removesuffix(b"/style.css"), name[1], head))
    return sorted(found, key=lambda theme: theme.file)


def _extension(path: bytes, name: bytes, head: bytes) -> Extension:
    version = _VERSION.search(head)
    return Extension(_shown(path), _shown(name), _shown(version[1]) if version else "")


def _shown(text: bytes) -> str:
    return text.strip().decode("utf-8", "backslashreplace")[:_TEXT_LENGTH]


def _heads(
    folder: Path, endings: tuple[bytes, ...], check: Callable[[], None], *, deep: bool = True
) -> Iterator[tuple[bytes, bytes]]:
    """Yield path and head of the files with an ending, in `folder` and one folder deeper."""
    left = MOST_FILES
    for path, descriptor, names in _listed(folder, deep=deep):
        check()
        for name in names:
            if name.endswith(endings) and left:
                left -= 1
                with contextlib.suppress(OSError):
                    yield path + name, _head(name, descriptor)


def _listed(folder: Path, *, deep: bool) -> Iterator[tuple[bytes, int, list[bytes]]]:
    descriptor = os.open(folder, _FOLDER_FLAGS)
    try:
        folders, names = _entries(descriptor)
        yield b"", descriptor, names
        for name in folders if deep else ():
            with contextlib.suppress(OSError):
                below = os.open(name, _FOLDER_FLAGS, dir_fd=descriptor)
                try:
                    yield name + b"/", below, _entries(below)[1]
                finally:
                    os.close(below)
    finally:
        os.close(descriptor)


def _entries(descriptor: int) -> tuple[list[bytes], list[bytes]]:
    folders, names = [], []
    with os.scandir(descriptor) as entries:
        for entry in entries:
            # WordPress passes hidden ones over too.
            if entry.name.startswith("."):
                continue
            if entry.is_dir(follow_symlinks=False):
                folders.append(os.fsencode(entry.name))
            elif entry.is_file(follow_symlinks=False):
                names.append(os.fsencode(entry.name))
    return sorted(folders), sorted(names)


def _head(name: bytes, folder: int) -> bytes:
    descriptor = os.open(name, _FILE_FLAGS, dir_fd=folder)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return b""
        return os.read(descriptor, HEAD_BYTES)
    finally:
        os.close(descriptor)
