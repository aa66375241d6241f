"""Restore the bundle into scratch places, and compare everything with what was recorded."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from workers.engine.bundle import BundleReader, ExtractReport, extract
from workers.engine.bundle.dump import DUMP_NAME
from workers.engine.bundle.manifest import MANIFEST_NAME
from workers.engine.databases.base import Database, TableFacts, table_facts
from workers.engine.errors import EngineError
from workers.engine.wordpress.facts import compare_facts
from workers.stages.context import StageContext, StageResult, megabytes
from workers.stages.restoring import attempt_label, opened_bundle
from workers.stages.room import require_room
from workers.stages.soundness import stated
from workers.stages.trial import prepare_trial
from workers.stages.wordpress_facts import after_restore, summary_of_wordpress

# Sentences in one error: what is wrong with thousands of files is told by the first of them.
MOST_TOLD = 20
FILES_NAME = "files"


def run(context: StageContext) -> StageResult:
    """Extract every file and load the database: nothing of the site is touched, or even read.

    Each file's sha256 is compared as it is extracted. The clock runs while the site is restored,
    and not while it is counted.
    """
    with opened_bundle(context) as bundle:
        recorded = bundle.facts()
        require_room(context, bundle.footer.content_size, "a trial restore", is_first=False)
        context.reporter.total(context.inputs["verify_bundle"]["bytes"])
        begun = time.monotonic()
        report = _extract(context, bundle)
        found = Found(seconds=time.monotonic() - begun)
        if recorded.get("database"):
            _load(context, bundle, recorded, found)
        else:
            found.facts = _facts(context, None, {}, recorded)
    with stated():
        differences, oddities = compare(recorded, report, found)
    if differences:
        raise EngineError(
            "\n".join(differences[:MOST_TOLD]),
            hint="This backup does not restore what was backed up. Make a new one; older ones are "
            "kept.",
            permanent=True,
            code="proof_failed",
        )
    facts = {
        "files": report.files,
        "folders": report.folders,
        "tables": len(found.tables),
        "rows": sum(table.rows or 0 for table in found.tables.values()),
        "wordpress": summary_of_wordpress(found.facts["wordpress"]),
    }
    return StageResult(
        {"seconds": found.seconds, "bytes": report.bytes, "facts": facts, "directory": ""},
        f"Restored for trial in {found.seconds:.0f} s ({megabytes(report.bytes)}), all as recorded",
        tuple(oddities[:MOST_TOLD]),
    )


def _only(name: str, facts: Mapping[str, Any]) -> dict[str, Any]:
    return {name: facts[name]} if name in facts else {}


@dataclass(slots=True)
class Found:
    """What a trial restore took, in seconds, and what is there after it.

    Checksums prove something where the dump of it `reads_alike`.
    """

    seconds: float
    reads_alike: bool = False
    tables: Mapping[str, TableFacts] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)


def _extract(context: StageContext, bundle: BundleReader) -> ExtractReport:
    context.reporter.detail("Restoring the files for trial")
    not_files = {DUMP_NAME.encode(), MANIFEST_NAME}
    tops = {member.path.split(b"/")[0] for member in bundle.members()} - not_files
    target = context.directory / FILES_NAME
    return extract(
        bundle, sorted(tops), target, reporter=context.reporter, owners=False, is_private=True
    )


def _load(
    context: StageContext, bundle: BundleReader, recorded: Mapping[str, Any], found: Found
) -> None:
    """Load the dump into a scratch database, count what is in it, and drop it."""
    context.reporter.detail("Restoring the database for trial")
    dumped = recorded["database"]
    trial, check = prepare_trial(context, bundle, dumped), context.reporter.check
    begun = time.monotonic()
    with trial.server.scratch(
        bundle.read(DUMP_NAME),
        label=attempt_label(context.job_id, context.epoch),
        scratch_directory=str(_folder(context, "scratch")),
        check=check,
    ) as database:
        found.seconds += time.monotonic() - begun
        context.reporter.detail("Counting rows and sums")
        counting = str(_folder(context, "counting"))
        with database.dump(scratch_directory=counting, check=check) as dump:
            found.tables = table_facts(dump)
            found.reads_alike = trial.reads_alike(dumped, dump.facts())
        found.facts = _facts(context, database, found.tables, recorded)


def _facts(
    context: StageContext,
    database: Database | None,
    tables: Mapping[str, TableFacts],
    recorded: Mapping[str, Any],
) -> Mapping[str, Any]:
    root = context.directory / FILES_NAME
    return after_restore(root, database, tables, recorded, check=context.reporter.check).facts


def _folder(context: StageContext, name: str) -> Path:
    folder = context.directory / name
    folder.mkdir(mode=0o700)
    return folder


def compare(
    recorded: Mapping[str, Any], report: ExtractReport, found: Found
) -> tuple[list[str], list[str]]:
    """Return what did not come back as it was recorded, and what is odd and no damage."""
    differences = compare_files(recorded["files"], report)
    lost, changed = compare_tables(recorded.get("database") or {"tables": {}}, found.tables)
    differences += lost
    differences += compare_facts(*(_only("folders", facts) for facts in (recorded, found.facts)))
    # A site that was updated while it was read says two things at once, and is whole all the same.
    oddities = compare_facts(*(_only("wordpress", facts) for facts in (recorded, found.facts)))
    # Another release, or another setting, may write the same rows in other words.
    (differences if found.reads_alike else oddities).extend(changed)
    return differences, oddities


def compare_files(recorded: Mapping[str, Any], report: ExtractReport) -> list[str]:
    """Return a sentence for each count of files that is not as recorded."""
    links = recorded["symlinks"] + recorded["hard_links"]
    pairs = (
        ("files", recorded["files"] + links, report.files + report.links),
        ("folders", recorded["folders"], report.folders),
    )
    return [f"{name}: {was} were backed up, {now} came back" for name, was, now in pairs
            if was != now]  # fmt: skip


def compare_tables(
    recorded: Mapping[str, Any], found: Mapping[str, TableFacts]
) -> tuple[list[str], list[str]]:
    """Return sentences on tables that lost or won rows, and on those whose rows are others."""
    lost, changed = [], []
    checksums = recorded.get("checksums", {})
    for name, rows in recorded["tables"].items():
        table = found.get(name)
        if table is None:
            if rows is not None:
                lost.append(f"table {name}: {rows} rows were backed up, none came back")
        elif rows is not None and table.rows is not None and rows != table.rows:
            lost.append(f"table {name}: {rows} rows were backed up, {table.rows} came back")
        elif name in checksums and checksums[name] != table.checksum:
            changed.append(f"table {name}: its rows are not those that were backed up")
    return lost, changed
