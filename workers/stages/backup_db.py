"""Dump the database into the first segment of the bundle."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from workers.engine.bundle import estimate_tree, write_dump
from workers.engine.databases import open_database
from workers.engine.databases.base import DatabaseEstimate, Dump, DumpFacts, TableMark
from workers.engine.errors import EngineError
from workers.engine.wordpress import SiteInspection
from workers.stages.context import StageContext, StageResult, megabytes
from workers.stages.room import compressed, compressed_tree, require_room
from workers.stages.source import database_of, files_of, inspect
from workers.stages.wordpress_facts import DuringDump


def run(context: StageContext) -> StageResult:
    """Dump consistently, straight into compressed frames; nothing is copied twice."""
    inspection = inspect(context.site)
    spec = database_of(context.site, inspection)
    if spec is None:
        return StageResult({"directory": ""}, "The site has no database")
    database = open_database(spec)
    check = context.reporter.check
    context.reporter.detail(f"Reading the catalogue of {Path(spec.name).name}")
    estimate = database.estimate(check=check)
    require_room_for(context, inspection, estimate)
    context.reporter.total(estimate.bytes_total)
    names = {table.name for table in estimate.tables}
    wordpress = DuringDump(context, inspection, spec, database, names)
    wordpress.begin()
    context.reporter.detail(f"Dumping {len(estimate.tables)} tables")
    scratch = context.directory / "scratch"
    scratch.mkdir(mode=0o700)
    offsets: dict[str, int] = {}
    with database.dump(scratch_directory=str(scratch), check=check) as dump:
        segment = write_dump(
            context.directory,
            located(dump, offsets),
            modified_at_ns=time.time_ns(),
            reporter=context.reporter,
        )
        facts = dump.facts()
    require_every_table(estimate, facts)
    known = wordpress.end()
    return StageResult(
        {
            "directory": context.directory.name,
            "engine": spec.engine,
            "facts": {
                **asdict(facts),
                "engine": spec.engine,
                "tables": dict(facts.tables),
                "table_offsets": offsets,
            },
            "segment": asdict(segment),
            "wordpress": known.facts,
        },
        f"Database dumped ({len(facts.tables)} tables, {megabytes(facts.bytes_total)})",
        (*estimate.warnings, *facts.warnings, *known.warnings),
    )


def located(dump: Dump, offsets: dict[str, int]) -> Iterator[bytes | TableMark]:
    """Pass the dump on, and note where in its text each table begins: a restore may want one."""
    position = 0
    for piece in dump:
        if isinstance(piece, TableMark):
            offsets.setdefault(piece.name, position)
        else:
            position += len(piece)
        yield piece


def require_room_for(
    context: StageContext, inspection: SiteInspection, estimate: DatabaseEstimate
) -> None:
    """Raise unless the spool can hold the dump, and the files after it.

    What the dump needs while it runs is free again before the files are read. Where no backup
    says how large the bundle will be, the files are counted: before hours go into a dump.
    """
    dump = compressed(estimate.bytes_total)
    whole = context.expected_bytes
    if not whole:
        context.reporter.detail("Counting files")
        roots, excludes = files_of(context.site, inspection)
        whole = dump + compressed_tree(estimate_tree(roots, excludes, context.reporter))
        # The plain bundle and the encrypted one are there at the same time.
        whole *= 2 if context.store.recipients else 1
    needed = max(whole, dump + estimate.scratch_bytes)
    require_room(context, needed, f"a backup of {context.site.name}", is_first=True)


def require_every_table(estimate: DatabaseEstimate, facts: DumpFacts) -> None:
    """Raise unless every table of the catalogue is in the dump.

    A table that was dropped in between fails this attempt too; the next one sees it gone.
    """
    missing = sorted({table.name for table in estimate.tables} - set(facts.tables))
    if missing:
        some = ", ".join(missing[:5])
        raise EngineError(
            f"The dump lacks {len(missing)} of {len(estimate.tables)} tables: {some}",
            hint="See that the database user may read every table and view.",
            code="dump_incomplete",
        )
