"""`manage.py worker`: what it refuses, and that it signs on and off."""

from __future__ import annotations

import io
import socket
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from tests.servers import wait_until
from tests.servers.cluster import Cluster, running_cluster
from tests.servers.redis import RedisServer
from tests.workers.stages.pipeline import make_sqlite_site
from workers.agent.identity import SpoolRefused, prepare_spool


@pytest.mark.django_db
def test_error_says_how_to_add_it_when_the_node_is_unknown() -> None:
    with pytest.raises(CommandError, match="node add web-07"):
        call_command("worker", "--node", "web-07", stdout=io.StringIO())


@pytest.mark.django_db
def test_error_says_what_to_set_when_no_node_is_named(settings: Any) -> None:
    settings.HOLDFAST_NODE = ""
    with pytest.raises(CommandError, match="HOLDFAST_NODE") as refused:
        call_command("worker", "--node", "", stdout=io.StringIO())
    assert refused.value.returncode == 78


def test_error_names_the_variable_when_the_spool_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(SpoolRefused) as refused:
        prepare_spool(tmp_path / "file" / "spool")
    assert "HOLDFAST_SPOOL_DIRECTORY" in refused.value.sentences()


def test_spool_is_for_its_user_alone_when_it_is_made(tmp_path: Path) -> None:
    prepare_spool(tmp_path / "spool")
    assert (tmp_path / "spool").stat().st_mode & 0o777 == 0o700


@pytest.mark.slow
def test_node_goes_online_and_offline_with_its_worker(sqlite_cluster: Cluster) -> None:
    def standing() -> str:
        return sqlite_cluster.manage("node", "list").stdout.splitlines()[1].split()[1]

    for name, daemon in sqlite_cluster.daemons.items():
        if "worker" in name:
            daemon.stop()
    wait_until(lambda: standing() == "offline", message="the node is offline")
    # By its name other tests of this cluster know that it is a worker.
    sqlite_cluster.start_worker("worker-signing-on")
    assert standing() == "online"


ADD_SITES = """
from backups.models import Node, Site
node = Node.objects.get()
for number in range(node.slots):
    site = Site.objects.create(
        name=f"silent-{{number}}", node=node, wp_path={root!r} + f"/{{number}}", db_name="x",
        db_engine="mysql", db_host="127.0.0.1", db_port={port}, db_user="u", db_password="p",
    )
    print(site.pk)
"""


@pytest.mark.slow
def test_question_is_answered_when_every_slot_is_busy(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path / 'panel.sqlite3'}"
    with (
        socket.create_server(("127.0.0.1", 0)) as silent_database,
        running_cluster(tmp_path, url, redis_server.url) as cluster,
    ):
        (tmp_path / "store").mkdir()
        config = {"path": str(tmp_path / "store")}
        storage = {"name": "folder", "type": "local", "config": config, "is_default": True}
        assert cluster.post("/api/v1/storage/providers", storage).status == 201
        for number in range(2):
            make_sqlite_site(tmp_path / str(number))
        code = ADD_SITES.format(root=str(tmp_path), port=silent_database.getsockname()[1])
        sites = cluster.manage("shell", "--verbosity", "0", "-c", code).stdout.split()
        assert len(sites) == 2

        def is_claimed(site: str) -> bool:
            status = cluster.get(f"/api/v1/sites/{site}/backup/status").body
            return bool(status["worker"]) and status["status"] == "running"

        for site in sites:
            assert cluster.post(f"/api/v1/sites/{site}/backup/start").status == 202
        wait_until(lambda: all(map(is_claimed, sites)), message="both slots are busy")
        answer = cluster.get(f"/api/v1/daemon/scan?base_path={tmp_path}")
        assert (answer.status, answer.body["total"]) == (200, 2)
        assert all(map(is_claimed, sites))
        cluster.daemons["worker"].kill()
