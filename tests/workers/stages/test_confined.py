"""Every stage looks again at what a site's path leads to: it may be another place by then."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from tests.workers.stages.pipeline import Pipeline, make_sqlite_site, sqlite_pipeline
from workers.engine.databases.base import DatabaseSpec
from workers.engine.errors import EngineError


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A site of somebody else, in no root of the node."""
    return make_sqlite_site(tmp_path / "outside" / "other.org")


@pytest.fixture
def pipeline(tmp_path: Path, outside: Path) -> Pipeline:
    """A site that was added as it should be, below the node's only root."""
    (tmp_path / "root").mkdir()
    return sqlite_pipeline(tmp_path / "root")


def swap(path: Path, target: Path) -> None:
    """Put a link in the place of what the panel has seen."""
    path.rename(path.with_name(f"{path.name}.old"))
    path.symlink_to(target)


@pytest.mark.parametrize("stage", ["backup_db", "backup_files"])
@pytest.mark.parametrize("part", [".", "wp-content", "wp-config.php"])
def test_stage_refuses_what_was_swapped_for_a_link_out_of_the_roots(
    stage: str, part: str, pipeline: Pipeline, outside: Path
) -> None:
    if stage == "backup_files":
        pipeline.run("backup_db")
    swap(pipeline.site.path / part if part != "." else pipeline.site.path, outside / part)
    with pytest.raises(EngineError) as caught:
        pipeline.run(stage)
    assert caught.value.code in ("path_not_allowed", "site_not_found")
    assert caught.value.permanent
    assert stage not in pipeline.outputs


def with_database(pipeline: Pipeline, file: Path) -> None:
    database = DatabaseSpec("sqlite", str(file))
    pipeline.site = replace(pipeline.site, database=database)


def test_database_that_the_panel_names_is_dumped_when_it_lies_below_the_roots(
    pipeline: Pipeline,
) -> None:
    with_database(pipeline, pipeline.site.path / "wp-content/database/.ht.sqlite")
    assert pipeline.run("backup_db").outputs["facts"]["tables"] == {"wp_options": 3}


def test_database_that_the_panel_names_is_refused_when_it_was_swapped_for_a_link(
    pipeline: Pipeline, outside: Path
) -> None:
    file = pipeline.site.path / "database.sqlite"
    sqlite3.connect(file).close()
    file.touch()
    with_database(pipeline, file)
    swap(file, outside / "wp-content/database/.ht.sqlite")
    with pytest.raises(EngineError) as caught:
        pipeline.run("backup_db")
    assert (caught.value.code, caught.value.permanent) == ("path_not_allowed", True)
