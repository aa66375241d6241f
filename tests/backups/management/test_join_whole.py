"""A host joins a real panel in production, works, and gets a changed password: nothing is shared.

MariaDB and Redis want passwords; the host begins with no settings but where its files may lie.
"""

from __future__ import annotations

import os
import secrets
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
import redis

from tests.servers import Daemon, free_port, server_directory, wait_until
from tests.servers.cluster import ROOT, Cluster
from tests.servers.mariadb import MariaDBServer
from tests.servers.redis import RedisServer
from tests.workers.stages.pipeline import make_sqlite_site

pytestmark = pytest.mark.slow

BROKER_PASSWORD = "r3dis p@ss/w%rd#\"'"
FERNET = "3kKqYPtv5yXc0mZr8vB7WQd1nT4sJ6uL9eHfGgAoIxE="


class Host:
    """Another machine as far as settings go: a home and folders of its own, nothing inherited."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir()
        self.directory = directory
        self.file = directory / "etc" / "node.env"

    @property
    def environment(self) -> dict[str, str]:
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("HOLDFAST_")}
        return {
            **inherited,
            "HOME": str(self.directory),
            "HOLDFAST_NODE_FILE": str(self.file),
            "HOLDFAST_SPOOL_DIRECTORY": str(self.directory / "spool"),
            # As the image sets it: without secrets nothing starts but `node join`.
            "HOLDFAST_ENVIRONMENT": "production",
        }

    def manage(self, *arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT,
            env=self.environment,
            input=given,
            capture_output=True,
            text=True,
            timeout=120,
        )

    def worker(self) -> Daemon:
        argv = [sys.executable, "manage.py", "worker"]
        return Daemon(
            argv, log=self.directory / "worker.log", environment=self.environment, cwd=ROOT
        )


@pytest.fixture(scope="module")
def broker() -> Iterator[RedisServer]:
    """A Redis of this module's own, which wants a password."""
    with server_directory("redis") as directory:
        server = RedisServer(directory)
        server.start()
        server.client().config_set("requirepass", BROKER_PASSWORD)
        try:
            yield server
        finally:
            server.kill()


@pytest.fixture(scope="module")
def panel(
    broker: RedisServer, mariadb_server: MariaDBServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cluster]:
    """Panel and coordinator in production; their secrets are in files."""
    directory = tmp_path_factory.mktemp("panel")
    mariadb = f"mysql://root@{{}}:{mariadb_server.port}/{mariadb_server.create_database()}"
    contents = {
        "SECRET_KEY": secrets.token_urlsafe(64),
        "ENCRYPTION_KEYS": FERNET,
        "DATABASE_PASSWORD": mariadb_server.password,
        "BROKER_PASSWORD": BROKER_PASSWORD,
    }
    for name, content in contents.items():
        (directory / name).write_text(f"{content}\n")
    settings = {
        **{f"HOLDFAST_{name}_FILE": str(directory / name) for name in contents},
        "HOLDFAST_SECRET_KEY": "",
        "HOLDFAST_ENVIRONMENT": "production",
        "HOLDFAST_NODE_FILE": "",
        "HOLDFAST_NODE_DATABASE_URL": mariadb.format("127.0.0.1"),
        "HOLDFAST_NODE_BROKER_URL": broker.url,
    }
    cluster = Cluster(directory, mariadb.format("127.0.0.1"), broker.url, settings)
    try:
        cluster.set_up(directory)
        cluster.start_panel()
        cluster.start_coordinator()
        yield cluster
    finally:
        cluster.stop()


def joined(panel: Cluster, host: Host, name: str, root: Path) -> str:
    """Let the host join as a new node; return the node's id."""
    token = panel.manage("node", "token", name, "--root", str(root), "--quiet").stdout.strip()
    address = f"http://127.0.0.1:{panel.port}"
    done = host.manage("node", "join", "--panel", address, "--token", "-", given=f"{token}\n")
    assert done.returncode == 0, done.stdout + done.stderr
    assert token not in host.file.read_text()
    return str(next(n["id"] for n in panel.get("/api/v1/nodes/").body if n["name"] == name))


