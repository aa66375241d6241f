"""The second stage: what goes into the bundle and what is left out, counted."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.workers.stages.pipeline import sqlite_pipeline
from workers.engine.bundle import BundleReader
from workers.engine.errors import EngineError
from workers.engine.sources import FilesSource

STAGES = ("backup_db", "backup_files", "create_bundle")


def names_after(tmp_path: Path, **fields: object) -> tuple[set[str], dict]:
    pipeline = sqlite_pipeline(tmp_path, **fields)
    for stage in STAGES:
        pipeline.run(stage)
    parts = [
        pipeline.job_directory / part / "segment"
        for part in pipeline.outputs["create_bundle"]["parts"]
    ]
    with FilesSource(parts) as source:
        names = {member.name for member in BundleReader(source).members()}
    return names, pipeline.outputs["backup_files"]["facts"]


def test_caches_and_the_live_database_are_left_out_and_counted(tmp_path: Path) -> None:
    names, facts = names_after(tmp_path)
    assert {"database.sql", "wp-config.php", "wp-content/index.php"} <= names
    assert "wp-content/database/.ht.sqlite" not in names
    assert "wp-content/cache/page.html" not in names
    assert facts["excluded_files"] == 2
    assert facts["excluded_bytes"] > len("cached")


def test_only_the_sites_own_patterns_count_when_it_has_some(tmp_path: Path) -> None:
    names, _facts = names_after(tmp_path, excludes=("*.jpg",))
    assert "wp-content/cache/page.html" in names
    assert "wp-content/uploads/photo.jpg" not in names


def test_link_is_kept_but_not_followed_when_it_leads_out_of_the_tree(tmp_path: Path) -> None:
    pipeline = sqlite_pipeline(tmp_path)
    secret = tmp_path / "secret.txt"
    secret.write_text("not yours")
    (pipeline.site.path / "wp-content" / "out").symlink_to(secret)
    for stage in STAGES:
        pipeline.run(stage)
    segments = b"".join(path.read_bytes() for path in pipeline.job_directory.glob("*/segment"))
    assert b"not yours" not in segments
    assert pipeline.outputs["backup_files"]["facts"]["symlinks"] == 1


def test_site_is_refused_when_it_lies_outside_the_nodes_roots(tmp_path: Path) -> None:
    pipeline = sqlite_pipeline(tmp_path)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    os.rename(pipeline.site.path, elsewhere / "site")
    pipeline.site.path.symlink_to(elsewhere / "site")
    confined = type(pipeline.site)(
        uuid="1", name="n", path=pipeline.site.path, allowed_roots=(str(tmp_path / "allowed"),)
    )
    (tmp_path / "allowed").mkdir()
    pipeline.site = confined
    with pytest.raises(EngineError) as caught:
        pipeline.run("backup_files")
    assert caught.value.code == "path_not_allowed"
    assert caught.value.permanent
