"""How databases are dumped and restored: modules per kind of server, behind `base.Database`.

`base.Restorer` is the other half: what a dump is loaded and put in its place with.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import cast

from workers.engine.databases.base import Database, DatabaseSpec, Restorer, TrialServer
from workers.engine.errors import EngineError

# Loaded when needed: readers of files, which know databases by their marks only, start at once.
ENGINES: dict[str, str] = {
    "mysql": "workers.engine.databases.mysql:MySQLDatabase",
    "postgresql": "workers.engine.databases.postgresql:PostgreSQLDatabase",
    "sqlite": "workers.engine.databases.sqlite:SQLiteDatabase",
}

RESTORERS: dict[str, str] = {
    "mysql": "workers.engine.databases.mysql_restore:MySQLRestorer",
    "postgresql": "workers.engine.databases.postgresql_restore:PostgreSQLRestorer",
    "sqlite": "workers.engine.databases.sqlite_restore:SQLiteRestorer",
}

# Servers that hold none of our sites' databases; SQLite needs none.
TRIAL_SERVERS: dict[str, str] = {
    "mysql": "workers.engine.databases.mysql_trial:MySQLTrialServer",
    "postgresql": "workers.engine.databases.postgresql_trial:PostgreSQLTrialServer",
}


def open_database(spec: DatabaseSpec) -> Database:
    """Return the database that `spec` describes; connects only when it is asked something.

    Raises a permanent `EngineError` for an engine that is not in `ENGINES`.
    """
    return cast(Database, _load(ENGINES, spec))


def open_restorer(spec: DatabaseSpec, lenders: Sequence[DatabaseSpec] = ()) -> Restorer:
    """Return what restores to the database that `spec` describes. See `open_database`.

    `lenders` are servers and accounts that may lend rights, of whatever engines.
    """
    own = [lender for lender in lenders if lender.engine == spec.engine]
    return cast(Restorer, _load(RESTORERS, spec, own))


def open_trial_server(spec: DatabaseSpec) -> TrialServer:
    """Return the server that `spec` describes, a spec without a database's name."""
    return cast(TrialServer, _load(TRIAL_SERVERS, spec))


def _load(registry: dict[str, str], spec: DatabaseSpec, *more: object) -> object:
    if spec.engine not in registry:
        raise EngineError(
            f"There is no database engine {spec.engine!r}",
            hint=f"Choose one of: {', '.join(sorted(registry))}.",
            permanent=True,
            code="database_engine_unknown",
        )
    module, _colon, name = registry[spec.engine].partition(":")
    return getattr(importlib.import_module(module), name)(spec, *more)
