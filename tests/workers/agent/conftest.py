"""Worker processes on the tests' own database, so that a test sees their rows as it goes."""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psutil
import pytest
from django.db import connection

from backups.actions import jobs
from backups.models import Job, Node, Site, Storage, Worker
from tests.servers import Daemon, server_directory, wait_until
from tests.servers.redis import RedisServer
from tests.servers.warm import Warm

ROOT = Path(__file__).resolve().parents[3]
# A lease that no test waits for: what is recovered is recovered because a process is dead.
SETTINGS = {
    "HOLDFAST_LEASE_SECONDS": "120",
    "HOLDFAST_CLAIM_SECONDS": "60",
    "HOLDFAST_AGENT_SECONDS": "0.5",
    "HOLDFAST_HEARTBEAT_SECONDS": "1",
    "HOLDFAST_GRACE_SECONDS": "2",
    "PYTHONUNBUFFERED": "1",
}


class Workplace:
    """A node with its spool and its broker; workers and a coordinator are started as needed."""

    def __init__(self, directory: Path, redis: RedisServer, settings: Any) -> None:
        self.directory = directory

        self.spool = directory / "spool"
        (directory / "store").mkdir()
        settings.HOLDFAST_SPOOL_DIRECTORY = self.spool
        settings.HOLDFAST_HEARTBEAT_SECONDS = 1
        self.node = Node.objects.create(name="web-01", allowed_roots=[str(directory)], slots=1)
        self.storage = Storage.objects.create(
            name="folder", type="local", config={"path": str(directory / "store")}, is_default=True
        )
        self._environment = {
            **SETTINGS,
            "HOLDFAST_DATABASE_URL": f"sqlite:///{connection.settings_dict['NAME']}",
            "HOLDFAST_BROKER_URL": redis.url,
            "HOLDFAST_SPOOL_DIRECTORY": str(self.spool),
        }
        self._warm = Warm(directory, self._environment)
        self._daemons = ExitStack()
        self._count = 0

    def start(self, *arguments: str, ready: str, **environment: str) -> Daemon:
        """Start a management command; `ready` is what it says when it is at work."""
        self._count += 1
        log = self.directory / f"{arguments[0]}-{self._count}.log"
        argv, whole = ["manage.py", *arguments], {**self._environment, **environment}
        if environment:
            daemon = Daemon([sys.executable, *argv], log=log, environment=whole, cwd=ROOT)
        else:
            daemon = self._warm.daemon(argv, log)
        self._daemons.callback(daemon.kill)
        daemon.start(lambda: ready in daemon.log_tail(1 << 20))
        return daemon

    def start_worker(self, ready: str = " ready.", **environment: str) -> Daemon:
        return self.start("worker", "--node", self.node.name, ready=ready, **environment)

    def start_coordinator(self) -> Daemon:
        return self.start("coordinator", ready="started")

    def site(self, name: str, **fields: Any) -> Site:
        content = self.directory / name / "wp-content"
        content.mkdir(parents=True)
        (content / "index.php").write_text("<?php // Silence is golden.\n")
        path = str(self.directory / name)
        return Site.objects.create(name=name, node=self.node, wp_path=path, **fields)

    def close(self) -> None:
        self._daemons.close()
        self._warm.close()


@pytest.fixture
def workplace(
    transactional_db: None,
    redis_server: RedisServer,
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Workplace]:
    # The tests' process has no broker: as in a busy panel, the coordinator gives out all work.
    monkeypatch.setattr("backups.dispatch.in_background", lambda work: None)
    with server_directory("agent") as directory:
        place = Workplace(directory, redis_server, settings)
        try:
            yield place
        finally:
            place.close()


@pytest.fixture
def hanging_job(workplace: Workplace) -> Iterator[Callable[[], Job]]:
    """What starts a backup whose first stage, and a child process of it, runs until it is ended."""
    with socket.create_server(("127.0.0.1", 0)) as silent_database:
        port = silent_database.getsockname()[1]

        def start() -> Job:
            name = f"site-{Site.objects.count()}.example"
            fields = {"db_engine": "mysql", "db_host": "127.0.0.1", "db_port": port}
            site = workplace.site(name, db_name="x", db_user="u", **fields)
            job = jobs.start_backup(site=site)
            wait_until(lambda: fresh(job).state == "running", message="the stage runs")
            wait_until(lambda: children_of(job), message="its child process runs")
            return fresh(job)

        yield start


def fresh(job: Job) -> Job:
    return Job.objects.get(pk=job.pk)


def children_of(job: Job) -> list[int]:
    """The programs that run for a job, by what they carry."""
    from workers.engine.marks import marked_processes

    return [one.process.pid for one in marked_processes() if one.job == str(job.pk)]


def celery_of(worker: Daemon) -> psutil.Process:
    """The main process of the Celery worker below an agent."""
    return psutil.Process(worker.pid).children()[0]


def pool_of(worker: Daemon) -> list[int]:
    return [child.pid for child in celery_of(worker).children()]


def ended(worker: Daemon, timeout: float = 30) -> int:
    """Wait for a worker's end and return its exit status."""
    assert worker._popen is not None
    wait_until(lambda: not worker.alive, timeout, "the worker ends\n" + worker.log_tail())
    return int(worker._popen.returncode)


def kill_tree(worker: Daemon) -> None:
    """SIGKILL for every process of a worker, as when a host's power fails."""
    for process in [*psutil.Process(worker.pid).children(recursive=True), worker]:
        try:
            os.kill(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    ended(worker)


def workers() -> list[str]:
    return sorted(Worker.objects.values_list("name", flat=True))
