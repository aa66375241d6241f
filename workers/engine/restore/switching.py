"""What every part of a restore offers: prepared first, then switched, and taken back if need be."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol


class Switch(Protocol):
    """One part of a site (a tree, a database), whole beside what it is to replace.

    Each method may be called again, by another process, after an earlier call was cut off at any
    point by a kill or a power cut: it finds out how far that one came, and completes it. None
    raises because something is done already. Calls come in one of two orders: `switch`, then
    `discard`; or, to take everything back, `revert` (whether or not `switch` was called), then
    `discard`.
    """

    def record(self) -> Mapping[str, Any]:
        """Return, as JSON without secrets, what another process needs to make this object again."""

    def switch(self) -> None:
        """Put what was prepared in its place and keep what was there, as nearly atomically as can.

        Raises `EngineError`; then `revert` is called.
        """

    def revert(self) -> None:
        """Put back what was there before `switch`, to the last byte, row and time."""

    def discard(self) -> None:
        """Remove what is not in its place: the old part after `switch`, the new after `revert`."""
