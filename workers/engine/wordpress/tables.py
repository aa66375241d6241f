"""What a rewrite needs of a database: rows that hold a text, changed by key, all or none."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Protocol, cast

from workers.engine.databases.base import DatabaseSpec
from workers.engine.errors import EngineError

# Text of the key, as the engine's module reads it back.
Key = tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class TextColumn:
    """A column that holds text and is no part of the table's key; bounds are None where unknown."""

    name: str
    most_characters: int | None = None
    most_bytes: int | None = None

    def holds(self, value: bytes) -> bool:
        """Tell whether the value fits."""
        if self.most_bytes is not None and len(value) > self.most_bytes:
            return False
        if self.most_characters is None or len(value) <= self.most_characters:
            return True
        return len(value.decode("utf-8", "replace")) <= self.most_characters


@dataclass(frozen=True, slots=True)
class TableShape:
    """A table: `has_key` is False where no row can be named, so none can be changed."""

    name: str
    has_key: bool
    columns: tuple[TextColumn, ...]


@dataclass(frozen=True, slots=True)
class FoundRow:
    """A row that may hold what is looked for; None for NULL, and in `unread` what was too large."""

    key: Key
    values: tuple[bytes | None, ...]
    unread: tuple[str, ...] = field(default=())


class TableClient(Protocol):
    """One database that is being rewritten; nobody else writes to it meanwhile.

    What is to change is only noted, until `commit` does all of it in one transaction.
    """

    most_value_bytes: int

    def tables(self) -> list[TableShape]:
        """Return the tables, without views, by name."""

    def rows(self, table: TableShape, needles: Sequence[bytes]) -> Iterator[FoundRow]:
        """Yield the rows with one of the byte strings in a text column, their values as stored."""

    def update(self, table: TableShape, key: Key, changes: Mapping[str, bytes]) -> None:
        """Note new values for one row."""

    def change_whole(self, table: str, column: str, old: str, new: str) -> None:
        """Note that values which are `old`, to the letter, are to be `new`."""

    def commit(self) -> None:
        """Carry out what was noted. Raises `EngineError`; then nothing has changed."""


_CLIENTS = {
    "mysql": "workers.engine.wordpress.mysql_tables:opened",
    "sqlite": "workers.engine.wordpress.sqlite_tables:opened",
}


@contextlib.contextmanager
def open_tables(
    spec: DatabaseSpec, *, check: Callable[[], None], scratch_directory: str | None = None
) -> Iterator[TableClient]:
    """Yield a client for the database; what was not committed at the end is forgotten.

    `scratch_directory` may have to hold as much as twice what changes.
    """
    if spec.engine not in _CLIENTS:
        raise EngineError(
            f"A {spec.engine} database cannot be rewritten for another URL",
            hint="Restore it under the same URL, and change that in WordPress.",
            permanent=True,
            code="rewrite_unsupported",
        )
    module, _colon, name = _CLIENTS[spec.engine].partition(":")
    opened = cast(
        "Callable[..., AbstractContextManager[TableClient]]",
        getattr(importlib.import_module(module), name),
    )
    with opened(spec, check, scratch_directory) as client:
        yield client
