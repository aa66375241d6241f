"""The file of variables that a host gets when it joins: read by every process, written by one.

The common part of what systemd (`EnvironmentFile=`), Compose (`env_file:`) and shells understand:
`NAME=value` lines, values as they are or in quotes. A `$` must be in single quotes, since Compose
and shells would replace it.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured

_LINE = re.compile(r"(?:export\s+)?([A-Za-z_]\w*)\s*=\s*(.*)")
# What no shell takes for anything else either; only this is written without quotes.
_SAFE = re.compile(r"[\w./:@%=+,-]*", re.ASCII)
_PLAIN = re.compile(r"[^'\"\\\s$]*")
_SINGLE_QUOTED = re.compile(r"'([^']*)'")
_DOUBLE_QUOTED = re.compile(r'"((?:[^"\\$]|\\["\\$])*)"')


def read_private(path: Path) -> dict[str, str]:
    """Return the file's variables; raises `ImproperlyConfigured`, also if others may read it."""
    try:
        if path.stat().st_mode & 0o077:
            raise ImproperlyConfigured(
                f"{path} holds secrets and is open to other users: chmod 600 {path}"
            )
        lines = path.read_text().splitlines()
    except OSError as error:
        raise ImproperlyConfigured(f"{path} cannot be read ({error.strerror}).") from error
    except ValueError as error:
        raise ImproperlyConfigured(f"{path} is no text.") from error
    numbered = enumerate((line.strip() for line in lines), start=1)
    return dict(
        _variable(path, number, line) for number, line in numbered if line and line[0] not in "#;"
    )


def _variable(path: Path, number: int, line: str) -> tuple[str, str]:
    if found := _LINE.fullmatch(line):
        name, value = found.groups()
        if _PLAIN.fullmatch(value):
            return name, value
        if quoted := _SINGLE_QUOTED.fullmatch(value):
            return name, quoted[1]
        if quoted := _DOUBLE_QUOTED.fullmatch(value):
            return name, re.sub(r"\\(.)", r"\1", quoted[1])
    # What is on the line may be half of a secret.
    raise ImproperlyConfigured(f"{path}, line {number}: not NAME=value, or quoted wrongly.")


@contextmanager
def replacing_private(path: Path) -> Iterator[Callable[[Mapping[str, str]], None]]:
    """Yield what writes variables to the file at once and wholly, for its owner's eyes only.

    That it can be written is found out on entry, by an `OSError`: what it is to hold may be had
    only once.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    with os.fdopen(descriptor, "w") as file:

        def write(variables: Mapping[str, str]) -> None:
            file.writelines(f"{_line(*item)}\n" for item in variables.items())
            file.flush()
            os.fsync(file.fileno())
            Path(name).replace(path)
            _sync(path.parent)

        try:
            yield write
        finally:
            Path(name).unlink(missing_ok=True)


def _line(name: str, value: str) -> str:
    if _SAFE.fullmatch(value):
        return f"{name}={value}"
    if "'" not in value and len(value.splitlines()) == 1:
        return f"{name}='{value}'"
    raise ImproperlyConfigured(f"{name} holds a quote or a line break, which no file can hold.")


def _sync(folder: Path) -> None:
    """Make a rename in the folder outlast a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
