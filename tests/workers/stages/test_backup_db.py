"""The first stage: which database, what it warns of, and what it refuses to call a backup."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.servers.mariadb import MariaDBServer
from tests.workers.stages.pipeline import Pipeline, sqlite_pipeline
from workers.engine.databases.base import (
    DatabaseEstimate,
    DatabaseSpec,
    DumpFacts,
    TableEstimate,
)
from workers.engine.errors import EngineError
from workers.engine.progress import SilentReporter
from workers.stages.backup_db import require_every_table

SCHEMA = """
CREATE TABLE wp_options (id INT PRIMARY KEY, name TEXT) ENGINE=InnoDB;
INSERT INTO wp_options VALUES (1, 'a'), (2, 'b');
CREATE TABLE old_counter (id INT) ENGINE=MyISAM;
CREATE TABLE gone (id INT);
CREATE VIEW broken AS SELECT id FROM gone;
DROP TABLE gone;
"""


def mariadb_pipeline(directory: Path, server: MariaDBServer, **fields: object) -> Pipeline:
    database = server.create_database()
    server.execute(SCHEMA, database)
    login = {"host": server.host, "port": server.port, "user": "root", "password": server.password}
    spec = DatabaseSpec("mysql", database, **{**login, **fields})
    return sqlite_pipeline(directory, database=spec)


def test_panels_database_is_dumped_when_the_site_names_one(
    tmp_path: Path, mariadb_server: MariaDBServer
) -> None:
    pipeline = mariadb_pipeline(tmp_path, mariadb_server)
    reporter = SilentReporter()
    result = pipeline.run("backup_db", reporter)
    tables = result.outputs["facts"]["tables"]
    assert tables["wp_options"] == 2
    assert reporter.bytes_total > 0
    assert any("MyISAM" in warning for warning in result.warnings)
    assert any("broken" in warning for warning in result.warnings)


def test_no_credentials_are_left_when_the_dump_has_ended(
    tmp_path: Path, mariadb_server: MariaDBServer
) -> None:
    pipeline = mariadb_pipeline(tmp_path, mariadb_server)
    pipeline.run("backup_db")
    left = [path for path in pipeline.job_directory.rglob("*") if path.is_file()]
    assert {path.name for path in left} == {"segment", "members"}
    assert all(mariadb_server.password.encode() not in path.read_bytes() for path in left)


def test_error_is_permanent_and_silent_when_the_password_is_wrong(
    tmp_path: Path, mariadb_server: MariaDBServer
) -> None:
    pipeline = mariadb_pipeline(tmp_path, mariadb_server, password="wr0ng-secret")
    with pytest.raises(EngineError) as caught:
        pipeline.run("backup_db")
    assert caught.value.permanent
    assert caught.value.code == "credentials_refused"
    assert "wr0ng-secret" not in caught.value.sentences()


def test_error_asks_for_a_decision_when_nobody_knows_the_database(tmp_path: Path) -> None:
    pipeline = sqlite_pipeline(tmp_path)
    (pipeline.site.path / "wp-config.php").unlink()
    with pytest.raises(EngineError) as caught:
        pipeline.run("backup_db")
    assert caught.value.permanent
    assert caught.value.code == "wp_config_missing"


def test_nothing_is_dumped_when_the_site_has_no_database(tmp_path: Path) -> None:
    result = sqlite_pipeline(tmp_path, has_database=False).run("backup_db")
    assert result.outputs == {"directory": ""}


def test_dump_is_refused_when_a_table_of_the_catalogue_is_not_in_it() -> None:
    estimate = DatabaseEstimate("10", (TableEstimate("a", 1, 1), TableEstimate("b", 1, 1)))
    with pytest.raises(EngineError, match="lacks 1 of 2 tables: b"):
        require_every_table(estimate, DumpFacts("tool", "1", "10", 5, {"a": 1}))
