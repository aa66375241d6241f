"""What the stages of a backup record of WordPress: each the part that it has at hand.

The database's part is read while it is dumped, the tree's while it is archived, and the two meet
when the bundle is sealed, where the list of all files is at hand as well.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from workers.engine.bundle.folders import FolderCounts, files_of_parts, files_of_tree
from workers.engine.databases.base import Database, DatabaseSpec
from workers.engine.errors import EngineError
from workers.engine.room import out_of_room
from workers.engine.wordpress import SiteInspection
from workers.engine.wordpress.attachments import MissingFiles
from workers.engine.wordpress.facts import DatabaseFacts, Known, combined, tree_facts
from workers.stages.context import StageContext
from workers.stages.source import CONTENT_NAME

# Beside the dump's segment: the paths of all attachments, each followed by a zero byte.
ATTACHMENTS_NAME = "attachments"
_READ_BYTES = 1 << 20
# Of four million usual paths. What a site's owner can put into the table must not fill the spool.
MOST_LIST_BYTES = 256 << 20


class DuringDump:
    """Reads the database's part: `begin` before the dump, `end` after it."""

    def __init__(
        self,
        context: StageContext,
        inspection: SiteInspection,
        spec: DatabaseSpec,
        database: Database,
        tables: Collection[str],
    ) -> None:
        self._directory = context.directory
        self._known = Known()
        self._before: int | None = None
        config, content = inspection.config, inspection.content_directory
        prefix = spec.table_prefix or (config.table_prefix if config else "") or ""
        self._reader: DatabaseFacts | None = None
        if prefix and content is not None:
            self._reader = DatabaseFacts(
                database,
                prefix,
                tables,
                site=inspection.path,
                content=content,
                check=context.reporter.check,
            )

    def begin(self) -> None:
        """Read the options, and count the attachments: a site that is in use may add some."""
        if self._reader is not None:
            self._known = self._reader.read()
            self._before = self._reader.count()

    def end(self) -> Known:
        """List the attachments for `while_sealing`; return what is known."""
        reader, known = self._reader, self._known
        if reader is None or not reader.has_library:
            return known
        try:
            count = self._write_list(reader)
        except (EngineError, ValueError) as error:
            (self._directory / ATTACHMENTS_NAME).unlink(missing_ok=True)
            said = error.message if isinstance(error, EngineError) else str(error)
            known.warnings.append(f"The site's attachments could not be listed: {said}")
            return known
        before = count if self._before is None else self._before
        known.facts["attachments_changed"] = abs(count - before)
        return known

    def _write_list(self, reader: DatabaseFacts) -> int:
        count = size = 0
        with (
            out_of_room(self._directory),
            (self._directory / ATTACHMENTS_NAME).open("wb") as file,
        ):
            for path in reader.attachments():
                size += file.write(path + b"\0")
                count += 1
                if size > MOST_LIST_BYTES:
                    raise ValueError("there are too many of them")
        return count


def while_sealing(
    database: Mapping[str, Any],
    tree: Mapping[str, Any],
    *,
    dump: Path | None,
    files: Path,
    check: Callable[[], None],
) -> Known:
    """Return the manifest's facts `wordpress` and `folders`; one pass through the list of files.

    `database` and `tree` are what the stages before recorded, `dump` and `files` their folders.
    """
    known = Known()
    listed: MissingFiles | None = None
    if dump is not None and (path := dump / ATTACHMENTS_NAME).exists():
        try:
            listed = MissingFiles(lambda: _paths(path))
        except OSError as error:
            known.warnings.append(f"The list of attachments is lost: {error.strerror}")
    folders = _counted(files_of_parts([files], check), listed)
    own = dict(database)
    changed = own.pop("attachments_changed", 0)
    attachments = None if listed is None else _attachments(listed) | {"changed": changed}
    known.facts = {"wordpress": combined(tree, own, attachments), "folders": folders}
    return known


def after_restore(
    root: Path,
    database: Database | None,
    tables: Collection[str],
    recorded: Mapping[str, Any],
    *,
    check: Callable[[], None],
) -> Known:
    """Return the same facts of what was restored: the bundle's files below `root`, and a database.

    `tables` are the database's, `recorded` the manifest's facts, of which the table prefix is used.
    For `compare_facts`.
    """
    content = root / CONTENT_NAME
    known = tree_facts(content, check=check)
    prefix = (recorded.get("wordpress") or {}).get("table_prefix", "")
    own: Mapping[str, Any] = {}
    listed: MissingFiles | None = None
    if database is not None and prefix:
        reader = DatabaseFacts(database, prefix, tables, site=root, content=content, check=check)
        said = reader.read()
        own = said.facts
        known.warnings += said.warnings
        if reader.has_library:
            listed = MissingFiles(reader.attachments)
    folders = _counted(files_of_tree(root, check), listed)
    attachments = None if listed is None else _attachments(listed)
    wordpress = combined(known.facts, own, attachments)
    return Known({"wordpress": wordpress, "folders": folders}, known.warnings)


def summary_of_wordpress(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return the few of the facts that a list of backups may show."""
    attachments = facts.get("attachments") or {}
    return {
        "version": facts.get("version"),
        "plugins": len(facts.get("plugins", ())),
        "attachments": attachments.get("count"),
        "attachments_missing": attachments.get("missing"),
    }


def _counted(files: Iterable[tuple[bytes, int]], listed: MissingFiles | None) -> dict[str, Any]:
    counts = FolderCounts()
    for member, size in files:
        counts.add(member, size)
        if listed is not None:
            listed.tick(member)
    return counts.as_json()


def _attachments(listed: MissingFiles) -> dict[str, Any]:
    missing, examples = listed.missing()
    return {"count": listed.count, "missing": missing, "missing_examples": examples}


def _paths(file: Path) -> Iterator[bytes]:
    rest = b""
    with file.open("rb") as opened:
        while piece := opened.read(_READ_BYTES):
            *whole, rest = (rest + piece).split(b"\0")
            yield from whole
