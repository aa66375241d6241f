"""What the stages of a restore share: the bundle, where its parts go, and how it ends."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from workers.engine.age import plain_source
from workers.engine.bundle import BundleReader
from workers.engine.bundle.dump import DUMP_NAME
from workers.engine.confinement import resolve_new_below
from workers.engine.databases import open_restorer, open_trial_server
from workers.engine.databases.base import DatabaseSpec
from workers.engine.databases.private import write_private
from workers.engine.errors import EngineError
from workers.engine.excludes import DEFAULT_PATTERNS, Excludes
from workers.engine.restore import file_switch, removal
from workers.engine.restore.files import RestoreRoot, switch_of
from workers.engine.restore.journal import Journal
from workers.engine.restore.switching import Switch
from workers.engine.room import FULL
from workers.engine.sources import ByteSource, FilesSource
from workers.engine.wordpress import SiteInspection, database_spec, read_wp_config
from workers.engine.wordpress.site import examine
from workers.stages.context import BundleSpec, SiteSpec, StageContext, WorkMissing
from workers.stages.source import CONTENT_NAME, SQLITE_COMPANIONS, database_of

BUNDLE_NAME, END_NAME = "bundle", "end"
CONFIG_NAME = "wp-config.php"
ALL, FILES, DATABASE = "all", "files", "database"
# In the job's folder, beside the stages' own.
JOURNAL_NAME, SPEC_NAME = "journal", "database"
# Of the job's id, in the names of what is prepared beside a site: enough to be nobody else's.
_LABEL_LENGTH = 12


def label_of(job_id: str) -> str:
    """Return what names a job's preparations beside the site."""
    return job_id.replace("-", "")[:_LABEL_LENGTH]


def attempt_label(job_id: str, epoch: int) -> str:
    """Return what names one attempt's scratch databases."""
    return f"{label_of(job_id)}{epoch:03d}"


def journal_of(job_directory: Path) -> Journal:
    """Return the record of what the job's restore is about to change."""
    return Journal(job_directory / JOURNAL_NAME)


def remember_database(job_directory: Path, spec: DatabaseSpec) -> None:
    """Keep how the database is reached for whoever must settle the restore after a kill.

    In a file of mode 0600 that goes with the job's folder: the site's own wp-config.php may be
    the very thing that is being exchanged. Of a scratch server without its password, which is in
    the node's settings.
    """
    path = job_directory / SPEC_NAME
    path.unlink(missing_ok=True)
    write_private(path, json.dumps(asdict(spec if spec.name else _without_password(spec))))


def settle(job_directory: Path, servers: Sequence[DatabaseSpec] = ()) -> str:
    """Bring the site into one of two states: `switched` is as asked, "" as before.

    Removes what was prepared, and scratch databases of the job's attempts, also from the node's
    scratch `servers`. Raises `EngineError` if that cannot be done now; asking again later does no
    harm.
    """
    spec = _remembered(job_directory, servers)
    result = journal_of(job_directory).settle(partial(make_switch, spec, servers))
    if spec is not None:
        epochs = range(1, _last_epoch(job_directory) + 1)
        labels = (attempt_label(job_directory.name, epoch) for epoch in epochs)
        place = open_restorer(spec, servers) if spec.name else open_trial_server(spec)
        place.drop_leftovers(labels)
    return result


def make_switch(
    spec: DatabaseSpec | None, lenders: Sequence[DatabaseSpec], record: Mapping[str, Any]
) -> Switch:
    """Return the switch that a journal's record describes."""
    if record.get("kind") in (file_switch.KIND, removal.KIND):
        return switch_of(record)
    assert spec is not None, "a database was prepared without being remembered"
    return open_restorer(spec, lenders).from_record(record)


def _remembered(job_directory: Path, servers: Sequence[DatabaseSpec]) -> DatabaseSpec | None:
    """Return the database that the job uses; None also for a scratch server that is ours no more.

    Nobody could sign in there to remove anything.
    """
    try:
        spec = DatabaseSpec(**json.loads((job_directory / SPEC_NAME).read_text()))
    except FileNotFoundError:
        return None
    if spec.name:
        return spec
    return next((server for server in servers if _without_password(server) == spec), None)


def _without_password(spec: DatabaseSpec) -> DatabaseSpec:
    return replace(spec, password="")


def _last_epoch(job_directory: Path) -> int:
    """Return the epoch of the last attempt that left a folder; earlier ones may be gone, 0 if all.

    An attempt removes the folders of those before it, and may be killed before their databases.
    """
    folders = job_directory.glob("*-*-*")
    return max((int(folder.name.split("-")[1]) for folder in folders), default=0)


