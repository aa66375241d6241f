"""`manage.py worker`: what it refuses, and that it signs on and off."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from backups.actions.nodes import add_node
from backups.models import Node
from tests.servers import wait_until
from tests.servers.cluster import Cluster
from workers.management.commands.worker import prepare_spool


@pytest.mark.django_db
def test_error_says_how_to_add_it_when_the_node_is_unknown() -> None:
    with pytest.raises(CommandError, match="node add web-07"):
        call_command("worker", "--node", "web-07", stdout=io.StringIO())


@pytest.mark.django_db
def test_worker_is_refused_when_its_node_is_disabled() -> None:
    add_node(name="web-07", allowed_roots=["/srv"])
    Node.objects.update(is_enabled=False)
    with pytest.raises(CommandError, match="disabled"):
        call_command("worker", "--node", "web-07", stdout=io.StringIO())


def test_error_names_the_variable_when_the_spool_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(CommandError, match="HOLDFAST_SPOOL_DIRECTORY"):
        prepare_spool(tmp_path / "file" / "spool")


def test_spool_is_for_its_user_alone_when_it_is_made(tmp_path: Path) -> None:
    prepare_spool(tmp_path / "spool")
    assert (tmp_path / "spool").stat().st_mode & 0o777 == 0o700


@pytest.mark.slow
def test_node_goes_online_and_offline_with_its_worker(sqlite_cluster: Cluster) -> None:
    def standing() -> str:
        return sqlite_cluster.manage("node", "list").stdout.split()[1]

    for name, daemon in sqlite_cluster.daemons.items():
        if "worker" in name:
            daemon.stop()
    wait_until(lambda: standing() == "offline", message="the node is offline")
    sqlite_cluster.start_worker("signing-on")
    assert standing() == "online"
