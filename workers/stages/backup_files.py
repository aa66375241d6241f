"""Read the site's files into the second segment of the bundle."""

from __future__ import annotations

from dataclasses import asdict

from workers.engine.bundle import TreeEstimate, estimate_tree, write_tree
from workers.engine.errors import EngineError
from workers.engine.wordpress.facts import inspected_facts
from workers.stages.context import StageContext, StageResult, megabytes
from workers.stages.room import compressed_tree, require_room
from workers.stages.source import files_of, inspect


def run(context: StageContext) -> StageResult:
    """Read each file once: hashed, compressed and written in one pass."""
    inspection = inspect(context.site)
    roots, excludes = files_of(context.site, inspection)
    context.reporter.detail("Counting files")
    estimate = estimate_tree(roots, excludes=excludes, reporter=context.reporter)
    require_room_for(context, estimate)
    context.reporter.total(estimate.bytes)
    context.reporter.detail(f"Reading {estimate.files} files")
    facts = write_tree(context.directory, roots, excludes=excludes, reporter=context.reporter)
    if estimate.files and not facts.files:
        raise EngineError(
            f"None of the {estimate.files} files of {context.site.name} could be read",
            hint="See that the worker's user may read the site's folder.",
            permanent=True,
            code="files_unreadable",
        )
    known = inspected_facts(inspection, context.reporter.check)
    return StageResult(
        {
            "directory": context.directory.name,
            "facts": asdict(facts),
            "wordpress": known.facts,
        },
        f"Files backed up ({megabytes(facts.bytes_total)})",
        tuple(known.warnings),
    )


def require_room_for(context: StageContext, estimate: TreeEstimate) -> None:
    """Raise unless the spool can hold the files.

    The last bundles say best how far they can be compressed, less what the dump took of that.
    """
    segment = context.inputs["backup_db"].get("segment")
    left_of_expected = context.expected_bytes - (segment["segment_size"] if segment else 0)
    needed = max(compressed_tree(estimate), min(left_of_expected, estimate.bytes))
    require_room(context, needed, f"the files of {context.site.name}", is_first=segment is None)
