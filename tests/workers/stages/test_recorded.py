"""What a bundle says of the tables in its dump."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.workers.stages.pipeline import sqlite_pipeline
from workers.engine.bundle import BundleDamaged, BundleReader
from workers.engine.sources import FilesSource
from workers.stages.recorded import recorded_tables

Change = Callable[[dict[str, Any]], None]


def tables_of(directory: Path, change: Change = lambda facts: None) -> list[dict[str, Any]]:
    """Back up a site with two tables and a view, its facts changed, and read what is recorded."""
    pipeline = sqlite_pipeline(directory)
    content = pipeline.site.path / "wp-content"
    with closing(sqlite3.connect(content / "database" / ".ht.sqlite")) as database, database:
        database.execute("CREATE TABLE wp_a (id INTEGER)")
        database.executemany("INSERT INTO wp_a VALUES (?)", [(number,) for number in range(500)])
        database.execute("CREATE VIEW wp_b AS SELECT id FROM wp_a")
    pipeline.run("backup_db")
    change(dict(pipeline.outputs["backup_db"])["facts"])
    pipeline.run("backup_files")
    parts = pipeline.run("create_bundle").outputs["parts"]
    with FilesSource([pipeline.job_directory / part / "segment" for part in parts]) as source:
        return recorded_tables(BundleReader(source, keeps_manifest=False))


def test_tables_have_their_rows_and_their_share_of_the_dump(tmp_path: Path) -> None:
    [largest, view, options] = tables_of(tmp_path)
    assert (largest["name"], largest["rows"]) == ("wp_a", 500)
    assert (view["name"], view["rows"]) == ("wp_b", None)
    assert (options["name"], options["rows"]) == ("wp_options", 3)
    assert largest["size"] > 500 * len("(1),")
    assert 0 < options["size"] < largest["size"]


def test_sizes_are_unknown_where_a_bundle_does_not_record_where_tables_begin(
    tmp_path: Path,
) -> None:
    tables = tables_of(tmp_path, lambda facts: facts.pop("table_offsets"))
    assert {table["name"]: table["size"] for table in tables} == dict.fromkeys(
        ("wp_a", "wp_b", "wp_options")
    )


@pytest.mark.parametrize(
    "wrong",
    [
        {"tables": {"wp_options": -1}},
        {"table_offsets": {"wp_options": "0"}},
        {"bytes_total": "many"},
    ],
)
def test_a_bundle_that_says_nonsense_of_its_tables_is_damaged(
    tmp_path: Path, wrong: dict[str, Any]
) -> None:
    with pytest.raises(BundleDamaged):
        tables_of(tmp_path, lambda facts: facts.update(wrong))
