from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.servers.age import KeyPair, make_key


class MemorySource:
    """Bytes that can be read at any offset; notes what was read."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.reads: list[tuple[int, int]] = []

    @property
    def size(self) -> int:
        return len(self.data)

    def read_at(self, offset: int, length: int) -> bytes:
        data = self.data[offset : offset + length]
        self.reads.append((offset, len(data)))
        return data


@pytest.fixture
def new_key(tmp_path: Path) -> Callable[[], KeyPair]:
    made = []

    def make() -> KeyPair:
        made.append(make_key(tmp_path / f"key-{len(made)}.txt"))
        return made[-1]

    return make
