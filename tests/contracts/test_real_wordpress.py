"""A real WordPress survives: backed up, restored with tar and the database's client alone."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.servers.cluster import running_cluster
from tests.servers.mariadb import MariaDBServer
from tests.servers.redis import RedisServer
from tests.servers.wordpress import (
    EMOJI,
    PREFIX,
    TITLE,
    WordPressServer,
    WordPressSite,
    copy_core,
    give_to_php,
    run_php,
    wordpress_directory,
)
from workers.engine.databases import open_database
from workers.engine.databases.base import DatabaseSpec
from workers.engine.progress import SilentReporter
from workers.engine.scan import scan
from workers.engine.wordpress import (
    SiteInspection,
    database_spec,
    inspect_site,
    read_site_identity,
)
from workers.engine.wordpress.rewrite import rewrite_site

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def inspection(wordpress_site: WordPressSite) -> SiteInspection:
    root = wordpress_site.root
    return inspect_site(root, allowed_roots=[root.parent])


def test_it_is_complete_when_it_is_inspected(inspection: SiteInspection, wordpress_site):
    assert inspection.is_complete
    assert inspection.problems == ()
    assert inspection.db_name == wordpress_site.database
    assert inspection.config is not None
    assert inspection.config.table_prefix == PREFIX
    assert re.fullmatch(r"\d+\.\d+(\.\d+)?", inspection.wordpress_version or "")


def test_it_is_the_only_one_found_when_its_folder_is_scanned(wordpress_site: WordPressSite):
    parent = wordpress_site.root.parent
    assert [site.path for site in scan(parent, allowed_roots=[parent])] == [wordpress_site.root]


def test_it_says_its_name_and_url_when_it_is_asked(inspection: SiteInspection):
    assert inspection.config is not None
    database = open_database(database_spec(inspection.config))
    identity = read_site_identity(database, inspection.config.table_prefix or "")
    assert identity.site_url == "http://holdfast.example"
    assert identity.home == identity.site_url
    assert identity.name == TITLE.replace("&", "&amp;")
    assert identity.database_version.isdigit()


@pytest.fixture(scope="module")
def bundle(
    wordpress_site: WordPressSite,
    redis_server: RedisServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """The bundle of the site, made as a user makes one: found, added and backed up over HTTP."""
    directory = tmp_path_factory.mktemp("cluster")
    store = directory / "store"
    store.mkdir()
    url, root = f"sqlite:///{directory / 'panel.sqlite3'}", wordpress_site.root
    with running_cluster(directory, url, redis_server.url, sites=root.parent) as cluster:
        config = {"name": "disk", "type": "local", "is_default": True}
        config["config"] = {"path": str(store)}
        assert cluster.post("/api/v1/storage/providers", config).status == 201
        node = cluster.get("/api/v1/nodes/").body[0]["id"]
        found = cluster.get(f"/api/v1/daemon/scan?node_id={node}&base_path={root.parent}").body
        assert [site["path"] for site in found["sites"]] == [str(root)]
        site = cluster.post("/api/v1/sites/manual", {"path": found["sites"][0]["path"]})
        assert (site.status, site.body["url"]) == (201, "http://holdfast.example"), site
        started = cluster.post(f"/api/v1/sites/{site.body['id']}/backup/start")
        assert started.status == 202, started
        status = cluster.wait_for_end(site.body["id"])
        assert (status["status"], status["message"]) == ("completed", "Backup completed"), status
    (bundle,) = store.rglob("*.tar.zst")
    return bundle


def restore(bundle: Path, root: Path, server: MariaDBServer) -> str:
    """Restore with `tar` and the database's client only; return the new database's name.

    WordPress's own files come from the package, as they would from a download. What a person edits
    by hand is the database's name, since the old one still exists.
    """
    copy_core(root)
    subprocess.run(["tar", "--zstd", "-xf", str(bundle), "-C", str(root)], check=True)
    database = server.create_database()
    with (root / "database.sql").open("rb") as dump:
        subprocess.run([*server.client_argv, database], stdin=dump, check=True)
    config = root / "wp-config.php"
    edited, count = re.subn(
        r"(define\( 'DB_NAME', ')[^']*", rf"\g<1>{database}", config.read_text("utf-8")
    )
    assert count == 1
    config.write_text(edited, "utf-8")
    give_to_php(root)
    return database


@pytest.fixture
def restored(bundle: Path, mariadb_server: MariaDBServer) -> Iterator[tuple[Path, str]]:
    with ExitStack() as stack:
        root = stack.enter_context(wordpress_directory()) / "restored"
        yield root, restore(bundle, root, mariadb_server)


def contents(folder: Path) -> dict[str, tuple[int, int, bytes]]:
    """Return mode, time of change in ns and content of every file, by its path."""
    return {
        str(path.relative_to(folder)): (
            path.stat().st_mode,
            path.stat().st_mtime_ns,
            path.read_bytes(),
        )
        for path in folder.rglob("*")
        if path.is_file()
    }


def checksums(server: MariaDBServer, database: str) -> str:
    """Return the checksum of every table, without the database's name."""
    names = server.execute("SHOW TABLES", database).split()
    assert len(names) == 12
    listed = ", ".join(f"`{name}`" for name in names)
    return server.execute(f"CHECKSUM TABLE {listed} EXTENDED", database).replace(database, "")


