"""A backup becomes a copy with a database of its own, and another site with another prefix.

And of a site whose account may make no databases, and whose node goes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.servers import wait_until
from tests.servers.cluster import Cluster, running_cluster
from tests.servers.mariadb import MariaDBServer
from tests.servers.moto import S3Server
from tests.servers.redis import RedisServer

pytestmark = pytest.mark.slow

CONFIG = """<?php
// As somebody wrote it by hand.
define('DB_NAME', '{database}');
define('DB_USER', '{user}');
define('DB_PASSWORD', '{password}');
define('DB_HOST', '127.0.0.1:{port}');
$table_prefix = '{prefix}';
require_once ABSPATH . 'wp-settings.php';
"""
SCRATCH_PASSWORD = "only-for-scratch-databases"
TENANT_PASSWORD = "of-one-site-of-many"
ACCOUNTS = rf"""
CREATE USER scratch@'%' IDENTIFIED BY '{SCRATCH_PASSWORD}';
GRANT ALL PRIVILEGES ON `%\_hf\_%`.* TO scratch@'%' WITH GRANT OPTION;
CREATE USER tenant@'%' IDENTIFIED BY '{TENANT_PASSWORD}';
"""
SERIALISED = 'a:1:{s:4:"logo";s:27:"http://%s/logo.png";}'
TABLES = """
CREATE TABLE {prefix}options (option_id INT AUTO_INCREMENT PRIMARY KEY,
  option_name VARCHAR(191) UNIQUE, option_value LONGTEXT NOT NULL);
INSERT INTO {prefix}options (option_name, option_value) VALUES
  ('siteurl', 'http://{host}'), ('home', 'http://{host}'), ('blogname', '{host}'),
  ('theme_mods', '{serialised}'), ('upload_path', '{path}/wp-content/uploads');
CREATE TABLE {prefix}posts (ID INT AUTO_INCREMENT PRIMARY KEY, post_content LONGTEXT NOT NULL,
  guid VARCHAR(255) NOT NULL DEFAULT '');
