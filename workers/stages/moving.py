"""Making what was restored that of another place: its configuration, table prefix and address."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from workers.engine.bundle import BundleReader
from workers.engine.databases import open_database
from workers.engine.databases.base import DatabaseSpec
from workers.engine.errors import EngineError
from workers.engine.restore.file_switch import FileSwitch
from workers.engine.wordpress import read_site_identity
from workers.engine.wordpress.rewrite import rewrite_site
from workers.engine.wordpress.wp_config import TABLE_PREFIX, rewrite_wp_config
from workers.stages.context import StageContext
from workers.stages.restoring import CONFIG_NAME, Target, bundle_of, label_of

# After the numbers of all parts that a restore may have.
CONFIG_NUMBER = 99_999


def point_copy(context: StageContext, target: Target, files: Sequence[FileSwitch]) -> None:
    """Have the copy's wp-config.php name the copy's database, if it is another one.

    A file that says it in a way that cannot be changed is a warning: the copy is whole, and what
    is to be changed by hand is told.
    """
    database = target.database
    if context.parameters["target"] != "copy" or database is None or database.engine != "mysql":
        return
    for switch in files:
        if switch.target.name == CONFIG_NAME and switch.new is not None:
            try:
                edited = rewrite_wp_config(switch.new, {"DB_NAME": database.name})
            except EngineError as error:
                context.reporter.warn(
                    f"{switch.target} still names the site's own database: {error.message}. "
                    f"Change DB_NAME there to {database.name} before the copy is used"
                )
                continue
            # In place, for its inode is what the switch knows it by.
            with switch.new.open("r+b") as file:
                file.write(edited.content)
                file.truncate()


def rewrite_address(context: StageContext, bundle: BundleReader, loaded: DatabaseSpec) -> str:
    """Change the old site's address into this site's in what was loaded; return what was done.

    Raises a permanent `EngineError` where one of the two is unknown.
    """
    prefix = recorded_prefix(bundle)
    old = bundle_of(context).site_url
    if not old:
        identity = read_site_identity(open_database(loaded), prefix)
        old = identity.home or identity.site_url
    if not context.site.url:
        raise EngineError(
            f"{context.site.name} has no URL that the backup's could be changed into",
            hint="Set the site's URL, or restore without rewriting.",
            permanent=True,
            code="url_missing",
        )
    scratch = context.directory / "rewriting"
    scratch.mkdir(mode=0o700)
    report = rewrite_site(
        loaded,
        prefix=prefix,
        old_url=old,
        new_url=context.site.url,
        check=context.reporter.check,
        reporter=context.reporter,
        scratch_directory=str(scratch),
    )
    return f", {report.rows} rows now say {context.site.url}"


def recorded_prefix(bundle: BundleReader) -> str:
    """Return the prefix of the bundle's tables; empty where it is not recorded."""
    wordpress: dict[str, Any] = bundle.facts().get("wordpress") or {}
    return str(wordpress.get("table_prefix", ""))


def with_prefix(
    context: StageContext, bundle: BundleReader, config: Path | None, prefix: str
) -> FileSwitch | None:
    """Prepare the site's own wp-config.php with the table prefix of another site's backup.

    Tables keep their names, which others of their statements refer to; the site is told instead.
    None where that is not needed: the same site, or the same prefix.
    """
    wanted = recorded_prefix(bundle)
    if bundle_of(context).site == context.site.uuid or config is None or wanted in ("", prefix):
        return None
    edited = rewrite_wp_config(config, {TABLE_PREFIX: wanted}, site=context.site.path)
    switch = FileSwitch.planned(config, label_of(context.job_id), CONFIG_NUMBER)
    switch.discard()
    switch.begin()
    new = switch.staging / CONFIG_NAME
    shutil.copy2(config, new)
    new.write_bytes(edited.content)
    found = config.stat()
    shutil.chown(new, found.st_uid, found.st_gid)
    switch.adopt(new)
    return switch
