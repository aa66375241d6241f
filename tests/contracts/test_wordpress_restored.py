"""A real WordPress is damaged on purpose, restored in place, and the restore is taken back."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.contracts.test_real_wordpress import contents, pages_of
from tests.servers import wait_until
from tests.servers.cluster import Cluster, running_cluster
from tests.servers.mariadb import MariaDBServer
from tests.servers.redis import RedisServer
from tests.servers.wordpress import (
    PREFIX,
    WordPressSite,
    give_to_php,
    install_wordpress,
    run_php,
    wordpress_directory,
)

pytestmark = pytest.mark.slow

PLUGIN = "holdfast-plugin/holdfast-plugin.php"
PLUGIN_CODE = """<?php
/* Plugin Name: Holdfast Test
 * Version: 1.2 */
add_action( 'wp_footer', function () { echo '<p>The plugin is at work</p>'; } );
"""
ACTIVATE = f"""<?php
require __DIR__ . '/wp-load.php';
require_once ABSPATH . 'wp-admin/includes/plugin.php';
$result = activate_plugin('{PLUGIN}');
echo is_wp_error($result) ? $result->get_error_message() : 'active';
"""


@dataclass
class State:
    files: dict[str, tuple[int, int, bytes]]
    tables: str


@pytest.fixture(scope="module")
def site(mariadb_server: MariaDBServer) -> Iterator[WordPressSite]:
    """A WordPress of this module's own, with a plugin."""
    with wordpress_directory() as directory:
        site = install_wordpress(directory / "shop", mariadb_server)
        plugin = site.root / "wp-content" / "plugins" / PLUGIN
        plugin.parent.mkdir(parents=True)
        plugin.write_text(PLUGIN_CODE)
        give_to_php(site.root)
        assert run_php(site.root, ACTIVATE) == "active"
        yield site


def state_of(site: WordPressSite) -> State:
    names = site.server.execute("SHOW TABLES", site.database).split()
    listed = ", ".join(f"`{name}`" for name in names)
    checksums = site.server.execute(f"CHECKSUM TABLE {listed} EXTENDED", site.database)
    return State(contents(site.root / "wp-content"), checksums)


def damage(site: WordPressSite) -> None:
    """Delete a plugin, drop a table, deface a page."""
    shutil.rmtree(site.root / "wp-content" / "plugins" / Path(PLUGIN).parent)
    theme = site.root / "wp-content" / "themes" / "holdfast-test"
    (theme / "index.php").write_text("<h1>Defaced</h1>")
    site.server.execute(
        f"DROP TABLE {PREFIX}comments; UPDATE {PREFIX}posts SET post_content = 'defaced'",
        site.database,
    )


def ended(cluster: Cluster, job_id: str) -> dict[str, Any]:
    def job() -> dict[str, Any]:
        found: dict[str, Any] = cluster.get(f"/api/v1/jobs/{job_id}").body
        return found

    wait_until(lambda: job()["status"] != "running", 120, f"job {job_id} ends")
    return job()


@pytest.fixture(scope="module")
def cluster(
    site: WordPressSite, redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cluster]:
    directory = tmp_path_factory.mktemp("cluster")
    url = f"sqlite:///{directory / 'panel.sqlite3'}"
    with running_cluster(directory, url, redis_server.url, sites=site.root.parent) as cluster:
        (directory / "store").mkdir()
        storage = {"type": "local", "config": {"path": str(directory / "store")}}
        body = {"name": "disk", "is_default": True, **storage}
        assert cluster.post("/api/v1/storage/providers", body).status == 201
        yield cluster


def test_it_answers_as_before_once_restored_and_is_damaged_again_once_that_is_undone(
    site: WordPressSite, cluster: Cluster
) -> None:
    added = cluster.post("/api/v1/sites/manual", {"path": str(site.root)})
    assert added.status == 201, added
    pages, sound = pages_of(site.root), state_of(site)
    assert "The plugin is at work" in str(pages[0])
    assert cluster.post(f"/api/v1/sites/{added.body['id']}/backup/start").status == 202
    assert cluster.wait_for_end(added.body["id"])["status"] == "completed"
    [backup] = cluster.get(f"/api/v1/sites/{added.body['id']}/backups").body["backups"]

    damage(site)
    damaged = state_of(site)
    body = {"backup_id": backup["id"]}
    started = cluster.post(f"/api/v1/sites/{added.body['id']}/restore", body)
    assert started.status == 202, started
    job = ended(cluster, started.body["job_id"])
    assert job["status"] == "completed", (job["error"], job["warnings"])
    assert pages_of(site.root) == pages
    restored = state_of(site)
    assert restored == sound

    undone = cluster.post(f"/api/v1/jobs/{job['id']}/undo")
    assert undone.status == 202, undone
    job = ended(cluster, undone.body["job_id"])
    assert job["status"] == "completed", (job["error"], job["warnings"])
    assert state_of(site) == damaged

    proof = cluster.post(f"/api/v1/backups/{backup['id']}/verify")
    job = ended(cluster, proof.body["job_id"])
    assert (job["status"], job["warnings"]) == ("completed", []), job["error"]
    [receipt] = cluster.get(f"/api/v1/backups/{backup['id']}/proofs").body
    assert receipt["facts"]["wordpress"]["plugins"] >= 1
    assert receipt["facts"]["wordpress"]["attachments"] == 12