INSERT INTO {prefix}posts (post_content) VALUES ('<a href="http://{host}/about">about</a>');
"""


@dataclass
class Place:
    """A site on the node: its folder and its database."""

    cluster: Cluster
    server: MariaDBServer
    id: int
    path: Path
    database: str

    @property
    def config(self) -> str:
        return (self.path / "wp-config.php").read_text()

    def option(self, table: str, name: str, database: str = "") -> str:
        statement = f"SELECT option_value FROM {table} WHERE option_name = '{name}'"
        return self.server.execute(statement, database or self.database).rstrip("\n")

    def tables(self, database: str = "") -> list[str]:
        return self.server.execute("SHOW TABLES", database or self.database).split()

    def backed_up(self) -> int:
        assert self.cluster.post(f"/api/v1/sites/{self.id}/backup/start").status == 202
        status = self.cluster.wait_for_end(self.id)
        assert status["status"] == "completed", status
        backups = self.cluster.get(f"/api/v1/sites/{self.id}/backups").body["backups"]
        return int(backups[0]["id"])

    def restored(self, **body: Any) -> dict[str, Any]:
        answer = self.cluster.post(f"/api/v1/sites/{self.id}/restore", body)
        assert answer.status == 202, answer
        return self.ended(answer.body["job_id"])

    def ended(self, job_id: str) -> dict[str, Any]:
        def job() -> dict[str, Any]:
            found: dict[str, Any] = self.cluster.get(f"/api/v1/jobs/{job_id}").body
            return found

        wait_until(lambda: job()["status"] != "running", 90, f"job {job_id} ends")
        ended = job()
        assert ended["status"] == "completed", (ended["error"], ended["warnings"])
        return ended


@pytest.fixture(scope="module")
def cluster(
    redis_server: RedisServer,
    mariadb_server: MariaDBServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Cluster]:
    directory = tmp_path_factory.mktemp("elsewhere")
    url = f"sqlite:///{directory / 'panel.sqlite3'}"
    mariadb_server.execute(ACCOUNTS)
    scratch = f"mysql://scratch:{SCRATCH_PASSWORD}@{mariadb_server.host}:{mariadb_server.port}"
    settings = {"HOLDFAST_SCRATCH_DATABASES": scratch}
    with running_cluster(directory, url, redis_server.url, settings=settings) as cluster:
        (directory / "store").mkdir()
        storage = {"type": "local", "config": {"path": str(directory / "store")}}
        body = {"name": "disk", "is_default": True, **storage}
        assert cluster.post("/api/v1/storage/providers", body).status == 201
        yield cluster
    mariadb_server.execute("DROP USER scratch@'%', tenant@'%'")


def made(
    cluster: Cluster, server: MariaDBServer, host: str, prefix: str, user: str = "root"
) -> Place:
    database = server.create_database()
    # The lengths in what PHP serialised are right for these hosts alone.
    serialised = (SERIALISED % host).replace("s:27", f"s:{len(f'http://{host}/logo.png')}")
    path = cluster.directory / host
    values = {"prefix": prefix, "host": host, "serialised": serialised, "path": path}
    server.execute(TABLES.format(**values), database)
    (path / "wp-content").mkdir(parents=True)
    (path / "wp-content" / "index.php").write_text(f"<?php // {host}")
    if user == "root":
        password = server.password.replace("\\", "\\\\").replace("'", "\\'")
    else:
        password = TENANT_PASSWORD
        server.execute(f"GRANT ALL PRIVILEGES ON `{database}`.* TO {user}@'%'")
    access = {"user": user, "password": password, "port": server.port}
    (path / "wp-config.php").write_text(CONFIG.format(database=database, prefix=prefix, **access))
    answer = cluster.post("/api/v1/sites/manual", {"path": str(path), "name": host})
    assert answer.status == 201, answer
    return Place(cluster, server, answer.body["id"], path, database)


@pytest.fixture(scope="module")
def places(cluster: Cluster, mariadb_server: MariaDBServer) -> tuple[Place, Place]:
    one = made(cluster, mariadb_server, "one.example", "one_")
    return one, made(cluster, mariadb_server, "the-other.example", "other_")


def test_a_copy_has_a_database_of_its_own_and_names_it(places: tuple[Place, Place]) -> None:
    one, _ = places
    job = one.restored(backup_id=one.backed_up(), target="copy")
    copy = Path(job["parameters"]["target_path"])
    config = (copy / "wp-config.php").read_text()
    database = f"{one.database}_restored_{copy.name.rpartition('_restored_')[2]}"
    assert config == one.config.replace(f"'{one.database}'", f"'{database}'")
    assert one.tables(database) == one.tables() == ["one_options", "one_posts"]
    assert one.option("one_options", "siteurl", database) == "http://one.example"
    again = one.cluster.post(
        f"/api/v1/sites/{one.id}/restore",
        {
            "backup_id": job["source_backup_id"],
            "target": "copy",
            "target_path": str(copy),
            "target_database": database,
        },
    )
    wait_until(
        lambda: one.cluster.get(f"/api/v1/jobs/{again.body['job_id']}").body["status"] == "failed",
        60,
        "a place that holds something is refused",
    )
    refused = one.cluster.get(f"/api/v1/jobs/{again.body['job_id']}").body
    assert refused["error_code"] == "target_exists"
    one.server.execute(f"DROP DATABASE {database}")


def test_another_sites_backup_lives_under_this_ones_address_until_it_is_undone(
    places: tuple[Place, Place],
) -> None:
    one, other = places
    before = other.config, other.tables(), other.option("other_options", "theme_mods")
    changed = other.cluster.request(
        "PATCH", f"/api/v1/sites/{other.id}", {"url": "http://the-other.example"}
    )
    assert changed.status == 200, changed
    job = other.restored(backup_id=one.backed_up(), rewrite_url=True)
    assert other.tables() == ["one_options", "one_posts"]
    assert other.config == before[0].replace("'other_'", "'one_'")
    assert (other.path / "wp-content" / "index.php").read_text() == "<?php // one.example"
    assert other.option("one_options", "siteurl") == "http://the-other.example"
    assert other.option("one_options", "theme_mods") == before[2]
    uploads = str(other.path / "wp-content" / "uploads")
    assert other.option("one_options", "upload_path") == uploads
    posts = other.server.execute("SELECT post_content FROM one_posts", other.database)
    assert posts.strip() == '<a href="http://the-other.example/about">about</a>'
    undone = other.cluster.post(f"/api/v1/jobs/{job['id']}/undo")
    other.ended(undone.body["job_id"])
    after = other.config, other.tables(), other.option("other_options", "theme_mods")
    assert after == before
    assert list(other.path.rglob(".holdfast-*")) == []


def test_one_table_comes_back_and_the_others_stay(places: tuple[Place, Place]) -> None:
    one, _ = places
    backup = one.backed_up()
    one.server.execute(
        "UPDATE one_options SET option_value = 'lost'; DELETE FROM one_posts", one.database
    )
    job = one.restored(backup_id=backup, what="database", tables=["one_options"], checkpoint=False)
    assert one.option("one_options", "blogname") == "one.example"
    assert one.server.execute("SELECT COUNT(*) FROM one_posts", one.database).strip() == "0"
    assert job["parameters"]["tables"] == ["one_options"]


def test_a_site_without_rights_is_restored_and_proven_once_its_node_is_gone(
    cluster: Cluster, mariadb_server: MariaDBServer, moto_s3: S3Server
) -> None:
    store = {"name": "bucket", "type": "s3", "config": moto_s3.config()}
    storage = cluster.post("/api/v1/storage/providers", store)
    assert storage.status == 201, storage
    site = made(cluster, mariadb_server, "three.example", "three_", user="tenant")
    path = f"/api/v1/sites/{site.id}"
    assert cluster.request("PATCH", path, {"storage_id": storage.body["id"]}).status == 200
    backup = site.backed_up()
    mariadb_server.execute("UPDATE three_options SET option_value = 'lost'", site.database)
    site.restored(backup_id=backup, checkpoint=False)
    assert site.option("three_options", "blogname") == "three.example"
    rights = "SELECT Db FROM mysql.db WHERE User = 'tenant'"
    assert mariadb_server.execute(rights).split() == [site.database]

    cluster.daemons["worker"].stop(timeout=20)
    cluster.manage("node", "add", "web-02", "--root", str(cluster.directory / "nothing"))
    cluster.start(
        "worker-of-web-02",
        *("manage.py", "worker", "--node", "web-02"),
        ready=cluster.says("worker-of-web-02", " ready."),
        environment={"HOLDFAST_SPOOL_DIRECTORY": str(cluster.directory / "spool-02")},
    )
    (site.path / "wp-config.php").unlink()
    proof = cluster.post(f"/api/v1/backups/{backup}/verify")
    assert proof.status == 202, proof
    assert site.ended(proof.body["job_id"])["node"] == "web-02"
    [receipt] = cluster.get(f"/api/v1/backups/{backup}/proofs").body
    assert (receipt["outcome"], receipt["node"], receipt["facts"]["tables"]) == (
        "passed",
        "web-02",
        len(site.tables()),
    )
    assert mariadb_server.execute("SHOW DATABASES LIKE '%\\_hf\\_%'") == ""
    assert not list((cluster.directory / "spool-02").glob("[!.]*"))
