"""Where a site's database and files are, from what the panel knows and wp-config.php says."""

from __future__ import annotations

from pathlib import Path

from workers.engine.databases.base import DatabaseSpec
from workers.engine.errors import EngineError
from workers.engine.wordpress import SiteInspection, database_spec, inspect_site
from workers.stages.context import SiteSpec


def inspect(site: SiteSpec) -> SiteInspection:
    """Look at the site on disk. Raises `EngineError` if it is not there or out of bounds."""
    return inspect_site(
        site.path,
        wp_config_path=site.wp_config_path,
        allowed_roots=[Path(root) for root in site.allowed_roots],
    )


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
    return database_spec(inspection.config, inspection.path)
