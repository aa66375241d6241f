"""How databases are dumped: one module per kind of server, all behind `base.Database`."""

from __future__ import annotations

from collections.abc import Callable

from workers.engine.databases.base import Database, DatabaseSpec
from workers.engine.databases.mysql import MySQLDatabase
from workers.engine.databases.postgresql import PostgreSQLDatabase
from workers.engine.databases.sqlite import SQLiteDatabase
from workers.engine.errors import EngineError

ENGINES: dict[str, Callable[[DatabaseSpec], Database]] = {
    "mysql": MySQLDatabase,
    "postgresql": PostgreSQLDatabase,
    "sqlite": SQLiteDatabase,
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
    return ENGINES[spec.engine](spec)
