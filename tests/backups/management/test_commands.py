"""`manage.py node`, `coordinator` and `backup`."""

from __future__ import annotations

import io
import logging
from pathlib import Path

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import OperationalError, connection
from django.utils import timezone

from backups.actions import recovery, schedules
from backups.models import Job, Node
from tests.servers.cluster import Cluster
from tests.workers.factories import dispatched_job, make_site
from tests.workers.stages.pipeline import make_sqlite_site


def output_of(*arguments: str) -> str:
    out = io.StringIO()
    call_command(*arguments, stdout=out)
    return out.getvalue()


@pytest.mark.django_db
def test_list_says_how_to_add_one_when_there_is_no_node() -> None:
    assert "node add" in output_of("node", "list")


@pytest.mark.django_db
def test_node_is_added_with_its_roots() -> None:
    output_of("node", "add", "web-01", "--root", "/srv/a", "--root", "/srv/b", "--slots", "3")
    node = Node.objects.get()
    assert (node.allowed_roots, node.slots) == (["/srv/a", "/srv/b"], 3)
    assert "offline" in output_of("node", "list")


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("name", "root", "slots"), [("web 01", "/srv", 1), ("web-01", "srv", 1), ("web-01", "/srv", 0)]
)
def test_error_says_what_is_wrong_when_a_node_is_unusable(name: str, root: str, slots: int) -> None:
    with pytest.raises(CommandError):
        output_of("node", "add", name, "--root", root, "--slots", str(slots))
    assert not Node.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_coordinator_takes_back_what_lost_its_lease(tmp_path: Path) -> None:
    job = dispatched_job(make_site(tmp_path))
    now = timezone.now()
    Job.objects.filter(pk=job.pk).update(state="running", lease_expires_at=now)
    output_of("coordinator", "--once")
    job.refresh_from_db()
    assert (job.state, job.epoch) == ("queued", 2)


@pytest.mark.django_db(transaction=True)
def test_coordinator_leaves_a_fresh_lease_alone(tmp_path: Path) -> None:
    job = dispatched_job(make_site(tmp_path))
    later = timezone.now() + timezone.timedelta(minutes=1)
    Job.objects.filter(pk=job.pk).update(state="running", lease_expires_at=later)
    output_of("coordinator", "--once")
    job.refresh_from_db()
    assert (job.state, job.epoch) == ("running", 1)


@pytest.mark.django_db(transaction=True)
def test_coordinator_goes_on_when_the_database_is_away(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse() -> int:
        raise OperationalError("server has gone away")

    def start() -> int:
        found.append(connection.connection)
        return 0

    found: list[object] = []
    monkeypatch.setattr(recovery, "recover_lost_jobs", refuse)
    monkeypatch.setattr(schedules, "start_due_backups", start)
    with caplog.at_level(logging.WARNING):
        output_of("coordinator", "--once")
    assert "the database is away" in caplog.text
    # The next step has its turn all the same, over a connection of its own.
    assert found == [None]


@pytest.mark.django_db
def test_error_lists_the_known_sites_when_there_is_no_such_site(tmp_path: Path) -> None:
    make_site(tmp_path)
    with pytest.raises(CommandError, match=r"known: example\.com"):
        output_of("backup", "example.org")


@pytest.mark.django_db(transaction=True)
def test_backup_is_refused_when_one_is_running(tmp_path: Path) -> None:
    dispatched_job(make_site(tmp_path))
    with pytest.raises(CommandError, match="already running"):
        output_of("backup", "example.com", "--no-follow")


@pytest.mark.slow
def test_exit_code_and_last_lines_tell_how_it_ended(sqlite_cluster: Cluster) -> None:
    cluster = sqlite_cluster
    folder = make_sqlite_site(cluster.directory / "command.example.com")
    (cluster.directory / "command-store").mkdir()
    code = f"""
from backups.models import Node, Site, Storage
storage = Storage.objects.create(
    name="command", type="local", config={{"path": {str(cluster.directory / "command-store")!r}}}
)
Site.objects.create(
    name="command.example.com", node=Node.objects.get(), wp_path={str(folder)!r}, storage=storage
)
"""
    cluster.manage("shell", "--verbosity", "0", "-c", code)
    if not any("worker" in name and daemon.alive for name, daemon in cluster.daemons.items()):
        cluster.start_worker("command-worker")
    done = cluster.manage("backup", "command.example.com")
    assert "Backup completed" in done.stdout
    assert "sha256" in done.stdout
    (folder / "wp-config.php").unlink()
    failed = cluster.manage("backup", "command.example.com", check=False)
    assert failed.returncode == 1
    assert "wp-config.php" in failed.stdout
