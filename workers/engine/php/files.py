"""The files that a site's settings may be read from."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from workers.engine.php.values import Unknown

# Settings are a few KiB; a hostile file of this size keeps the reader busy for about 2 seconds.
MAX_FILE_BYTES = 256 << 10


@dataclass(frozen=True, slots=True)
class SiteFiles:
    """Reads below `roots`, links resolved, and nothing else.

    The reader may have more rights than the site's PHP has. So that a site's owner cannot have it
    read what PHP could not, a file must belong to `owner` (who owns `wp-config.php`) or be
    readable by everybody. `environment` names files of secrets by variables that end in `_FILE`,
    as containers do: whoever gives the environment vouches for those.
    """

    roots: tuple[Path, ...]
    owner: int
    environment: Mapping[str, str] | None

    def exists(self, path: str, kind: str) -> bool | Unknown:
        """Return whether there is a file or folder; `kind` is "file", "dir" or "any"."""
        resolved = self.resolve(path)
        if isinstance(resolved, Unknown):
            return resolved
        try:
            mode = resolved.stat().st_mode
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError as error:
            return Unknown(f"{path} cannot be looked at ({error.strerror})")
        wanted = {"file": stat.S_ISREG, "dir": stat.S_ISDIR}.get(kind)
        return wanted is None or wanted(mode)

    def read(self, path: str) -> tuple[Path, bytes] | Unknown:
        """Return the resolved path and the content of a file of at most `MAX_FILE_BYTES`."""
        resolved = self.resolve(path)
        if isinstance(resolved, Unknown):
            return resolved
        try:
            descriptor = os.open(resolved, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError as error:
            return Unknown(f"{path} cannot be opened ({error.strerror})")
        try:
            content = self._content(descriptor, path)
        finally:
            os.close(descriptor)
        if isinstance(content, Unknown):
            return content
        if len(content) > MAX_FILE_BYTES:
            return Unknown(f"{path} is larger than {MAX_FILE_BYTES} bytes")
        return resolved, content

    def _content(self, descriptor: int, path: str) -> bytes | Unknown:
        facts = os.fstat(descriptor)
        if not stat.S_ISREG(facts.st_mode):
            return Unknown(f"{path} is no plain file")
        if not (facts.st_uid == self.owner or facts.st_mode & stat.S_IROTH):
            return Unknown(f"{path} belongs to somebody else than wp-config.php")
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            try:
                return file.read(MAX_FILE_BYTES + 1)
            except OSError as error:
                return Unknown(f"{path} cannot be read ({error.strerror})")

    def resolve(self, path: str) -> Path | Unknown:
        """Return where a path leads with every link followed, if that is a place to read."""
        if "\0" in path:
            return Unknown("a path holds a zero byte")
        if not path.startswith("/"):
            return Unknown(f"{path} is relative to a folder that is not known here")
        try:
            resolved = Path(os.path.realpath(path))
        except OSError as error:
            return Unknown(f"{path} cannot be resolved ({error.strerror})")
        if any(resolved.is_relative_to(root) for root in self.roots):
            return resolved
        if any(
            name.endswith("_FILE") and value == path
            for name, value in (self.environment or {}).items()
        ):
            return resolved
        return Unknown(f"{path} lies outside the site")


def decode(content: bytes) -> tuple[str, str]:
    """Return a PHP file's text and the encoding it is in: UTF-8, else Latin-1."""
    content = content.removeprefix(b"\xef\xbb\xbf")
    try:
        return content.decode("utf-8"), "utf-8"
    except UnicodeDecodeError:
        return content.decode("latin-1"), "latin-1"
