"""What a folder holds."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.workers.engine.wordpress.trees import CONFIG, make_site
from workers.engine.errors import EngineError
from workers.engine.wordpress import find_wp_config, inspect_site


def test_a_site_is_complete_when_all_is_there(tmp_path: Path):
    site = make_site(tmp_path / "example.com")
    found = inspect_site(site, allowed_roots=[tmp_path])
    assert (found.name, found.path, found.db_name) == ("example.com", site, "shop")
    assert found.has_wp_config
    assert found.has_wp_content
    assert found.is_complete
    assert found.content_directory == site / "wp-content"
    assert found.wordpress_version == "6.8.1"
    assert found.problems == ()
    assert found.config is not None


@pytest.mark.parametrize(
    ("folder", "home", "name"),
    [
        ("example.com/public_html", "", "example.com"),
        ("example.com/public_html/blog", "", "blog"),
        ("x", "define('WP_HOME', 'https://example.org/');", "example.org"),
        ("x", "define('WP_SITEURL', 'http://example.org:8080/blog/');", "example.org-blog"),
        ("x", "define('WP_HOME', 'javascript:alert(1)');", "x"),
        ("x", "define('WP_HOME', 'https://a/../../etc');", "a-..-..-etc"),
    ],
)
def test_the_site_is_named_after_its_url_or_folder_when_there_is_one(tmp_path, folder, home, name):
    site = make_site(tmp_path / folder, config=False)
    (site / "wp-config.php").write_text(f"<?php {home}" + CONFIG[5:].format(name="x"))
    assert inspect_site(site, allowed_roots=[tmp_path]).name == name


def test_the_configuration_is_found_when_it_lies_one_folder_up(tmp_path: Path):
    site = make_site(tmp_path / "above" / "public", config=False)
    (tmp_path / "above" / "wp-config.php").write_text(CONFIG.format(name="up"))
    assert find_wp_config(site) == tmp_path / "above" / "wp-config.php"
    assert inspect_site(site, allowed_roots=[tmp_path]).db_name == "up"


def test_the_configuration_above_is_left_alone_when_it_is_another_sites(tmp_path: Path):
    outer = make_site(tmp_path / "outer")
    blog = make_site(outer / "blog", config=False)
    assert find_wp_config(blog) is None
    with pytest.raises(EngineError) as caught:
        inspect_site(blog, allowed_roots=[tmp_path])
    assert caught.value.code == "wp_config_missing"


def test_the_configuration_above_is_refused_when_it_lies_outside_the_roots(tmp_path: Path):
    site = make_site(tmp_path / "site", config=False)
    (tmp_path / "wp-config.php").write_text(CONFIG.format(name="outside"))
    with pytest.raises(EngineError) as caught:
        inspect_site(site, allowed_roots=[site])
    assert caught.value.code == "path_not_allowed"


def test_the_configuration_is_taken_from_elsewhere_when_a_path_is_given(tmp_path: Path):
    site = make_site(tmp_path / "site", config=False)
    other = tmp_path / "etc" / "site.php"
    other.parent.mkdir()
    other.write_text(CONFIG.format(name="etc"))
    found = inspect_site(site, allowed_roots=[tmp_path], wp_config_path=other)
    assert found.db_name == "etc"
    with pytest.raises(EngineError) as caught:
        inspect_site(site, allowed_roots=[site], wp_config_path=other)
    assert caught.value.code == "path_not_allowed"
    with pytest.raises(EngineError) as caught:
        inspect_site(site, allowed_roots=[tmp_path], wp_config_path=tmp_path / "none.php")
    assert caught.value.code == "wp_config_missing"


def test_the_content_is_found_when_the_configuration_moves_it(tmp_path: Path):
    site = make_site(tmp_path / "site", config=False)
    (site / "wp-content" / "uploads").rmdir()
    (site / "wp-content").rmdir()
    (tmp_path / "content").mkdir()
    moved = f"<?php define('WP_CONTENT_DIR', '{tmp_path}/content');"
    (site / "wp-config.php").write_text(moved + CONFIG[5:].format(name="x"))
    found = inspect_site(site, allowed_roots=[tmp_path])
    assert found.content_directory == tmp_path / "content"
    with pytest.raises(EngineError) as caught:
        inspect_site(site, allowed_roots=[site])
    assert caught.value.code == "site_not_found"
    assert "outside the folders" in caught.value.hint


def test_the_content_is_refused_when_it_is_a_link_out(tmp_path: Path):
    root = tmp_path / "root"
    site = make_site(root / "site")
    (site / "wp-content" / "uploads").rmdir()
    (site / "wp-content").rmdir()
    (site / "wp-content").symlink_to(tmp_path)
    with pytest.raises(EngineError) as caught:
        inspect_site(site, allowed_roots=[root])
    assert caught.value.code == "site_not_found"


def test_the_site_is_incomplete_when_its_sqlite_file_lies_outside(tmp_path: Path):
    root = tmp_path / "root"
    site = make_site(root / "site", config=False)
    (tmp_path / "x.db").touch()
    config = "<?php define('DB_ENGINE', 'sqlite'); define('FQDB', '{}'); $table_prefix = 'wp_';"
    (site / "wp-config.php").write_text(config.format(tmp_path / "x.db"))
    found = inspect_site(site, allowed_roots=[root])
    assert not found.is_complete
    assert "outside the folders" in found.problems[0]
    (root / "x.db").touch()
    (site / "wp-config.php").write_text(config.format(root / "x.db"))
    found = inspect_site(site, allowed_roots=[root])
    assert found.is_complete
    assert found.db_name == "x.db"


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("missing", "site_not_found"),
        ("empty", "site_not_found"),
        ("file", "site_not_found"),
        ("config-only", "site_not_found"),
        ("content-only", "wp_config_missing"),
        ("../elsewhere", "path_not_allowed"),
        ("unreadable-config", "wp_config_unreadable"),
    ],
)
def test_an_error_says_so_when_there_is_no_site(tmp_path: Path, path: str, code: str):
    root = tmp_path / "root"
    (root / "empty").mkdir(parents=True)
    (root / "file").touch()
    (root / "config-only").mkdir()
    (root / "config-only" / "wp-config.php").write_text(CONFIG)
    make_site(root / "content-only", config=False, core=False)
    os.mkfifo(make_site(root / "unreadable-config", config=False) / "fifo")
    (root / "unreadable-config" / "wp-config.php").write_bytes(b" " * (1 << 21))
    make_site(tmp_path / "elsewhere")
    with pytest.raises(EngineError) as caught:
        inspect_site(root / path, allowed_roots=[root])
    assert caught.value.code == code
    assert caught.value.permanent
    assert caught.value.hint


@pytest.mark.parametrize("content", [None, b"<?php", b"\xff\xfe", b"$wp_version = 'x' . 'y';"])
def test_the_version_is_not_known_when_its_file_does_not_tell(tmp_path: Path, content):
    site = make_site(tmp_path / "site")
    version = site / "wp-includes" / "version.php"
    version.unlink()
    if content is not None:
        version.write_bytes(content)
    expected = "x" if content and b"'x'" in content else None
    assert inspect_site(site, allowed_roots=[tmp_path]).wordpress_version == expected
    version.unlink(missing_ok=True)
    version.mkdir()
    assert inspect_site(site, allowed_roots=[tmp_path]).wordpress_version is None
