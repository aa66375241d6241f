"""Making what was restored that of another place: its configuration, table prefix and address."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from workers.engine.bundle import BundleReader
from workers.engine.databases import open_database
from workers.engine.databases.base import DatabaseSpec
from workers.engine.errors import EngineError
from workers.engine.restore.exchange import explained
from workers.engine.restore.file_switch import FileSwitch
from workers.engine.restore.files import FilePart
from workers.engine.wordpress import read_site_identity
from workers.engine.wordpress.rewrite import rewrite_site
from workers.engine.wordpress.wp_config import TABLE_PREFIX, rewrite_wp_config
from workers.stages.context import StageContext
from workers.stages.restoring import CONFIG_NAME, Target, bundle_of, label_of
from workers.stages.source import CONTENT_NAME

# After the numbers of all parts that a restore may have.
CONFIG_NUMBER = 99_999


def point_copy(context: StageContext, target: Target, files: Sequence[FilePart]) -> None:
    """Have the copy's wp-config.php name the copy's database, if it is another one.

    A file that says it in a way that cannot be changed is a warning: the copy is whole, and what
    is to be changed by hand is told.
    """
    database = target.database
    if context.parameters["target"] != "copy" or database is None or database.engine != "mysql":
        return
    for switch in files:
        if not isinstance(switch, FileSwitch) or switch.target.name != CONFIG_NAME:
            continue
        if switch.new is not None:
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


def rewrite_address(
    context: StageContext, bundle: BundleReader, target: Target, loaded: DatabaseSpec
) -> str:
    """Change the old site's URL and folder into this site's in what was loaded; say what was done.

    Raises a permanent `EngineError` where one of the URLs is unknown.
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
        old_path=recorded_path(bundle),
        new_path=str(_folder_of(context, target)),
        check=context.reporter.check,
        reporter=context.reporter,
        scratch_directory=str(scratch),
    )
    for note in report.notes:
        context.reporter.warn(note)
    return f", {report.rows} rows now say {context.site.url}"


def _folder_of(context: StageContext, target: Target) -> Path:
    """Return the folder that the site is in once it is restored."""
    if context.parameters["target"] != "copy":
        return context.site.path
    return next(root.target.parent for root in target.roots if root.archive_name == CONTENT_NAME)


def recorded_path(bundle: BundleReader) -> str:
    """Return the folder that the bundle's site was in; empty where it is not recorded."""
    settings: dict[str, Any] = bundle.facts().get("site", {}).get("settings") or {}
    return str(settings.get("wp_path") or "")


def recorded_prefix(bundle: BundleReader) -> str:
    """Return the prefix of the bundle's tables; empty where it is not recorded."""
    wordpress: dict[str, Any] = bundle.facts().get("wordpress") or {}
    return str(wordpress.get("table_prefix", ""))


def planned_config(
    context: StageContext, bundle: BundleReader, target: Target
) -> FileSwitch | None:
    """Return the switch of the site's wp-config.php, to be announced before it is prepared.

    None where it needs no other table prefix: the same site, or the same prefix.
    """
    is_own = bundle_of(context).site == context.site.uuid
    if is_own or target.config is None or recorded_prefix(bundle) in ("", target.prefix):
        return None
    return FileSwitch.planned(target.config, label_of(context.job_id), CONFIG_NUMBER)


def prepare_config(context: StageContext, bundle: BundleReader, switch: FileSwitch) -> None:
    """Prepare the site's own wp-config.php with the table prefix of another site's backup.

    Tables keep their names, which others of their statements refer to; the site is told instead.
    """
    config = switch.target
    wanted = {TABLE_PREFIX: recorded_prefix(bundle)}
    edited = rewrite_wp_config(config, wanted, site=context.site.path)
    try:
        switch.discard()
        switch.begin()
        new = switch.staging / CONFIG_NAME
        shutil.copy2(config, new)
        new.write_bytes(edited.content)
        found = config.stat()
        shutil.chown(new, found.st_uid, found.st_gid)
        with new.open("rb") as file:
            os.fsync(file.fileno())
    except OSError as error:
        raise explained(error, f"{config} cannot be prepared") from error
    switch.adopt(new)
