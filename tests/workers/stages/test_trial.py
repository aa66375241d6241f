"""Where a dump goes for trial, what stays on the disk of it, and when sums count."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from tests.workers.stages.pipeline import sqlite_pipeline
from workers.engine.bundle import BundleReader
from workers.engine.databases.base import DatabaseSpec, DumpFacts, TrialServer
from workers.engine.databases.mysql_restore import MySQLRestorer
from workers.engine.databases.mysql_trial import MySQLTrialServer
from workers.engine.databases.postgresql_trial import PostgreSQLTrialServer
from workers.engine.databases.sqlite_restore import SQLiteRestorer
from workers.engine.errors import EngineError
from workers.stages.context import StageContext
from workers.stages.restoring import SPEC_NAME, remember_database, settle
from workers.stages.trial import Trial, place_for, prepare_trial

PASSWORD = "of-the-scratch-account"
MYSQL = DatabaseSpec("mysql", "", "127.0.0.1", 9, user="scratch", password=PASSWORD)
POSTGRESQL = DatabaseSpec("postgresql", "", "127.0.0.1", 9, user="scratch", password=PASSWORD)
SITE = DatabaseSpec("mysql", "shop", "127.0.0.1", 9, user="shop", password="of-the-site")
NO_BUNDLE = cast(BundleReader, None)


def context_of(tmp_path: Path, **changes: Any) -> StageContext:
    """A first attempt at a proof, for a site whose folder is not on this host."""
    context = sqlite_pipeline(tmp_path, database=SITE).context("prove_restore")
    site = replace(context.site, path=tmp_path / "gone", allowed_roots=())
    return replace(context, site=site, **changes)


@pytest.mark.parametrize(
    ("recorded", "servers", "kind"),
    [
        ({"engine": "mysql"}, (POSTGRESQL, MYSQL), MySQLTrialServer),
        ({"engine": "postgresql"}, (MYSQL, POSTGRESQL), PostgreSQLTrialServer),
        ({"engine": "sqlite"}, (MYSQL,), SQLiteRestorer),
        ({"tool": "mariadb-dump"}, (MYSQL,), MySQLTrialServer),
        ({"tool": "pg_dump"}, (POSTGRESQL,), PostgreSQLTrialServer),
        ({"tool": "sqlite3"}, (), SQLiteRestorer),
    ],
)
def test_the_nodes_own_server_takes_the_dump_wherever_the_site_is(
    tmp_path: Path, recorded: dict[str, str], servers: tuple[DatabaseSpec, ...], kind: type
) -> None:
    context = context_of(tmp_path, scratch_servers=servers, is_elsewhere=True)
    trial = place_for(context, NO_BUNDLE, recorded)
    assert (type(trial.server), trial.is_own) == (kind, False)
    assert (trial.spec is None) == (kind is SQLiteRestorer)


def test_elsewhere_nothing_goes_to_the_sites_server(tmp_path: Path) -> None:
    context = context_of(tmp_path, scratch_servers=(POSTGRESQL,), is_elsewhere=True)
    with pytest.raises(EngineError, match="no scratch server for mysql") as failure:
        place_for(context, NO_BUNDLE, {"engine": "mysql"})
    assert (failure.value.code, failure.value.permanent) == ("scratch_server_missing", True)


def test_at_home_the_sites_server_takes_what_no_scratch_server_does(tmp_path: Path) -> None:
    context = context_of(tmp_path, scratch_servers=(POSTGRESQL,))
    site = replace(context.site, path=tmp_path / "example.com", allowed_roots=(str(tmp_path),))
    trial = place_for(replace(context, site=site), NO_BUNDLE, {"engine": "mysql"})
    assert (type(trial.server), trial.spec, trial.is_own) == (MySQLRestorer, SITE, True)


def test_a_server_that_is_away_is_nothing_that_anybody_has_to_settle(tmp_path: Path) -> None:
    context = context_of(tmp_path, scratch_servers=(MYSQL,))
    with pytest.raises(EngineError) as failure:
        prepare_trial(context, NO_BUNDLE, {"engine": "mysql"})
    assert failure.value.code == "server_unreachable"
    assert settle(context.job_directory, context.scratch_servers) == ""


def test_what_is_left_is_looked_for_with_the_password_of_the_settings(tmp_path: Path) -> None:
    folder = tmp_path / "c0ffee"
    (folder / "prove_restore-1-00").mkdir(parents=True)
    remember_database(folder, MYSQL)
    file = folder / SPEC_NAME
    assert file.stat().st_mode & 0o777 == 0o600
    assert PASSWORD not in file.read_text()
    with pytest.raises(EngineError) as failure:
        settle(folder, [POSTGRESQL, MYSQL])
    assert failure.value.code == "server_unreachable"
    # One that the node does not name any more cannot be signed in to.
    assert settle(folder, [POSTGRESQL]) == ""


FACTS = DumpFacts("pg_dump", "15.4", "15.3", 0, {}, dialect="UTF8 UTC")
SAME = {"tool": "pg_dump", "tool_version": "15.4", "server_version": "15.3"}
NO_SERVER = cast(TrialServer, None)


@pytest.mark.parametrize(
    ("recorded", "is_own", "alike"),
    [
        ({"dialect": "UTF8 UTC"}, False, True),
        ({"dialect": "UTF8 Asia/Tokyo"}, False, False),
        ({"dialect": "UTF8 Asia/Tokyo"}, True, False),
        ({}, True, True),  # an older bundle, on the server that it is of
        ({}, False, False),
        ({"dialect": "UTF8 UTC", "server_version": "15.4"}, True, False),
        ({"dialect": "UTF8 UTC", "tool_version": "16.1"}, True, False),
    ],
)
def test_sums_count_only_where_equal_rows_read_alike(
    recorded: dict[str, str], is_own: bool, alike: bool
) -> None:
    assert Trial(NO_SERVER, is_own=is_own).reads_alike({**SAME, **recorded}, FACTS) is alike