def excludes_of(site: SiteSpec, target: Target) -> Excludes:
    """Return what backups of the site leave out, a live SQLite database among it."""
    patterns = DEFAULT_PATTERNS if site.excludes is None else site.excludes
    return Excludes(patterns, exact_paths=_live_files(target))


def _live_files(target: Target) -> list[bytes]:
    """Return the archive paths of the target's SQLite database; see `live_database_files`."""
    if target.database is None or target.database.engine != "sqlite":
        return []
    file = Path(target.database.name)
    content = next(root.target for root in target.roots if root.archive_name == CONTENT_NAME)
    if not file.is_relative_to(content):
        return []
    inside = f"{CONTENT_NAME}/{file.relative_to(content)}"
    return [os.fsencode(inside + companion) for companion in SQLITE_COMPANIONS]


def bundle_of(context: StageContext) -> BundleSpec:
    """Return the bundle that the job is about; raises a permanent `EngineError` if it is gone."""
    if context.bundle is None:
        raise EngineError(
            "The backup was deleted before it could be read",
            hint="Choose another backup.",
            permanent=True,
            code="backup_deleted",
        )
    return context.bundle


def is_partial(parameters: Mapping[str, Any]) -> bool:
    """Tell whether only some of the bundle is wanted, which range requests fetch."""
    return any(parameters.get(name) for name in ("dry_run", "paths", "tables"))


def is_read_from_afar(context: StageContext) -> bool:
    """Tell whether the stages fetch parts of the bundle, whose end they may hand on.

    Of one that is encrypted nothing lies in the spool as plain text.
    """
    is_encrypted = bundle_of(context).is_encrypted
    is_far = context.store.kind != "local" and not context.inputs["fetch_bundle"]["directory"]
    return is_far and not is_encrypted


def keep_end(context: StageContext, bundle: BundleReader) -> None:
    """Keep index and manifest for the later stages, which without room for it fetch them again."""
    path = context.directory / END_NAME
    try:
        path.write_bytes(bundle.end())
    except OSError as error:
        if error.errno not in FULL:
            raise
        path.unlink(missing_ok=True)


@contextlib.contextmanager
def opened_bundle(context: StageContext) -> Iterator[BundleReader]:
    """Yield the bundle: what was fetched, else what is in the storage, read part by part.

    One that is encrypted is opened with this node's keys; raises `NoIdentity` without them.
    """
    bundle = bundle_of(context)
    with contextlib.ExitStack() as stack:
        source: ByteSource
        if fetched := context.inputs["fetch_bundle"]["directory"]:
            path = context.job_directory / fetched / BUNDLE_NAME
            if not path.is_file():
                raise WorkMissing(f"The fetched bundle is no longer in the spool ({path})")
            source = stack.enter_context(FilesSource([path]))
        else:
            source = context.store.open().open(bundle.key)
        reader = BundleReader(
            plain_source(source, context.identity_file, is_encrypted=bundle.is_encrypted),
            end=_kept_end(context),
        )
        reader.require_manifest(bundle.manifest_sha256)
        yield reader


def _kept_end(context: StageContext) -> bytes:
    """Return what `keep_end` kept; empty, to be fetched, where there is none."""
    folder = context.inputs.get("verify_bundle", {}).get("directory")
    path = context.job_directory / folder / END_NAME if folder else None
    return path.read_bytes() if path and path.is_file() else b""


@dataclass(frozen=True, slots=True)
class Target:
    """Where the parts of the bundle go. `database` is None if the site has none.

    `config` is the site's wp-config.php as it is now, if it is there, and `prefix` what it says.
    """

    roots: tuple[RestoreRoot, ...]
    database: DatabaseSpec | None
    config: Path | None = None
    prefix: str = ""


def dump_pieces(bundle: BundleReader, tables: Collection[str] | None) -> Iterator[bytes]:
    """Yield the dump's text: all of it, or what is needed to restore some tables.

    That is what comes before the first table, the parts of those that are wanted, and the last
    part, which the statements after all tables belong to.
    """
    offsets = (bundle.facts().get("database") or {}).get("table_offsets")
    if not tables or not offsets:
        yield from bundle.read(DUMP_NAME)
        return
    member = bundle.member(DUMP_NAME)
    starts = sorted((offset, name) for name, offset in offsets.items())
    ends = [offset for offset, _name in starts[1:]] + [member.stored_size]
    yield from bundle.slice(member, 0, starts[0][0])
    for (start, name), end in zip(starts, ends, strict=True):
        if name in tables or end == member.stored_size:
            yield from bundle.slice(member, start, end - start)


