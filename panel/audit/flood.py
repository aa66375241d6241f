"""Counts what comes from each address, so that nobody fills the disk with refusals."""

from __future__ import annotations

import ipaddress
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

WINDOW_SECONDS = 60.0
MOST_ENTRIES = 60
# Whoever has more addresses than that is one crowd.
MOST_ADDRESSES = 1000
CROWD = "others"


@dataclass(slots=True)
class _Count:
    began: float
    seen: int = 0


class Flood:
    """How much one process has kept of each address within a minute."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._counts: dict[str, _Count] = {}

    def admits(self, address: str | None) -> bool:
        """Count one more; return whether it is still to be kept."""
        with self._lock:
            key = _neighbourhood(address)
            if key not in self._counts and len(self._counts) >= MOST_ADDRESSES:
                key = CROWD
            count = self._counts.setdefault(key, _Count(self._clock()))
            count.seen += 1
            return count.seen <= MOST_ENTRIES

    def ended(self) -> list[tuple[str, int]]:
        """Return what was left out, by address, in the minutes that are over; each time once."""
        now = self._clock()
        with self._lock:
            over = {
                key: count
                for key, count in self._counts.items()
                if now - count.began >= WINDOW_SECONDS
            }
            for key in over:
                del self._counts[key]
        left_out = ((key, count.seen - MOST_ENTRIES) for key, count in over.items())
        return [(key, number) for key, number in left_out if number > 0]


def _neighbourhood(address: str | None) -> str:
    """Return the address; of IPv6, the network that one subscriber has to himself."""
    try:
        found = ipaddress.ip_address(address or "")
    except ValueError:
        return ""
    if found.version == 4:
        return str(found)
    network = ipaddress.ip_network((int(found) >> 64 << 64, 64))
    return str(network.network_address)
