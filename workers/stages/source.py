"""Where a site's database and files are, from what the panel knows and wp-config.php says."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from workers.engine.bundle import TreeRoot
from workers.engine.confinement import resolve_below
from workers.engine.databases.base import DatabaseSpec
from workers.engine.errors import EngineError
from workers.engine.excludes import DEFAULT_PATTERNS, Excludes
from workers.engine.wordpress import SiteInspection, database_spec, inspect_site
from workers.engine.wordpress.site import examine
from workers.stages.context import SiteSpec

CONTENT_NAME = "wp-content"
SQLITE_COMPANIONS = ("", "-wal", "-shm", "-journal")


def inspect(site: SiteSpec) -> SiteInspection:
    """Look at the site on disk. Raises `EngineError` if it is not there or out of bounds.

    Without wp-config.php only sites whose database is known, or that have none, will do.
    """
    roots = [Path(root) for root in site.allowed_roots]
    if site.wp_config_path is None and (site.database is not None or not site.has_database):
        return examine(site.path, allowed_roots=roots)
    return inspect_site(site.path, wp_config_path=site.wp_config_path, allowed_roots=roots)


def content_of(inspection: SiteInspection) -> Path:
    """Return the resolved folder of the site's content; raises a permanent `EngineError`."""
    if inspection.content_directory is None:
        raise EngineError(
            f"{inspection.path} has no wp-content that could be backed up",
            hint=" ".join(inspection.problems),
            permanent=True,
            code="site_not_found",
        )
    return inspection.content_directory


def database_of(site: SiteSpec, inspection: SiteInspection) -> DatabaseSpec | None:
    """Return the site's database, None if it has none.

    Raises a permanent `EngineError` when nobody says which one it is: a backup without the
    database must be somebody's decision, never an accident; and for a file that lies outside the
    node's roots.
    """
    if not site.has_database:
        return None
    if site.database is not None:
        return _confined(site.database, site)
    if inspection.config is None:
        raise EngineError(
            f"{site.name} has no wp-config.php, so its database is unknown",
            hint="Set the site's database, or set its engine to “none” if it has none.",
            permanent=True,
            code="wp_config_missing",
        )
    return database_spec(inspection.config)


def _confined(spec: DatabaseSpec, site: SiteSpec) -> DatabaseSpec:
    """Return it with the path of its file as it is now; the panel saw only how it was written."""
    if spec.engine != "sqlite":
        return spec
    roots = [Path(root) for root in site.allowed_roots]
    return replace(spec, name=str(resolve_below(Path(spec.name), roots)))


def files_of(site: SiteSpec, inspection: SiteInspection) -> tuple[list[TreeRoot], Excludes]:
    """Return what of the site's files goes into the bundle, and what of that does not."""
    patterns = DEFAULT_PATTERNS if site.excludes is None else site.excludes
    exact_paths = live_database_files(site, inspection)
    return roots_of(inspection), Excludes(patterns, exact_paths=exact_paths)


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
