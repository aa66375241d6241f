"""How databases are dumped: one module per kind of server, all behind `base.Database`."""

from __future__ import annotations

import importlib
from typing import cast

from workers.engine.databases.base import Database, DatabaseSpec
from workers.engine.errors import EngineError

# Loaded when needed: readers of files, which know databases by their marks only, start at once.
ENGINES: dict[str, str] = {
    "mysql": "workers.engine.databases.mysql:MySQLDatabase",
    "postgresql": "workers.engine.databases.postgresql:PostgreSQLDatabase",
    "sqlite": "workers.engine.databases.sqlite:SQLiteDatabase",
}


def open_database(spec: DatabaseSpec) -> Database:
    """Return the database that `spec` describes; connects only when it is asked something.

    Raises a permanent `EngineError` for an engine that is not in `ENGINES`.
    """
    if spec.engine not in ENGINES:
        raise EngineError(
            f"There is no database engine {spec.engine!r}",
            hint=f"Choose one of: {', '.join(sorted(ENGINES))}.",
            permanent=True,
            code="database_engine_unknown",
        )
    module, _colon, name = ENGINES[spec.engine].partition(":")
    return cast(Database, getattr(importlib.import_module(module), name)(spec))
