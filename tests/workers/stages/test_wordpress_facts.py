"""WordPress's facts go into the manifest, are those of the site, and never fail a backup."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from tests.workers.stages.pipeline import Pipeline, sqlite_pipeline
from workers.engine.bundle import BundleReader, extract
from workers.engine.databases import open_database
from workers.engine.databases.base import DatabaseSpec
from workers.engine.progress import SilentReporter
from workers.engine.sources import FilesSource
from workers.engine.wordpress.facts import compare_facts
from workers.stages import wordpress_facts
from workers.stages.wordpress_facts import ATTACHMENTS_NAME, after_restore

DATABASE = "wp-content/database/.ht.sqlite"


def execute(pipeline: Pipeline, *statements: str) -> None:
    with sqlite3.connect(pipeline.site.path / DATABASE) as database:
        for statement in statements:
            database.execute(statement)
    database.close()


@pytest.fixture
def pipeline(tmp_path: Path) -> Pipeline:
    made = sqlite_pipeline(tmp_path)
    plugin = made.site.path / "wp-content" / "plugins" / "shop" / "shop.php"
    plugin.parent.mkdir(parents=True)
    plugin.write_text("<?php\n/* Plugin Name: Shop\nVersion: 3.1 */\n")
    core = made.site.path / "wp-includes"
    core.mkdir()
    (core / "version.php").write_text("<?php\n$wp_version = '6.8.1';\n")
    execute(
        made,
        "CREATE TABLE wp_postmeta (meta_id INTEGER PRIMARY KEY, meta_key TEXT, meta_value TEXT)",
        "INSERT INTO wp_postmeta VALUES (1, '_wp_attached_file', 'photo.jpg')",
        "INSERT INTO wp_postmeta VALUES (2, '_wp_attached_file', '2024/lost.jpg')",
        "INSERT INTO wp_options VALUES ('active_plugins', 'a:1:{i:0;s:13:\"shop/shop.php\";}')",
        "INSERT INTO wp_options VALUES ('template', 'twenty')",
    )
    return made


def back_up(pipeline: Pipeline) -> dict[str, object]:
    """Run the stages up to the seal; return the manifest's facts."""
    for stage in ("backup_db", "backup_files", "create_bundle"):
        pipeline.run(stage)
    with FilesSource(parts_of(pipeline)) as source:
        return BundleReader(source).facts()


def parts_of(pipeline: Pipeline) -> list[Path]:
    parts = pipeline.outputs["create_bundle"]["parts"]
    return [pipeline.job_directory / part / "segment" for part in parts]


def test_the_manifest_says_what_the_site_is(pipeline: Pipeline):
    facts = back_up(pipeline)
    assert facts["wordpress"] == {
        "version": "6.8.1",
        "plugins": [{"file": "shop/shop.php", "name": "Shop", "version": "3.1"}],
        "themes": [],
        "table_prefix": "wp_",
        "database_version": "",
        "active_plugins": ["shop/shop.php"],
        "active_themes": ["twenty"],
        "attachments": {
            "count": 2,
            "missing": 1,
            "missing_examples": ["wp-content/uploads/2024/lost.jpg"],
            "changed": 0,
        },
    }
    assert facts["folders"]["wp-content/uploads"] == {"files": 1, "bytes": 102_400}
    assert set(facts["folders"]) == {"", "wp-content", "wp-content/plugins", "wp-content/uploads"}
    assert pipeline.outputs["create_bundle"]["wordpress"] == {
        "version": "6.8.1", "plugins": 1, "attachments": 2, "attachments_missing": 1,
    }  # fmt: skip


def test_a_restored_site_has_the_same_facts(pipeline: Pipeline, tmp_path: Path):
    recorded = back_up(pipeline)
    root = tmp_path / "restored"
    with FilesSource(parts_of(pipeline)) as source:
        reader = BundleReader(source)
        extract(
            reader, [b"wp-config.php", b"wp-content"], root, owners=False, reporter=SilentReporter()
        )
        with sqlite3.connect(tmp_path / "restored.sqlite") as loaded:
            loaded.executescript(b"".join(reader.read(b"database.sql")).decode())
        loaded.close()
    database = open_database(DatabaseSpec("sqlite", str(tmp_path / "restored.sqlite")))
    tables = recorded["database"]["tables"]
    found = after_restore(root, database, tables, recorded, check=lambda: None)
    assert found.warnings == []
    assert compare_facts(recorded, found.facts) == []

    (root / "wp-content" / "uploads" / "photo.jpg").unlink()
    (root / "wp-content" / "plugins" / "shop" / "shop.php").unlink()
    found = after_restore(root, database, tables, recorded, check=lambda: None)
    assert compare_facts(recorded, found.facts) == [
        "plugin shop/shop.php was backed up and did not come back",
        "attachments without their file: 1 were backed up, 2 came back",
        "folder wp-content/plugins: 1 files of 43 bytes were backed up, 0 of 0 came back",
        "folder wp-content/uploads: 1 files of 102400 bytes were backed up, 0 of 0 came back",
    ]


def test_the_backup_goes_on_when_a_fact_cannot_be_read(pipeline: Pipeline):
    execute(pipeline, "DROP TABLE wp_postmeta", "CREATE TABLE wp_postmeta (other TEXT)")
    plugins = pipeline.site.path / "wp-content" / "plugins"
    plugins.rename(plugins.with_name("real"))
    plugins.symlink_to("real")
    assert "attachments could not be listed" in pipeline.run("backup_db").warnings[0]
    assert "plugins cannot be listed" in pipeline.run("backup_files").warnings[0]
    assert pipeline.run("create_bundle").warnings == ()
    with FilesSource(parts_of(pipeline)) as source:
        facts = BundleReader(source).facts()["wordpress"]
    assert "attachments" not in facts
    assert "plugins" not in facts
    assert facts["active_plugins"] == ["shop/shop.php"]


def test_the_backup_goes_on_when_a_site_claims_too_many_attachments(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(wordpress_facts, "MOST_LIST_BYTES", 30)
    assert "too many of them" in pipeline.run("backup_db").warnings[0]
    assert not list(pipeline.job_directory.glob(f"*/{ATTACHMENTS_NAME}"))


def test_there_are_fewer_facts_when_the_site_has_no_database(tmp_path: Path):
    pipeline = sqlite_pipeline(tmp_path, has_database=False)
    facts = back_up(pipeline)
    assert facts["wordpress"] == {"plugins": [], "themes": []}
    assert "wp-content/uploads" in facts["folders"]


def test_the_seal_does_without_the_list_of_attachments_when_it_is_gone(pipeline: Pipeline):
    pipeline.run("backup_db")
    [path] = pipeline.job_directory.glob(f"*/{ATTACHMENTS_NAME}")
    path.unlink()
    pipeline.run("backup_files")
    assert pipeline.run("create_bundle").outputs["wordpress"]["attachments"] is None