def target_of(context: StageContext, bundle: BundleReader) -> Target:
    """Return where the job's files and database go; makes and changes nothing there.

    In place what is missing of the site has its usual place: a restore may be needed because it is
    gone. A copy's places must hold nothing yet. Raises `EngineError`.
    """
    site, inspection = context.site, _inspection(context.site)
    roots = _roots_in_place(context, inspection)
    database = _database(context, inspection, bundle) if site.has_database else None
    if context.parameters.get("target") != "copy":
        config = inspection.config if inspection else None
        prefix = (config.table_prefix if config else None) or ""
        return Target(tuple(roots), database, config.path if config else None, prefix)
    return _copy(context, database)


def _inspection(site: SiteSpec) -> SiteInspection | None:
    """Return how much of the site is there, None if its folder holds nothing of a site."""
    roots = [Path(root) for root in site.allowed_roots]
    try:
        return examine(site.path, allowed_roots=roots)
    except EngineError as error:
        if error.code != "site_not_found":
            raise
        resolve_new_below(site.path, roots)
        return None


def _roots_in_place(context: StageContext, inspection: SiteInspection | None) -> list[RestoreRoot]:
    site = context.site
    allowed = [Path(root) for root in site.allowed_roots]
    content = inspection.content_directory if inspection else None
    if content is None:
        content = resolve_new_below(site.path / CONTENT_NAME, allowed)
    roots = [RestoreRoot(CONTENT_NAME, content)]
    # Another site's configuration names another database: the site keeps its own.
    if context.bundle is not None and context.bundle.site == site.uuid:
        config = inspection.config.path if inspection and inspection.config else None
        if config is None:
            config = site.wp_config_path or site.path / CONFIG_NAME
            config = resolve_new_below(config, allowed)
        roots.append(RestoreRoot(CONFIG_NAME, config))
    return roots


def _database(
    context: StageContext, inspection: SiteInspection | None, bundle: BundleReader
) -> DatabaseSpec | None:
    """Return the site's database, also where only the bundle still knows it."""
    if inspection is not None and (inspection.config or context.site.database):
        return database_of(context.site, inspection)
    if context.site.database is not None:
        return context.site.database
    path = context.directory / CONFIG_NAME
    with path.open("wb") as file:
        file.writelines(bundle.read(CONFIG_NAME))
    path.chmod(0o600)
    try:
        return database_spec(read_wp_config(path, None, site=context.site.path))
    finally:
        path.unlink()


def _copy(context: StageContext, database: DatabaseSpec | None) -> Target:
    allowed = [Path(root) for root in context.site.allowed_roots]
    base = resolve_new_below(Path(context.parameters["target_path"]), allowed)
    require_empty(base, own=file_switch.staging_prefix(label_of(context.job_id)))
    roots = (
        RestoreRoot(CONTENT_NAME, base / CONTENT_NAME),
        RestoreRoot(CONFIG_NAME, base / CONFIG_NAME),
    )
    if database is None:
        return Target(roots, None)
    name = context.parameters["target_database"]
    if database.engine == "sqlite":
        return Target(roots, replace(database, name=str(_copied_file(context, database, base))))
    stamp = base.name.rpartition("_restored_")[2] or label_of(context.job_id)
    return Target(roots, replace(database, name=name or f"{database.name[:40]}_restored_{stamp}"))


def _copied_file(context: StageContext, database: DatabaseSpec, base: Path) -> Path:
    """Return where the copy's SQLite file is: at the same place in it as the site's own."""
    file, site = Path(database.name), context.site.path.resolve()
    if file.is_relative_to(site):
        return base / file.relative_to(site)
    return base / file.name


def require_empty(folder: Path, *, own: str) -> None:
    """Raise a permanent `EngineError` unless nothing is there, or an empty folder.

    What begins with `own` is the job's own, prepared by an earlier stage.
    """
    try:
        is_empty = all(path.name.startswith(own) for path in folder.iterdir())
    except FileNotFoundError:
        return
    except OSError as error:
        raise _not_empty(folder, f"cannot be read: {error.strerror}") from error
    if not is_empty:
        raise _not_empty(folder, "is not empty")


def _not_empty(folder: Path, what: str) -> EngineError:
    return EngineError(
        f"{folder} {what}, so no copy can be put there",
        hint="Name a folder that does not exist yet.",
        permanent=True,
        code="target_exists",
    )
