"""Seal the bundle: manifest, index and end of the archive; then read everything back."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from workers.engine.bundle import seal
from workers.engine.bundle.segment import MEMBERS_NAME
from workers.engine.versions import tool_versions
from workers.stages.context import StageContext, StageResult, megabytes
from workers.stages.room import require_room
from workers.stages.wordpress_facts import summary_of_wordpress, while_sealing

# A new backup with this share or less of what the last good one held is marked suspect.
SUSPICIOUS_SHARE = 0.5


def run(context: StageContext) -> StageResult:
    """Write the last segment, flush all to disk, and decode and check every byte of the bundle."""
    database, files = context.inputs["backup_db"], context.inputs["backup_files"]
    dump, tree = context.folder_of("backup_db"), context.folder_of("backup_files")
    parts = [folder for folder in (dump, tree) if folder is not None]
    lists = sum((part / MEMBERS_NAME).stat().st_size for part in parts)
    require_room(context, lists, f"the list of what is in {context.site.name}", is_first=False)
    context.reporter.detail("Sealing and reading back")
    facts = {
        "site": {"uuid": context.site.uuid, "name": context.site.name, "node": context.node},
        "job": {"id": context.job_id, "epoch": context.epoch},
        "started_at": context.started_at,
        "sealed_at": datetime.now(UTC).isoformat(),
        "tools": tool_versions(),
        "database": database.get("facts"),
        "files": files["facts"],
    }
    assert tree is not None, "the files' stage always leaves a folder"
    known = while_sealing(
        database.get("wordpress", {}),
        files.get("wordpress", {}),
        dump=dump,
        files=tree,
        check=context.reporter.check,
    )
    facts |= known.facts
    sealed = seal(context.directory, parts, facts=facts, reporter=context.reporter)
    summary = summary_of(database.get("facts"), files["facts"])
    found = suspicions(summary, context.previous_facts)
    return StageResult(
        {
            "directory": context.directory.name,
            "parts": [part.name for part in (*parts, context.directory)],
            "key": context.reserve_object_key(),
            "size": sealed.size,
            "sha256": sealed.sha256,
            "facts": summary,
            "wordpress": summary_of_wordpress(known.facts["wordpress"]),
            "suspicions": found,
        },
        f"Bundle sealed and read back ({megabytes(sealed.size)})",
        (*found, *known.warnings),
    )


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
        f"Suspect: {name.replace('_', ' ')} fell from {before} to {summary.get(name, 0)} "
        "since the last good backup"
        for name, before in (previous or {}).items()
        if before and summary.get(name, 0) <= before * SUSPICIOUS_SHARE
    ]
