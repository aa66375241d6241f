"""What a node answers when the panel asks about its own disk and network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from django.conf import settings

from backups.actions import storages
from backups.models import Job, Stage, Storage
from backups.states import StageState
from workers.engine.age import plain_source
from workers.engine.bundle import BundleReader, Entry, list_folder
from workers.engine.databases import open_database
from workers.engine.errors import EngineError
from workers.engine.progress import SilentReporter
from workers.engine.scan import ScanReport
from workers.engine.scan import scan as scan_folder
from workers.engine.sources import ByteSource
from workers.engine.stores import open_store
from workers.engine.wordpress import SiteInspection, database_spec
from workers.engine.wordpress import inspect_site as inspect
from workers.engine.wordpress import read_site_identity as read_identity
from workers.stages.recorded import recorded_tables

# 1 January 10000: what comes after has no date in Python, nor in most other programs.
_LAST_SECOND = 253_402_300_800


def scan(base_path: str, allowed_roots: Sequence[str]) -> dict[str, Any]:
    """Return the WordPress sites below a folder of this node."""
    roots = [Path(root) for root in allowed_roots]
    report = ScanReport()
    found = list(scan_folder(Path(base_path), allowed_roots=roots, report=report))
    problems = list(report.problems)
    if report.unreadable:
        problems.append(f"{report.unreadable} folders could not be read")
    if report.stopped_by:
        problems.append(f"The scan ended early, at its limit of {report.stopped_by}")
    return {"sites": [_brief(inspection) for inspection in found], "problems": problems}


def inspect_site(
    path: str, wp_config_path: str | None, allowed_roots: Sequence[str]
) -> dict[str, Any]:
    """Return what one folder holds, with the site's URL and title if its database answers."""
    inspection = inspect(
        Path(path),
        wp_config_path=Path(wp_config_path) if wp_config_path else None,
        allowed_roots=[Path(root) for root in allowed_roots],
    )
    assert inspection.config is not None
    spec = database_spec(inspection.config)
    problems, url, title = list(inspection.problems), "", ""
    try:
        identity = read_identity(open_database(spec), spec.table_prefix)
        url, title = identity.home or identity.site_url, identity.name
    except EngineError as error:
        problems.append(error.sentences())
    return {
        **_brief(inspection),
        "wp_config_path": str(inspection.config.path),
        "db_engine": spec.engine,
        "url": url,
        "title": title,
        "wordpress_version": inspection.wordpress_version,
        "problems": problems,
    }


def test_storage(storage_id: int) -> dict[str, Any]:
    """Try what a storage supports, and keep the answer on its row."""
    storage = Storage.objects.get(pk=storage_id)
    try:
        capabilities = asdict(open_store(storage.type, storage.full_config()).probe())
    except EngineError as error:
        storages.record_test(storage_id=storage_id, capabilities=None, error=error.sentences())
        raise
    storages.record_test(storage_id=storage_id, capabilities=capabilities, error="")
    return {"capabilities": capabilities}


def delete_object(storage_id: int, key: str, witness: str = "") -> dict[str, Any]:
    """Delete a bundle from its storage; confirmed before this returns.

    `witness` is the key of another one that should be there: where neither is, the folder may be
    one whose disk is not mounted, and nothing is known to be gone.
    """
    storage = Storage.objects.get(pk=storage_id)
    store = open_store(storage.type, storage.full_config(), storage.capabilities)
    was_there = store.delete(key)
    if not was_there and witness and store.stat(witness) is None:
        raise EngineError(
            f"The bundle is not in {storage.name}, and neither is {witness}, which should be.",
            hint="Look whether its disk is mounted. To forget the backup all the same, delete it "
            "without its bundle.",
            permanent=True,
            code="storage_unrecognised",
        )
    return {"deleted": was_there}


