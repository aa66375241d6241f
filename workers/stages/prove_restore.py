"""Restore the bundle into scratch places, and compare everything with what was recorded."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from workers.engine.bundle import BundleReader, ExtractReport, extract
from workers.engine.bundle.dump import DUMP_NAME
from workers.engine.bundle.manifest import MANIFEST_NAME
from workers.engine.databases import open_restorer
from workers.engine.databases.base import TableFacts
from workers.engine.errors import EngineError
from workers.stages.context import StageContext, StageResult, megabytes
from workers.stages.restoring import (
    attempt_label,
    opened_bundle,
    remember_database,
    target_of,
)
from workers.stages.room import require_room

# Sentences in one error: what is wrong with thousands of files is told by the first of them.
MOST_TOLD = 20


def run(context: StageContext) -> StageResult:
    """Extract every file and load the database: nothing of the site is touched, or even read.

    Each file's sha256 is compared as it is extracted. The clock runs while the site is restored,
    and not while it is counted.
    """
    with opened_bundle(context) as bundle:
        recorded = bundle.facts()
        require_room(context, bundle.footer.content_size, "a trial restore", is_first=False)
        context.reporter.total(context.inputs["verify_bundle"]["bytes"])
        begun = time.monotonic()
        report = _extract(context, bundle)
        differences = compare_files(recorded["files"], report)
        seconds = time.monotonic() - begun
        tables: dict[str, TableFacts] = {}
        if recorded.get("database"):
            loading, tables = _load(context, bundle)
            seconds += loading
            differences += compare_tables(recorded["database"], tables)
    if differences:
        raise EngineError(
            "\n".join(differences[:MOST_TOLD]),
            hint="This backup does not restore what was backed up. Make a new one; older ones are "
            "kept.",
            permanent=True,
            code="proof_failed",
        )
    facts = {"files": report.files, "folders": report.folders, "tables": len(tables),
             "rows": sum(table.rows or 0 for table in tables.values())}  # fmt: skip
    return StageResult(
        {"seconds": seconds, "bytes": report.bytes, "facts": facts, "directory": ""},
        f"Restored for trial in {seconds:.0f} s ({megabytes(report.bytes)}), all as recorded",
    )


def _extract(context: StageContext, bundle: BundleReader) -> ExtractReport:
    context.reporter.detail("Restoring the files for trial")
    not_files = {DUMP_NAME.encode(), MANIFEST_NAME}
    tops = {member.path.split(b"/")[0] for member in bundle.members()} - not_files
    target = context.directory / "files"
    return extract(bundle, sorted(tops), target, reporter=context.reporter, owners=False)


def _load(context: StageContext, bundle: BundleReader) -> tuple[float, dict[str, TableFacts]]:
    """Return how long loading took, in seconds, and what is in each table then."""
    context.reporter.detail("Restoring the database for trial")
    spec = target_of(context, bundle).database
    if spec is None:
        raise EngineError(
            f"{context.site.name} has no database server for a trial restore",
            hint="Set the site's database.",
            permanent=True,
            code="no_database",
        )
    remember_database(context.job_directory, spec)
    scratch = _folder(context, "scratch")
    restorer = open_restorer(spec)
    check = context.reporter.check
    restorer.drop_leftovers(
        [attempt_label(context.job_id, epoch) for epoch in range(1, context.epoch)], check=check
    )
    begun = time.monotonic()
    with restorer.scratch(
        bundle.read(DUMP_NAME),
        label=attempt_label(context.job_id, context.epoch),
        scratch_directory=str(scratch),
        check=check,
    ) as database:
        seconds = time.monotonic() - begun
        context.reporter.detail("Counting rows and sums")
        counting = _folder(context, "counting")
        return seconds, database.checksums(scratch_directory=str(counting), check=check)


def _folder(context: StageContext, name: str) -> Path:
    folder = context.directory / name
    folder.mkdir(mode=0o700)
    return folder


def compare_files(recorded: Mapping[str, Any], report: ExtractReport) -> list[str]:
    """Return a sentence for each count of files that is not as recorded."""
    links = recorded["symlinks"] + recorded["hard_links"]
    pairs = (
        ("files", recorded["files"] + links, report.files + report.links),
        ("folders", recorded["folders"], report.folders),
    )
    return [f"{name}: {was} were backed up, {now} came back" for name, was, now in pairs
            if was != now]  # fmt: skip


def compare_tables(recorded: Mapping[str, Any], found: Mapping[str, TableFacts]) -> Sequence[str]:
    """Return a sentence for each table that is missing, or holds something else."""
    differences = []
    checksums = recorded.get("checksums", {})
    for name, rows in recorded["tables"].items():
        table = found.get(name)
        if table is None:
            if rows is not None:
                differences.append(f"table {name}: {rows} rows were backed up, none came back")
        elif rows is not None and table.rows is not None and rows != table.rows:
            differences.append(f"table {name}: {rows} rows were backed up, {table.rows} came back")
        elif name in checksums and checksums[name] != table.checksum:
            differences.append(f"table {name}: its rows are not those that were backed up")
    return differences
