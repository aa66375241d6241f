"""Seal the bundle: manifest, index and end of the archive; read it back; encrypt it if asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from workers.engine.bundle import seal
from workers.engine.bundle.segment import MEMBERS_NAME
from workers.engine.progress import Reporter
from workers.engine.versions import tool_versions
from workers.stages import encryption
from workers.stages.context import StageContext, StageResult, megabytes
from workers.stages.room import require_room
from workers.stages.wordpress_facts import summary_of_wordpress, while_sealing

# A new backup with this share or less of what the last good one held is marked suspect.
SUSPICIOUS_SHARE = 0.5


def run(context: StageContext) -> StageResult:
    """Write the last segment, flush all to disk, and decode and check every byte of the bundle.

    Where the storage names recipients, what it leaves is an encrypted file, decrypted and checked.
    """
    database, files = context.inputs["backup_db"], context.inputs["backup_files"]
    dump, tree = context.folder_of("backup_db"), context.folder_of("backup_files")
    parts = [folder for folder in (dump, tree) if folder is not None]
    lists = sum((part / MEMBERS_NAME).stat().st_size for part in parts)
    require_room(context, lists, f"the list of what is in {context.site.name}", is_first=False)
    context.reporter.detail("Sealing and reading back")
    summary = summary_of(database.get("facts"), files["facts"])
    found = suspicions(summary, context.previous_facts)
    facts, warnings = facts_of(context, dump, tree, found)
    reporter: Reporter = context.reporter
    if context.store.recipients:
        reporter = encryption.OneOfSeveral(reporter, encryption.PASSES)
    sealed = seal(context.directory, parts, facts=facts, reporter=reporter)
    names = [part.name for part in (*parts, context.directory)]
    done = "Bundle sealed"
    bundle: dict[str, Any] = {"parts": names, "size": sealed.size, "sha256": sealed.sha256}
    if context.store.recipients:
        made = encryption.encrypt_sealed(context, sealed, reporter)
        bundle, done = encryption.outputs_of(context, made, names), "Bundle sealed, encrypted"
    return StageResult(
        {
            "directory": context.directory.name,
            "key": key_of(context),
            **bundle,
            "facts": {
                **summary,
                **plain_facts(bundle),
                "manifest_sha256": sealed.manifest_sha256,
            },
            "wordpress": summary_of_wordpress(facts["wordpress"]),
            "suspicions": found,
        },
        f"{done} and read back ({megabytes(bundle['size'])})",
        (*found, *warnings),
    )


def facts_of(
    context: StageContext, dump: Path | None, tree: Path | None, found: Sequence[str]
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return what stands at the head of the manifest, and what could not be found out of it.

    `recorded.py` reads it again when the panel's database is lost. `found` are the suspicions.
    """
    database, files = context.inputs["backup_db"], context.inputs["backup_files"]
    assert tree is not None, "the files' stage always leaves a folder"
    known = while_sealing(
        database.get("wordpress", {}),
        files.get("wordpress", {}),
        dump=dump,
        files=tree,
        check=context.reporter.check,
    )
    facts = {
        "site": {
            "uuid": context.site.uuid,
            "name": context.site.name,
            "node": context.node,
            "settings": dict(context.site.settings),
        },
        "job": {"id": context.job_id, "epoch": context.epoch},
        "started_at": context.started_at,
        "sealed_at": datetime.now(UTC).isoformat(),
        "tools": tool_versions(),
        "database": database.get("facts"),
        "files": files["facts"],
        "suspicions": list(found),
        "encrypted_to": list(context.store.recipients),
    }
    return facts | dict(known.facts), tuple(known.warnings)


def key_of(context: StageContext) -> str:
    """Reserve the bundle's key; an encrypted one says so, as no tar opens it."""
    suffix = encryption.KEY_SUFFIX if context.store.recipients else ""
    return f"{context.reserve_object_key()}{suffix}"


def plain_facts(bundle: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a restore holds an encrypted bundle's content against; nothing of a plain one."""
    kept = ("encrypted_to", "plain_size", "plain_sha256")
    return {name: bundle[name] for name in kept if name in bundle}


def summary_of(database: Mapping[str, Any] | None, files: Mapping[str, Any]) -> dict[str, Any]:
    """Return the few numbers by which two backups of a site are compared."""
    rows = [count for count in (database or {}).get("tables", {}).values() if count is not None]
    return {
        "tables": len((database or {}).get("tables", {})),
        "rows": sum(rows),
        "database_bytes": (database or {}).get("bytes_total", 0),
        "files": files["files"],
        "file_bytes": files["bytes_total"],
    }


def suspicions(summary: Mapping[str, Any], previous: Mapping[str, Any] | None) -> list[str]:
    """Return a sentence for each number that fell by half or more since the last good backup."""
    return [
        f"Suspect: {name.replace('_', ' ')} fell from {before} to {now} since the last good backup"
        for name, now in summary.items()
        if (before := (previous or {}).get(name)) and now <= before * SUSPICIOUS_SHARE
    ]