def list_bundle(
    storage_id: int,
    key: str,
    path: str,
    skip: int,
    limit: int,
    is_encrypted: bool = False,
    manifest_sha256: str = "",
) -> dict[str, Any]:
    """Return what one folder of a stored bundle holds, without fetching any file."""
    bundle = BundleReader(_stored(storage_id, key, is_encrypted=is_encrypted))
    bundle.require_manifest(manifest_sha256)
    listing = list_folder(bundle, path, skip=skip, limit=limit, reporter=SilentReporter())
    return {
        "entries": [_shown(entry) for entry in listing.entries],
        "total": listing.total,
        "bytes_fetched": bundle.bytes_fetched,
    }


def list_tables(
    storage_id: int, key: str, is_encrypted: bool = False, manifest_sha256: str = ""
) -> dict[str, Any]:
    """Return which tables the dump in a stored bundle has; only the manifest's head is fetched."""
    source = _stored(storage_id, key, is_encrypted=is_encrypted)
    bundle = BundleReader(source, keeps_manifest=False)
    bundle.require_manifest(manifest_sha256)
    tables = recorded_tables(bundle)
    return {"tables": tables, "total": len(tables), "bytes_fetched": bundle.bytes_fetched}


def _stored(storage_id: int, key: str, *, is_encrypted: bool) -> ByteSource:
    """Return a stored bundle as a source of bytes, decrypted where it is encrypted."""
    storage = Storage.objects.get(pk=storage_id)
    store = open_store(storage.type, storage.full_config(), storage.capabilities)
    identity_file = settings.HOLDFAST_AGE_IDENTITY_FILE
    return plain_source(store.open(key), identity_file, is_encrypted=is_encrypted)


def _shown(entry: Entry) -> dict[str, Any]:
    seconds = entry.mtime_ns // 1_000_000_000
    moment = datetime.fromtimestamp(seconds, UTC) if 0 <= seconds < _LAST_SECOND else None
    return {
        "name": entry.name,
        "path": entry.path,
        "type": entry.kind,
        "mode": f"{entry.mode:04o}",
        "size": entry.size,
        "files": entry.files,
        "modified_at": moment.isoformat().replace("+00:00", "Z") if moment else None,
        "sha256": entry.sha256 or None,
        "link": entry.link,
    }


def work_state(job_id: str) -> dict[str, Any]:
    """Return which finished stages of a job still have their work in the spool, as they left it.

    By the sizes that were recorded: sealing decodes, and storing hashes, every byte again.
    """
    job = Job.objects.prefetch_related("stages").get(pk=job_id)
    folder = Path(settings.HOLDFAST_SPOOL_DIRECTORY) / job.folder_name
    done = list(job.stages.filter(state=StageState.COMPLETED).order_by("position"))
    intact = [_is_intact(stage, folder) for stage in done]
    for number, stage in enumerate(done):
        if intact[number] and stage.outputs.get("encrypted_to"):
            # What it was made of is removed, and needed no more.
            intact[:number] = [True] * number
    return {
        "intact": [stage.name for stage, is_there in zip(done, intact, strict=True) if is_there]
    }


def _is_intact(stage: Stage, folder: Path) -> bool:
    outputs = stage.outputs
    if "parts" in outputs:
        names, size = outputs["parts"], outputs["size"]
    else:
        # A stage that had nothing to write left no folder on purpose.
        names = [outputs["directory"]] if outputs.get("directory") else []
        size = outputs.get("segment", outputs.get("facts", {})).get("segment_size", 0)
    try:
        found: int = sum((folder / name / "segment").stat().st_size for name in names)
    except OSError:
        return False
    return bool(found == size)


def _brief(inspection: SiteInspection) -> dict[str, Any]:
    return {
        "name": inspection.name,
        "path": str(inspection.path),
        "has_wp_config": inspection.has_wp_config,
        "has_wp_content": inspection.has_wp_content,
        "db_name": inspection.db_name,
        "is_complete": inspection.is_complete,
    }
