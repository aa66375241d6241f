"""What may be the key of an object, the same for every kind of store."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping

from workers.engine.errors import EngineError

# S3 allows 1,024 bytes for a whole key (Amazon S3 User Guide, "Naming Amazon S3 objects"), Linux
# 255 for one name; the local store needs 32 of these for the names that it derives.
MAX_KEY_BYTES = 1024
MAX_SEGMENT_BYTES = 223
RESERVED_PREFIX = ".holdfast-"
PROBE_FOLDER = ".holdfast-probe"
_METADATA_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


def checked_key(key: str) -> str:
    """Return `key`, or raise a permanent `EngineError` with code `invalid_key`.

    A key is relative, its segments are separated by single slashes, none is "." or "..", none
    begins with the names that the stores keep for themselves, and no character is a control one.
    """
    if reason := _reason_against(key):
        raise EngineError(
            f"The object key {key[:200]!r} cannot be used: {reason}",
            hint="Keys are relative paths such as node/site/name.tar.zst.",
            permanent=True,
            code="invalid_key",
        )
    return key


def checked_metadata(metadata: Mapping[str, str], sha256: str) -> dict[str, str]:
    """Return what is kept with an object: `metadata` and its `sha256`.

    Raises a permanent `EngineError` for names that do not survive as HTTP headers: they are of
    lower-case letters, digits and hyphens (an underscore is dropped by many proxies).
    """
    for name in metadata:
        if not _METADATA_NAME.fullmatch(name):
            raise EngineError(
                f"The metadata name {name!r} cannot be used.",
                hint="Names are of lower-case letters, digits and hyphens.",
                permanent=True,
                code="invalid_metadata",
            )
    return {**metadata, "sha256": sha256}


def is_plain_key(key: str) -> bool:
    """Tell whether `key` could have been stored by us, as `checked_key` would allow it."""
    return not _reason_against(key)


def _reason_against(key: str) -> str:
    try:
        encoded = key.encode("utf-8")
    except UnicodeEncodeError:
        return "it is not valid Unicode"
    if not encoded or len(encoded) > MAX_KEY_BYTES:
        return f"it must have 1 to {MAX_KEY_BYTES} bytes"
    if any(unicodedata.category(character) == "Cc" for character in key):
        return "it holds a control character"
    for segment in key.split("/"):
        if segment in {"", ".", ".."}:
            return "it has an empty, '.' or '..' segment"
        if len(segment.encode()) > MAX_SEGMENT_BYTES:
            return f"a segment is longer than {MAX_SEGMENT_BYTES} bytes"
        if segment.startswith(RESERVED_PREFIX):
            return f"segments that begin with {RESERVED_PREFIX} are reserved"
    return ""
