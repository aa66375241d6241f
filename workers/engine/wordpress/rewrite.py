"""Makes a restored database that of another place: its URL and its folder.

Run on the copy that is not in use yet. The site's own PHP is never executed, so wp-cli is not used
even where it is installed: it loads wp-config.php, drop-ins and mu-plugins of what was restored,
with the rights of the worker, who reads every site of the host.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from workers.engine.databases.base import DatabaseSpec
from workers.engine.errors import EngineError
from workers.engine.progress import Reporter
from workers.engine.wordpress.config import PREFIX
from workers.engine.wordpress.replacements import Replacements, for_move
from workers.engine.wordpress.serialised import rewrite_value
from workers.engine.wordpress.tables import FoundRow, TableClient, TableShape, open_tables

LEFT_SHOWN = 200

_OPTIONS = re.compile(r"(?P<prefix>[A-Za-z0-9_]*?)options\Z")
_POSTS = re.compile(r"(?:\d+_)?posts\Z")
_BLOG = re.compile(r"\d+_\Z")


@dataclass(frozen=True, slots=True)
class LeftAlone:
    """A value that was not changed although it holds what was looked for; `key` names the row."""

    table: str
    column: str
    key: str
    reason: str


@dataclass(slots=True)
class RewriteReport:
    """What was changed: `tables` has the rows changed of each table.

    `left` holds the first `LEFT_SHOWN` of `left_count` values that were left alone. `notes` are
    sentences for a person.
    """

    tables: dict[str, int] = field(default_factory=dict)
    left: list[LeftAlone] = field(default_factory=list)
    left_count: int = 0
    notes: list[str] = field(default_factory=list)

    @property
    def rows(self) -> int:
        """How many rows were changed."""
        return sum(self.tables.values())

    def leave(self, table: str, column: str, row: FoundRow, reason: str) -> None:
        """Note a value that was left alone."""
        self.left_count += 1
        if len(self.left) < LEFT_SHOWN:
            key = ", ".join(part.decode("utf-8", "backslashreplace") for part in row.key)
            self.left.append(LeftAlone(table, column, key, reason))


def rewrite_site(
    database: DatabaseSpec,
    *,
    prefix: str,
    old_url: str = "",
    new_url: str = "",
    old_path: str = "",
    new_path: str = "",
    skip_guids: bool = True,
    check: Callable[[], None],
    reporter: Reporter,
    scratch_directory: str | None = None,
) -> RewriteReport:
    """Replace URL and path in every text of the site's tables, all or nothing.

    `prefix` is that of the tables' names. Text that is part of a table's key is never changed, nor
    are GUIDs of posts unless `skip_guids` is False: they are names, and feed readers would show
    every post anew. Raises `EngineError`: `move_unusable` for what is no URL, path or prefix.
    """
    if prefix and not PREFIX.match(prefix):
        raise _unusable_prefix(prefix)
    replacements = for_move(old_url=old_url, new_url=new_url, old_path=old_path, new_path=new_path)
    report = RewriteReport()
    with open_tables(database, check=check, scratch_directory=scratch_directory) as client:
        every = client.tables()
        own = tables_of_site(every, prefix)
        if replacements.needles:
            for table in own:
                posts = _POSTS.match(table.name.removeprefix(prefix))
                skipped = {"guid"} if skip_guids and posts else set()
                reporter.detail(f"Rewriting {table.name}")
                _rewrite_table(client, table, skipped, replacements, report, check)
            _move_network(client, own, prefix, old_url, new_url, report)
        reporter.detail("Writing what was rewritten")
        client.commit()
    if report.left_count:
        first = report.left[0]
        reporter.warn(
            f"{report.left_count} values still hold the old URL or path, the first in"
            f" {first.table}.{first.column}, row {first.key}: {first.reason}"
        )
    return report


def tables_of_site(tables: Sequence[TableShape], prefix: str) -> list[TableShape]:
    """Return the tables that belong to the site with this prefix, its network's blogs included.

    Several sites may share a database, and one's prefix may begin with another's: `wp_` is not
    the owner of `wp_shop_options`, nor of any other table with `wp_shop_`.
    """
    others = tuple(
        found["prefix"]
        for table in tables
        if (found := _OPTIONS.match(table.name))
        and found["prefix"].startswith(prefix)
        and found["prefix"] != prefix
        and _is_site(found["prefix"], tables)
        and not _BLOG.match(found["prefix"].removeprefix(prefix))
    )
    return [
        table
        for table in tables
        if table.name.startswith(prefix) and not (others and table.name.startswith(others))
    ]


def _is_site(prefix: str, tables: Sequence[TableShape]) -> bool:
    """Tell whether it is WordPress's: plugins have tables whose names end in "options" too."""
    names = {table.name for table in tables}
    return {f"{prefix}posts", f"{prefix}postmeta"} <= names


def _rewrite_table(
    client: TableClient,
    table: TableShape,
    skipped: set[str],
    replacements: Replacements,
    report: RewriteReport,
    check: Callable[[], None],
) -> None:
    check()
    columns = tuple(column for column in table.columns if column.name not in skipped)
    if not columns:
        return
    if not table.has_key:
        report.notes.append(f"Table {table.name} has no primary key and was not looked through")
        return
    table = TableShape(table.name, table.has_key, columns)
    for row in client.rows(table, replacements.needles):
        for name in row.unread:
            report.leave(table.name, name, row, "it is larger than the server sends at once")
        check()
        changes = _changes(client, table, row, replacements, report)
        if changes:
            client.update(table, row.key, changes)
            report.tables[table.name] = report.tables.get(table.name, 0) + 1


def _changes(
    client: TableClient,
    table: TableShape,
    row: FoundRow,
    replacements: Replacements,
    report: RewriteReport,
) -> Mapping[str, bytes]:
    changes: dict[str, bytes] = {}
    size = 0
    for column, value in zip(table.columns, row.values, strict=True):
        if value is None:
            continue
        found = rewrite_value(value, replacements)
        for problem in found.problems:
            report.leave(table.name, column.name, row, problem)
        if found.value == value:
            continue
        size += len(found.value)
        if not column.holds(found.value):
            report.leave(table.name, column.name, row, "the new text is too long for its column")
        elif size > client.most_value_bytes:
            report.leave(table.name, column.name, row, "it is larger than the server takes at once")
        else:
            changes[column.name] = found.value
    return changes


def _move_network(
    client: TableClient,
    own: Sequence[TableShape],
    prefix: str,
    old_url: str,
    new_url: str,
    report: RewriteReport,
) -> None:
    """Change the domain in a network's own tables, where it stands without a scheme."""
    names = {table.name for table in own}
    old, new = urlsplit(old_url), urlsplit(new_url)
    network = [name for name in (f"{prefix}blogs", f"{prefix}site") if name in names]
    if not network or not old_url:
        return
    for name in network:
        if old.netloc != new.netloc:
            client.change_whole(name, "domain", old.netloc, new.netloc)
    note = "The site is a network: set DOMAIN_CURRENT_SITE in wp-config.php"
    if old.path.rstrip("/") != new.path.rstrip("/"):
        note += f", and the paths in {' and '.join(network)},"
    report.notes.append(f"{note} by hand. Blogs with domains of their own keep them.")


def _unusable_prefix(prefix: str) -> EngineError:
    return EngineError(
        f"{prefix!r} cannot be a table prefix",
        hint="A prefix has letters, digits and _ only, as in wp_.",
        permanent=True,
        code="move_unusable",
    )
