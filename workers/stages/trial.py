"""Where a dump is loaded for trial, and whether what is there can be held against it row by row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from workers.engine.bundle import BundleReader
from workers.engine.databases import open_restorer, open_trial_server
from workers.engine.databases.base import DatabaseSpec, DumpFacts, TrialServer
from workers.engine.errors import EngineError
from workers.stages.context import StageContext
from workers.stages.restoring import attempt_label, remember_database, target_of

# Of bundles from before the engine was recorded.
_ENGINES = {
    "mariadb-dump": "mysql",
    "mysqldump": "mysql",
    "pg_dump": "postgresql",
    "sqlite3": "sqlite",
}


@dataclass(frozen=True, slots=True)
class Trial:
    """A place for the dump; `is_own` for the server that the site's database is on."""

    server: TrialServer
    is_own: bool = False

    def reads_alike(self, recorded: Mapping[str, Any], found: DumpFacts) -> bool:
        """Tell whether equal rows have equal text in the dump that was made and in the trial's.

        Bundles from before the dialect was recorded have that of their own server.
        """
        names = ("tool", "tool_version", "server_version")
        dialect = recorded.get("dialect", found.dialect if self.is_own else "")
        is_same = all(recorded.get(name) == getattr(found, name) for name in names)
        return is_same and dialect == found.dialect


def prepare_trial(
    context: StageContext, bundle: BundleReader, recorded: Mapping[str, Any]
) -> Trial:
    """Return where the dump goes, after removing what earlier attempts left there.

    That is the node's scratch server if it has one for the engine, else the site's own; SQLite
    needs none. Raises a permanent `EngineError` where there is neither.
    """
    engine = recorded.get("engine") or _ENGINES.get(recorded.get("tool", ""), "")
    if engine == "sqlite":
        unused = DatabaseSpec("sqlite", str(context.directory / "none.sqlite3"))
        return Trial(open_restorer(unused))
    own = [server for server in context.scratch_servers if server.engine == engine]
    if own:
        spec, server = own[0], open_trial_server(own[0])
    else:
        spec = _own_database(context, bundle, engine)
        server = open_restorer(spec)
    remember_database(context.job_directory, spec)
    earlier = [attempt_label(context.job_id, epoch) for epoch in range(1, context.epoch)]
    server.drop_leftovers(earlier, check=context.reporter.check)
    return Trial(server, is_own=not own)


def _own_database(context: StageContext, bundle: BundleReader, engine: str) -> DatabaseSpec:
    if context.is_elsewhere:
        raise EngineError(
            f"{context.node} has no scratch server for {engine}, and the server of"
            f" {context.site.name} is on another node",
            hint="Name one in HOLDFAST_SCRATCH_DATABASES on this node, and start its workers anew.",
            permanent=True,
            code="scratch_server_missing",
        )
    spec = target_of(context, bundle).database
    if spec is None:
        raise EngineError(
            f"{context.site.name} has no database server for a trial restore",
            hint="Set the site's database.",
            permanent=True,
            code="no_database",
        )
    return spec
