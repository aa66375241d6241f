"""The site's database: how it is reached, and who it says the site is."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from tests.servers.mariadb import MariaDBServer
from workers.engine.databases import open_database
from workers.engine.databases.base import DatabaseSpec
from workers.engine.errors import EngineError
from workers.engine.wordpress import (
    SiteIdentity,
    database_spec,
    read_site_identity,
    read_wp_config,
)


def spec_of(tmp_path: Path, text: str) -> DatabaseSpec:
    (tmp_path / "wp-content").mkdir()
    (tmp_path / "wp-config.php").write_text(f"<?php {text} $table_prefix = 'x_';")
    return database_spec(read_wp_config(tmp_path / "wp-config.php"))


MYSQL = "define('DB_NAME','n'); define('DB_USER','u'); define('DB_PASSWORD','p\"$');"


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("localhost", {"host": "localhost"}),
        ("db:3307", {"host": "db", "port": 3307}),
        (":/run/x.sock", {"socket": "/run/x.sock"}),
    ],
)
def test_mysql_is_reached_as_the_file_says_when_it_is_complete(tmp_path: Path, host, expected):
    spec = spec_of(tmp_path, f"{MYSQL} define('DB_HOST','{host}');")
    common = {"engine": "mysql", "name": "n", "user": "u", "password": 'p"$'}
    assert spec == DatabaseSpec(**common, table_prefix="x_", **expected)


def test_sqlite_is_reached_by_its_file_when_the_site_uses_it(tmp_path: Path):
    spec = spec_of(tmp_path, "define('DB_ENGINE', 'sqlite');")
    file = tmp_path / "wp-content" / "database" / ".ht.sqlite"
    assert spec == DatabaseSpec(engine="sqlite", name=str(file), table_prefix="x_")


def test_the_problems_are_in_the_error_when_the_file_does_not_tell_enough(tmp_path: Path):
    with pytest.raises(EngineError) as caught:
        spec_of(tmp_path, f"{MYSQL} define('DB_HOST', secret_host());")
    assert caught.value.code == "wp_config_incomplete"
    assert caught.value.permanent
    assert "secret_host()" in caught.value.message
    assert "by hand" in caught.value.hint
    assert 'p"$' not in str(caught.value)


OPTIONS = """
CREATE TABLE x_options (option_id INTEGER PRIMARY KEY, option_name VARCHAR(191) NOT NULL,
    option_value TEXT NOT NULL, autoload VARCHAR(20) NOT NULL);
INSERT INTO x_options VALUES (1, 'siteurl', 'https://example.com/wp', 'yes'),
    (2, 'home', 'https://example.com', 'yes'), (3, 'blogname', 'It''s 😀 &amp; "x"', 'yes'),
    (4, 'db_version', '58975', 'yes'), (5, 'siteurl_old', 'no', 'yes');
CREATE TABLE empty_options (option_id INTEGER PRIMARY KEY, option_name VARCHAR(191) NOT NULL,
    option_value TEXT NOT NULL, autoload VARCHAR(20) NOT NULL);
CREATE TABLE odd_options (id INTEGER PRIMARY KEY);
"""
IDENTITY = SiteIdentity(
    "https://example.com/wp", "https://example.com", 'It\'s 😀 &amp; "x"', "58975"
)


@pytest.fixture
def sqlite_spec(tmp_path: Path) -> DatabaseSpec:
    path = tmp_path / "site.sqlite"
    with sqlite3.connect(path) as connection:
        connection.executescript(OPTIONS)
    connection.close()
    return DatabaseSpec(engine="sqlite", name=str(path))


@pytest.fixture
def mysql_spec(mariadb_server: MariaDBServer) -> DatabaseSpec:
    name = mariadb_server.create_database()
    mariadb_server.execute(OPTIONS, name)
    return DatabaseSpec(
        engine="mysql",
        name=name,
        host=mariadb_server.host,
        port=mariadb_server.port,
        user=mariadb_server.user,
        password=mariadb_server.password,
    )


@pytest.fixture(params=["sqlite_spec", "mysql_spec"])
def spec(request: pytest.FixtureRequest) -> DatabaseSpec:
    return request.getfixturevalue(request.param)


def test_the_site_is_who_its_options_say_when_they_are_there(spec: DatabaseSpec):
    assert read_site_identity(open_database(spec), "x_") == IDENTITY


@pytest.mark.parametrize("prefix", ["none_", "empty_", "x_; DROP TABLE x_options; --", "", "x'"])
def test_an_error_says_so_when_the_database_is_another_ones(spec: DatabaseSpec, prefix: str):
    with pytest.raises(EngineError) as caught:
        read_site_identity(open_database(spec), prefix)
    assert caught.value.code == "not_wordpress"
    assert caught.value.permanent
    assert "table prefix" in caught.value.hint
    assert read_site_identity(open_database(spec), "x_") == IDENTITY


def test_the_databases_own_error_comes_through_when_it_is_another_one(spec: DatabaseSpec):
    with pytest.raises(EngineError) as caught:
        read_site_identity(open_database(spec), "odd_")
    assert caught.value.code != "not_wordpress"


def test_refused_credentials_come_through_when_the_password_is_wrong(mysql_spec: DatabaseSpec):
    with pytest.raises(EngineError) as caught:
        read_site_identity(open_database(replace(mysql_spec, password="wr0ng")), "x_")
    assert caught.value.code == "credentials_refused"
    assert "wr0ng" not in str(caught.value) + caught.value.hint
