"""Text from the outside as every database takes it: file names and programs say anything."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def storable(value: Any) -> Any:  # noqa: ANN401
    """Return a text, or JSON with texts in it, with what some database refuses written out.

    PostgreSQL holds no NUL, and UTF-8 no surrogates, which is what Python makes of bytes that are
    no UTF-8. Both become what Python would print: `\\x00`, `\\udcff`.
    """
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")
    if isinstance(value, Mapping):
        return {storable(name): storable(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [storable(item) for item in value]
    return value