def test_a_host_that_joined_backs_up_with_what_it_got_alone(panel: Cluster, tmp_path: Path) -> None:
    host, sites, store = Host(tmp_path / "host"), tmp_path / "www", tmp_path / "store"
    store.mkdir()
    make_sqlite_site(sites / "example.com")
    refused = host.manage("worker")
    assert refused.returncode == 1
    assert refused.stderr == f"manage.py: {host.file} cannot be read (No such file or directory).\n"

    node = joined(panel, host, "far-01", sites)
    assert stat.S_IMODE(host.file.stat().st_mode) == 0o600
    assert [path.name for path in host.file.parent.iterdir()] == ["node.env"]
    # The panel's own key signs sessions: no host gets it.
    assert (panel.directory / "SECRET_KEY").read_text().strip() not in host.file.read_text()

    worker = host.worker()
    try:
        worker.start(lambda: panel.get(f"/api/v1/nodes/{node}").body["status"] == "online")
        config = {"name": "far", "type": "local", "config": {"path": str(store)}}
        storage = panel.post("/api/v1/storage/providers", config)
        assert storage.status == 201, storage
        site = panel.post(
            "/api/v1/sites/manual",
            {"path": str(sites / "example.com"), "node_id": int(node)},
        )
        assert site.status == 201, site
        site_id = site.body["id"]
        panel.request("PATCH", f"/api/v1/sites/{site_id}", {"storage_id": storage.body["id"]})
        started = panel.post(f"/api/v1/sites/{site_id}/backup/start")
        assert started.status == 202, started
        assert panel.wait_for_end(site_id)["status"] == "completed"
    except BaseException as error:
        error.add_note(worker.log_tail() + panel.logs())
        raise
    finally:
        worker.stop()
    assert len(list(store.rglob("*.tar.zst"))) == 1


def test_a_changed_password_reaches_the_host_and_a_disabled_one_gets_nothing(
    panel: Cluster, broker: RedisServer, tmp_path: Path
) -> None:
    host = Host(tmp_path / "host")
    node = joined(panel, host, "far-02", tmp_path)
    with host.file.open("a") as file:
        file.write("HOLDFAST_LOG_LEVEL=WARNING\n")
    assert "Nothing has changed" in host.manage("node", "refresh").stdout
    before = host.file.read_text()

    with redis.Redis(port=broker.port, password=BROKER_PASSWORD) as client:
        client.config_set("requirepass", "another")
    (panel.directory / "BROKER_PASSWORD").write_text("another")
    panel.daemons["panel"].stop()
    panel.start_panel()
    refreshed = host.manage("node", "refresh")
    assert "Changed in" in refreshed.stdout, refreshed.stderr
    assert ": HOLDFAST_BROKER_URL. Restart" in refreshed.stdout
    after = host.file.read_text()
    old, new = quote(BROKER_PASSWORD, safe=""), "another"
    assert after == before.replace(f":{old}@", f":{new}@")
    assert after != before

    assert panel.request("PATCH", f"/api/v1/nodes/{node}", {"is_enabled": False}).status == 200
    disabled = host.manage("node", "refresh")
    assert (disabled.returncode, disabled.stdout) == (1, "")
    assert "This node is disabled" in disabled.stderr
    no_token = panel.manage("node", "token", "far-02", check=False)
    assert "far-02 is disabled" in no_token.stderr


def test_nothing_is_written_when_the_host_cannot_work_with_what_it_got(
    panel: Cluster, tmp_path: Path
) -> None:
    host = Host(tmp_path / "host")
    missing = tmp_path / "nowhere"
    token = panel.manage("node", "token", "far-03", "--root", str(missing), "--quiet").stdout
    address = f"http://127.0.0.1:{panel.port}"
    done = host.manage("node", "join", "--panel", address, "--token", "-", given=token)
    assert done.returncode == 1
    assert f"{missing} is no folder of this host" in done.stderr
    assert list(host.file.parent.iterdir()) == []
    again = host.manage("node", "join", "--panel", address, "--token", "-", given=token)
    assert "This token is not good" in again.stderr
    nowhere = f"http://127.0.0.1:{free_port()}"
    gone = host.manage("node", "join", "--panel", nowhere, "--token", "-", given="x")
    assert "The panel cannot be reached: " in gone.stderr
    wait_until(lambda: list(host.file.parent.iterdir()) == [])
