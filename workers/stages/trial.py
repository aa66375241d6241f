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
    """A place for the dump; `is_own` for the server that the site's database is on.

    Without a `spec` there is nothing to sign in to, and nothing that a folder does not hold.
    """

    server: TrialServer
    spec: DatabaseSpec | None = None
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

    Raises `EngineError`. Of scratch servers only one that answers is remembered: on another there
    can be nothing to settle.
    """
    trial = place_for(context, bundle, recorded)
    if trial.spec is not None:
        # The site's server is not asked before there is need.
        end = context.epoch if trial.is_own else context.epoch + 1
        labels = [attempt_label(context.job_id, epoch) for epoch in range(1, end)]
        trial.server.drop_leftovers(labels, check=context.reporter.check)
        remember_database(context.job_directory, trial.spec)
    return trial


def place_for(context: StageContext, bundle: BundleReader, recorded: Mapping[str, Any]) -> Trial:
    """Return the place for a dump: the node's scratch server of its kind, else the site's own.

    SQLite needs none. Raises a permanent `EngineError` where there is neither.
    """
    engine = recorded.get("engine") or _ENGINES.get(recorded.get("tool", ""), "")
    if engine == "sqlite":
        unused = DatabaseSpec("sqlite", str(context.directory / "none.sqlite3"))
        return Trial(open_restorer(unused))
    for server in context.scratch_servers:
        if server.engine == engine:
            return Trial(open_trial_server(server), server)
    own = _own_database(context, bundle, engine)
    return Trial(open_restorer(own), own, is_own=True)


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
