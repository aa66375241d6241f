"""Runs stages one after the other without a panel, as the runner would."""

from __future__ import annotations

import json
import sqlite3
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from backups.registry import STAGES
from workers.engine.progress import Reporter, SilentReporter
from workers.stages.context import SiteSpec, StageContext, StageResult, StoreSpec

WP_CONFIG = """<?php
define('DB_NAME', 'wordpress');
define('DB_USER', 'nobody');
define('DB_PASSWORD', 'irrelevant to SQLite');
define('DB_HOST', 'localhost');
define('DB_ENGINE', 'sqlite');
$table_prefix = 'wp_';
require_once ABSPATH . 'wp-settings.php';
"""


def make_sqlite_site(folder: Path) -> Path:
    """Make a small WordPress-shaped site whose database is SQLite, as its plugin keeps it."""
    content = folder / "wp-content"
    (content / "uploads").mkdir(parents=True)
    (content / "database").mkdir()
    (content / "cache").mkdir()
    (folder / "wp-config.php").write_text(WP_CONFIG)
    (content / "uploads" / "photo.jpg").write_bytes(bytes(range(256)) * 400)
    (content / "index.php").write_text("<?php // Silence is golden.\n" * 50)
    (content / "cache" / "page.html").write_text("cached")
    with sqlite3.connect(content / "database" / ".ht.sqlite") as database:
        database.execute("CREATE TABLE wp_options (option_name TEXT, option_value TEXT)")
        rows = [("siteurl", "http://example.com"), ("blogname", "Grüße 🎉"), ("home", "http://e.c")]
        database.executemany("INSERT INTO wp_options VALUES (?, ?)", rows)
    database.close()
    return folder


@dataclass
class Pipeline:
    """A job without its rows: outputs of finished stages, and the spool."""

    directory: Path
    site: SiteSpec
    job_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    outputs: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    checkpoints: dict[str, Any] = field(default_factory=dict)
    epoch: int = 0
    previous_facts: Mapping[str, Any] | None = None
    recipients: tuple[str, ...] = ()

    @property
    def job_directory(self) -> Path:
        return self.directory / "spool" / self.job_id

    @property
    def store_directory(self) -> Path:
        return self.directory / "store"

    def run(self, stage: str, reporter: Reporter | None = None) -> StageResult:
        """Run a stage as a new attempt; its outputs count from now on."""
        result: StageResult = STAGES[stage].load()(self.context(stage, reporter))
        # Rows hold JSON, so what a later stage gets has been through it.
        self.outputs[stage] = json.loads(json.dumps(result.outputs))
        return result

    def context(self, stage: str, reporter: Reporter | None = None) -> StageContext:
        """Return what a new attempt at the stage is given."""
        self.epoch += 1
        token = uuid.uuid4().hex
        directory = self.job_directory / f"{stage}-{self.epoch}-{token}"
        directory.mkdir(parents=True)
        return StageContext(
            job_id=self.job_id,
            epoch=self.epoch,
            token=token,
            started_at="2026-01-02T03:04:05+00:00",
            node="web-01",
            site=self.site,
            store=StoreSpec(
                "local", {"path": str(self.store_directory)}, recipients=self.recipients
            ),
            job_directory=self.job_directory,
            directory=directory,
            inputs=dict(self.outputs),
            checkpoint=self.checkpoints.get(stage, {}),
            previous_facts=self.previous_facts,
            reporter=reporter or SilentReporter(),
            save_checkpoint=lambda saved: self.checkpoints.__setitem__(stage, saved),
            reserve_object_key=lambda: f"node/site/example.com_{self.epoch}.tar.zst",
        )


def sqlite_pipeline(directory: Path, **fields: Any) -> Pipeline:
    """Return a pipeline for a fresh small site below `directory`."""
    path = make_sqlite_site(directory / "example.com")
    (directory / "store").mkdir()
    site = SiteSpec(
        uuid="c0ffee", name="example.com", path=path, allowed_roots=(str(directory),), **fields
    )
    return Pipeline(directory, site)