def pages_of(root: Path) -> list[str | bytes]:
    with WordPressServer(root) as web:
        front = web.get("/")
        images = re.findall(r"http://holdfast\.example(/wp-content/uploads/[^\"' ]+\.png)", front)
        assert images
        return [
            front,
            web.get("/?p=4"),
            web.get("/?feed=rss2"),
            web.get_bytes(images[0]),
        ]


def test_the_front_page_answers_the_same_when_the_site_is_restored_elsewhere(
    restored: tuple[Path, str], wordpress_site: WordPressSite, mariadb_server: MariaDBServer
):
    root, database = restored
    before = checksums(mariadb_server, wordpress_site.database)
    assert checksums(mariadb_server, database) == before
    assert contents(root / "wp-content") == contents(wordpress_site.root / "wp-content")
    assert database != wordpress_site.database

    original = pages_of(wordpress_site.root)
    assert EMOJI in original[0]
    mariadb_server.execute(f"RENAME TABLE {PREFIX}posts TO {PREFIX}hidden", wordpress_site.database)
    try:
        # The restored site lives from its own database: the old one is unusable meanwhile.
        assert pages_of(root) == original
    finally:
        mariadb_server.execute(
            f"RENAME TABLE {PREFIX}hidden TO {PREFIX}posts", wordpress_site.database
        )


MOVED = "https://moved.example/blog"


def test_the_site_lives_under_another_url_when_it_was_rewritten(
    restored: tuple[Path, str], wordpress_site: WordPressSite, mariadb_server: MariaDBServer
):
    root, database = restored
    server = mariadb_server
    spec = DatabaseSpec(
        "mysql", database, host=server.host, port=server.port, user="root", password=server.password
    )
    report = rewrite_site(
        spec,
        prefix=PREFIX,
        old_url="http://holdfast.example",
        new_url=MOVED,
        old_path=str(wordpress_site.root),
        new_path=str(root),
        check=lambda: None,
        reporter=SilentReporter(),
    )
    assert report.left == []
    assert report.tables[f"{PREFIX}options"] >= 2

    read = """<?php $_SERVER['HTTP_HOST'] = 'moved.example'; $_SERVER['HTTPS'] = 'on';
    require __DIR__ . '/wp-load.php'; global $wpdb;
    $broken = 0;
    foreach ($wpdb->get_results("SELECT option_value v FROM $wpdb->options") as $row) {
        $broken += is_serialized($row->v) && @unserialize($row->v) === false;
    }
    $admin = get_user_by('login', 'admin');
    echo json_encode([home_url('/'), $broken, user_can($admin, 'manage_options'),
        get_option('holdfast_binary')['nested'][3], wp_get_attachment_url(5)]);"""
    home, broken, may, binary, attachment = json.loads(run_php(root, read))
    assert (home, broken, may, binary) == (f"{MOVED}/", 0, True, "a\0b")
    assert attachment.startswith(f"{MOVED}/wp-content/uploads/")

    with WordPressServer(root, "moved.example") as web:
        feed = web.get("/?feed=rss2")
    assert MOVED in feed
    assert EMOJI in feed
    # The one place where the old URL stays: the posts' GUIDs.
    assert "http://holdfast.example" not in re.sub(r"<guid[^>]*>[^<]*</guid>", "", feed)
