"""A site's owner cannot have another site's files or database put into the own backup."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

import pytest

from workers.engine.databases.base import DatabaseSpec
from workers.engine.errors import EngineError
from workers.engine.wordpress import database_spec, inspect_site
from workers.engine.wordpress.site import examine
from workers.engine.wordpress.tenancy import belongs_to_site, refuse_own_account

OWN = pwd.getpwuid(os.geteuid()).pw_name
CONFIG = """<?php
define('DB_NAME', 'a'); define('DB_USER', 'a'); define('DB_PASSWORD', 'a');
define('DB_HOST', '127.0.0.1');
$table_prefix = 'wp_';
{extra}
"""


def make_site(folder: Path, extra: str = "") -> Path:
    (folder / "wp-content").mkdir(parents=True)
    (folder / "wp-config.php").write_text(CONFIG.format(extra=extra))
    return folder


@pytest.fixture
def another(tmp_path: Path) -> Path:
    """Another site below the same root, with another owner."""
    site = make_site(tmp_path / "another")
    (site / "wp-content" / "database").mkdir()
    (site / "wp-content" / "database" / ".ht.sqlite").write_bytes(b"")
    return site


@pytest.fixture(autouse=True)
def owners(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `another` belong to somebody else, also where the tests do not run as root."""
    own_stat = Path.stat

    def stat(path: Path, **options: bool) -> os.stat_result:
        facts = own_stat(path, **options)
        if "another" not in path.parts:
            return facts
        return os.stat_result([*facts[:4], facts.st_uid + 1, *facts[5:10]])

    monkeypatch.setattr(Path, "stat", stat)


def test_content_is_refused_when_a_setting_leads_to_another_owners(
    tmp_path: Path, another: Path
) -> None:
    extra = f"define('WP_CONTENT_DIR', '{another}/wp-content');"
    site = make_site(tmp_path / "mine", extra)
    inspection = examine(site, allowed_roots=[tmp_path])
    assert inspection.content_directory is None
    assert not inspection.is_complete
    assert "another owner" in " ".join(inspection.problems)


def test_content_is_refused_when_a_link_leads_to_another_owners(
    tmp_path: Path, another: Path
) -> None:
    site = make_site(tmp_path / "mine")
    (site / "wp-content").rmdir()
    (site / "wp-content").symlink_to(another / "wp-content")
    with pytest.raises(EngineError) as caught:
        inspect_site(site, allowed_roots=[tmp_path])
    assert "another owner" in caught.value.sentences()


def test_configuration_is_refused_when_a_link_leads_to_another_owners(
    tmp_path: Path, another: Path
) -> None:
    site = make_site(tmp_path / "mine")
    (site / "wp-config.php").unlink()
    (site / "wp-config.php").symlink_to(another / "wp-config.php")
    with pytest.raises(EngineError) as caught:
        inspect_site(site, allowed_roots=[tmp_path])
    assert caught.value.code == "path_not_allowed"


def test_configuration_is_taken_when_an_admin_names_it(tmp_path: Path, another: Path) -> None:
    site = make_site(tmp_path / "mine")
    config = another / "wp-config.php"
    inspection = inspect_site(site, wp_config_path=config, allowed_roots=[tmp_path])
    assert inspection.config is not None
    assert inspection.config.path == config


@pytest.mark.parametrize("outside", [False, True])
def test_database_file_is_never_opened_when_it_is_not_the_sites_own(
    outside: bool, tmp_path: Path, another: Path
) -> None:
    folder = Path("/var/lib") if outside else another / "wp-content" / "database"
    extra = f"define('DB_ENGINE', 'sqlite'); define('DB_DIR', '{folder}');"
    site = make_site(tmp_path / "mine", extra)
    inspection = inspect_site(site, allowed_roots=[tmp_path])
    assert inspection.config is not None
    with pytest.raises(EngineError) as caught:
        database_spec(inspection.config)
    assert caught.value.code == "wp_config_incomplete"


def test_content_elsewhere_is_taken_when_it_has_the_sites_owner(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    assert belongs_to_site(shared, make_site(tmp_path / "mine"))


@pytest.mark.parametrize(("host", "socket"), [("localhost", ""), ("", ""), ("", "/run/mysqld")])
def test_database_is_refused_when_the_server_would_know_the_worker(host: str, socket: str) -> None:
    with pytest.raises(EngineError, match="own account"):
        refuse_own_account(DatabaseSpec("mysql", "b", host=host, socket=socket, user=OWN))


def test_database_is_taken_when_the_server_asks_for_a_password(tmp_path: Path) -> None:
    refuse_own_account(DatabaseSpec("mysql", "b", host="127.0.0.1", user=OWN))
    refuse_own_account(DatabaseSpec("mysql", "b", host="localhost", user="somebody"))
