"""Read the site's files into the second segment of the bundle."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path

from workers.engine.bundle import TreeRoot, estimate_tree, write_tree
from workers.engine.errors import EngineError
from workers.engine.excludes import DEFAULT_PATTERNS, Excludes
from workers.engine.wordpress import SiteInspection
from workers.stages.context import SiteSpec, StageContext, StageResult, megabytes
from workers.stages.source import content_of, database_of, inspect

CONTENT_NAME = "wp-content"
SQLITE_COMPANIONS = ("", "-wal", "-shm", "-journal")


def run(context: StageContext) -> StageResult:
    """Read each file once: hashed, compressed and written in one pass."""
    inspection = inspect(context.site)
    roots = roots_of(inspection)
    excludes = Excludes(
        DEFAULT_PATTERNS if context.site.excludes is None else context.site.excludes,
        exact_paths=live_database_files(context.site, inspection),
    )
    context.reporter.detail("Counting files")
    estimate = estimate_tree(roots, excludes=excludes, reporter=context.reporter)
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
    return StageResult(
        {"directory": context.directory.name, "facts": asdict(facts)},
        f"Files backed up ({megabytes(facts.bytes_total)})",
    )


def roots_of(inspection: SiteInspection) -> list[TreeRoot]:
    """Return what goes into the bundle: wp-config.php, if there is one, and wp-content."""
    roots = [TreeRoot(content_of(inspection), CONTENT_NAME)]
    if inspection.config is not None:
        roots.insert(0, TreeRoot(inspection.config.path, "wp-config.php"))
    return roots


def live_database_files(site: SiteSpec, inspection: SiteInspection) -> list[bytes]:
    """Return the archive paths of a SQLite database, no copy of which would be consistent.

    Its content is in database.sql, taken while nobody could write.
    """
    spec = database_of(site, inspection)
    if spec is None or spec.engine != "sqlite":
        return []
    file, content = Path(spec.name).resolve(), content_of(inspection)
    if not file.is_relative_to(content):
        return []
    inside = f"{CONTENT_NAME}/{file.relative_to(content)}"
    return [os.fsencode(inside + companion) for companion in SQLITE_COMPANIONS]
