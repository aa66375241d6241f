"""Where a site's database and files are, from what the panel knows and wp-config.php says."""

from __future__ import annotations

from pathlib import Path

from workers.engine.databases.base import DatabaseSpec
from workers.engine.errors import EngineError
from workers.engine.wordpress import SiteInspection, database_spec, inspect_site
from workers.engine.wordpress.site import examine
from workers.stages.context import SiteSpec


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
    database must be somebody's decision, never an accident.
    """
    if not site.has_database:
        return None
    if site.database is not None:
        return site.database
    if inspection.config is None:
        raise EngineError(
            f"{site.name} has no wp-config.php, so its database is unknown",
            hint="Set the site's database, or set its engine to “none” if it has none.",
            permanent=True,
            code="wp_config_missing",
        )
    return database_spec(inspection.config)
