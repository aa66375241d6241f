"""Load the dump beside the live database, then exchange that and the files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from workers.engine.bundle import BundleReader
from workers.engine.bundle.dump import DUMP_NAME
from workers.engine.databases import open_database, open_restorer
from workers.engine.databases.base import DatabaseSpec, DatabaseSwitch
from workers.engine.errors import EngineError
from workers.engine.restore.file_switch import FileSwitch
from workers.engine.restore.files import FilePart, switch_of
from workers.engine.restore.journal import SWITCHED
from workers.engine.restore.switching import Switch
from workers.stages.context import StageContext, StageResult, WorkMissing
from workers.stages.moving import planned_config, prepare_config, rewrite_address
from workers.stages.restoring import (
    FILES,
    attempt_label,
    dump_pieces,
    journal_of,
    opened_bundle,
    remember_database,
    settle,
    target_of,
)


def run(context: StageContext) -> StageResult:
    """Load all of it, or the tables that are wanted; exchange only once everything is there."""
    if context.parameters["what"] == FILES:
        return StageResult({"directory": ""}, "No database was asked for")
    if context.parameters["dry_run"]:
        return _plan(context)
    journal = journal_of(context.job_directory)
    if journal.is_switching:
        return _settled(context)
    with opened_bundle(context) as bundle:
        target = target_of(context, bundle)
        if target.database is None:
            raise _no_database(context)
        records = context.inputs["restore_files"]["switches"]
        files = [switch_of(record) for record in records]
        spec, is_new = in_new_tree(target.database, files)
        switch = _load(context, bundle, spec)
        done = ""
        if context.parameters["rewrite_url"] and switch.loaded is not None:
            done = rewrite_address(context, bundle, target, switch.loaded)
        if config := planned_config(context, bundle, target):
            files.append(config)
            journal.announce([switch, *files])
            prepare_config(context, bundle, config)
        fetched = bundle.bytes_fetched
    switches: list[Switch] = [switch, *files]
    if is_new:
        # Nothing stands there: the database comes to its place with the files.
        switch.switch()
        switch.discard()
        switches = [*files]
    journal.announce(switches)
    context.reporter.check()
    journal.commit(switches)
    outputs = {"directory": "", "fetched": fetched, "tables": len(switch.tables)}
    return StageResult(outputs, f"Database restored ({len(switch.tables)} tables){done}")


def _load(context: StageContext, bundle: BundleReader, spec: DatabaseSpec) -> DatabaseSwitch:
    """Load what is wanted of the dump beside the live database."""
    remember_database(context.job_directory, spec)
    restorer = open_restorer(spec, context.scratch_servers)
    check = context.reporter.check
    earlier = [attempt_label(context.job_id, epoch) for epoch in range(1, context.epoch)]
    restorer.drop_leftovers(earlier, check=check)
    _require_place(context, spec)
    tables = context.parameters["tables"] or None
    context.reporter.total(bundle.member(DUMP_NAME).size)
    context.reporter.detail("Loading the database beside the live one")
    scratch = context.directory / "scratch"
    scratch.mkdir(mode=0o700)
    # SQLite's text has no parts that stand alone.
    wanted = None if spec.engine == "sqlite" else tables
    return restorer.prepare(
        dump_pieces(bundle, wanted),
        label=attempt_label(context.job_id, context.epoch),
        tables=tables,
        scratch_directory=str(scratch),
        check=check,
        reporter=context.reporter,
    )


def _require_place(context: StageContext, spec: DatabaseSpec) -> None:
    """Make the database that is missing; raise where a copy's holds something already."""
    present = _present(context, spec)
    if present is None:
        open_restorer(spec).make_database(check=context.reporter.check)
    elif present and context.parameters["target"] == "copy":
        raise EngineError(
            f"The database {spec.name} is not empty, so no copy can be put there",
            hint="Name a database that does not exist yet.",
            permanent=True,
            code="target_exists",
        )


def in_new_tree(spec: DatabaseSpec, files: Sequence[FilePart]) -> tuple[DatabaseSpec, bool]:
    """Return where a SQLite database is made whose folder comes with the files, and whether it is.

    That is in the tree which is to be exchanged: as in a copy, or where the site is gone.
    """
    file = Path(spec.name)
    if spec.engine != "sqlite" or file.parent.is_dir():
        return spec, False
    for switch in files:
        if isinstance(switch, FileSwitch) and switch.new and file.is_relative_to(switch.target):
            inside = switch.new / file.relative_to(switch.target)
            inside.parent.mkdir(parents=True, exist_ok=True)
            return replace(spec, name=str(inside)), True
    return spec, False


def _settled(context: StageContext) -> StageResult:
    """Go on from where an earlier attempt was cut off in the middle of the exchange."""
    if settle(context.job_directory, context.scratch_servers) == SWITCHED:
        return StageResult({"directory": ""}, "Database restored")
    raise WorkMissing(
        "The exchange was cut off and had to be taken back: the site is as before",
        hint="The job begins again.",
    )


def _no_database(context: StageContext) -> EngineError:
    return EngineError(
        f"{context.site.name} has no database to restore to",
        hint="Restore the files only.",
        permanent=True,
        code="no_database",
    )


def _plan(context: StageContext) -> StageResult:
    with opened_bundle(context) as bundle:
        spec = target_of(context, bundle).database
        if spec is None:
            raise _no_database(context)
        recorded = (bundle.facts().get("database") or {}).get("tables", {})
        size = bundle.member(DUMP_NAME).size
    chosen = context.parameters["tables"] or sorted(recorded)
    if missing := [name for name in chosen if name not in recorded]:
        raise EngineError(
            f"The dump has no tables {', '.join(missing[:5])}",
            hint=f"It has {', '.join(sorted(recorded)[:20]) or 'none'}.",
            permanent=True,
            code="table_missing",
        )
    present = _present(context, spec) or set()
    plan: dict[str, Any] = {
        "tables": [
            {"name": name, "rows": recorded.get(name), "exists": name in present} for name in chosen
        ],
        "dropped": [] if context.parameters["tables"] else sorted(present - recorded.keys()),
        "dump_bytes": size,
    }
    words = f"{len(chosen)} tables would be replaced, {len(plan['dropped'])} dropped"
    return StageResult({"directory": "", "plan": plan}, words)


def _present(context: StageContext, spec: DatabaseSpec) -> set[str] | None:
    """Return the tables that are there now; None where there is no such database."""
    try:
        estimate = open_database(spec).estimate(check=context.reporter.check)
    except EngineError as error:
        if error.code not in ("database_unknown", "table_damaged"):
            raise
        return None if error.code == "database_unknown" else set()
    return {table.name for table in estimate.tables}
