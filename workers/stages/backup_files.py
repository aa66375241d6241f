"""Read the site's files into the second segment of the bundle."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from workers.engine.bundle import TreeRoot, estimate_tree, write_tree
from workers.engine.errors import EngineError
from workers.engine.excludes import DEFAULT_EXCLUDES, Excludes
from workers.engine.wordpress import SiteInspection
from workers.stages.context import SiteSpec, StageContext, StageResult, megabytes
from workers.stages.source import database_of, inspect

SQLITE_COMPANIONS = ("", "-wal", "-shm", "-journal")


def run(context: StageContext) -> StageResult:
    """Read each file once: hashed, compressed and written in one pass."""
    inspection = inspect(context.site)
    roots = roots_of(inspection)
    excludes = Excludes(
        DEFAULT_EXCLUDES if context.site.excludes is None else context.site.excludes,
        paths=live_database_files(context.site, inspection),
    )
    context.reporter.detail("Counting files")
    estimate = estimate_tree(roots, excludes=excludes, reporter=context.reporter)
    context.reporter.total(estimate.bytes_total)
    context.reporter.detail(f"Reading {estimate.files} files")
    facts = write_tree(context.directory, roots, excludes=excludes, reporter=context.reporter)
    if estimate.files and not facts.files:
        raise EngineError(
            f"None of the {estimate.files} files of {context.site.name} could be read",
            hint="See that the worker's user may read the site's folder.",
            permanent=True,
            code="files_unreadable",
        )
    return StageResult(
        {"directory": context.directory.name, "facts": asdict(facts)},
        f"Files backed up ({megabytes(facts.bytes_total)})",
        facts.warnings(),
    )


def roots_of(inspection: SiteInspection) -> list[TreeRoot]:
    """Return what goes into the bundle: wp-config.php, if there is one, and wp-content."""
    roots = [TreeRoot(inspection.content_directory, "wp-content")]
    if inspection.config is not None:
        roots.insert(0, TreeRoot(inspection.config.path, "wp-config.php"))
    return roots


def live_database_files(site: SiteSpec, inspection: SiteInspection) -> list[Path]:
    """Return the files of a SQLite database, which cannot be copied while it is written to.

    Their content is in database.sql, taken consistently.
    """
    spec = database_of(site, inspection)
    if spec is None or spec.engine != "sqlite":
        return []
    return [Path(spec.name + companion) for companion in SQLITE_COMPANIONS]
