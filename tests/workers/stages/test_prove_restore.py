"""What a trial restore is held against, and what each difference is called."""

from __future__ import annotations

from typing import Any

import pytest

from workers.engine.bundle import ExtractReport
from workers.engine.databases.base import TableFacts
from workers.stages.prove_restore import compare_files, compare_tables

FILES = {"files": 5, "folders": 2, "symlinks": 1, "hard_links": 1}
TABLES: dict[str, Any] = {"tables": {"wp_posts": 3, "seen": None}, "checksums": {"wp_posts": "a"}}


def test_nothing_is_said_when_all_came_back() -> None:
    assert compare_files(FILES, ExtractReport(files=5, folders=2, links=2)) == []
    assert compare_tables(TABLES, {"wp_posts": TableFacts(3, "a")}) == ([], [])


def test_a_file_and_a_folder_that_are_missing_are_told() -> None:
    assert compare_files(FILES, ExtractReport(files=4, folders=1, links=2)) == [
        "files: 7 were backed up, 6 came back",
        "folders: 2 were backed up, 1 came back",
    ]


@pytest.mark.parametrize(
    ("found", "lost", "changed"),
    [
        ({}, ["table wp_posts: 3 rows were backed up, none came back"], []),
        (
            {"wp_posts": TableFacts(2, "b")},
            ["table wp_posts: 3 rows were backed up, 2 came back"],
            [],
        ),
        (
            {"wp_posts": TableFacts(3, "b")},
            [],
            ["table wp_posts: its rows are not those that were backed up"],
        ),
        ({"wp_posts": TableFacts(None, "a")}, [], []),
    ],
)
def test_each_way_to_differ_is_told(
    found: dict[str, TableFacts], lost: list[str], changed: list[str]
) -> None:
    assert compare_tables(TABLES, found) == (lost, changed)
