"""A whole Holdfast as an operator runs it: panel, coordinator and workers as real processes.

Tests speak to it over HTTP and through `manage.py`, as its users do.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.servers import Daemon, accepts, free_port, migrated, wait_until
from tests.servers.redis import RedisServer
from tests.servers.secrets_search import in_command_lines, in_files, in_sqlite, secrets_of
from tests.servers.warm import Warm

ROOT = Path(__file__).resolve().parents[2]
MIGRATE = """
from django.core.management import call_command
call_command("migrate", verbosity=0)
"""
ADD_ADMIN = """
call_command("createsuperuser", interactive=False, email={email!r})
"""
ADD_NODE = """
from django.core.management import call_command
call_command("node", "add", "web-01", "--root", {root!r})
"""
EMAIL, PASSWORD = "admin@example.com", "correct-horse-battery-staple"

FOR_COMMANDS = {"DJANGO_SUPERUSER_PASSWORD": PASSWORD}


@dataclass
class Answer:
    """What an HTTP request came back with; `body` is parsed JSON where it is JSON."""

    status: int
    body: Any
    headers: dict[str, str]


@dataclass
class Cluster:
    """One installation in a folder of its own; processes are started one by one.

    `settings` are environment variables of this installation beside those that all have.
    """

    directory: Path
    database_url: str
    broker_url: str
    settings: Mapping[str, str] = field(default_factory=dict)
    port: int = field(default_factory=free_port)
    token: str = ""
    daemons: dict[str, Daemon] = field(default_factory=dict)
    warm: Warm | None = None

    @property
    def environment(self) -> dict[str, str]:
        return {
            "HOLDFAST_DATABASE_URL": self.database_url,
            "HOLDFAST_BROKER_URL": self.broker_url,
            "HOLDFAST_SPOOL_DIRECTORY": str(self.directory / "spool"),
            "HOLDFAST_LEASE_SECONDS": "8",
            "HOLDFAST_CLAIM_SECONDS": "5",
            "HOLDFAST_SECRET_KEY": "a-secret-key-of-this-test-that-is-long-enough-for-anybody",
            # By night proofs would begin by themselves, beside what a test does.
            "HOLDFAST_PROOFS": "off",
            # The tests' S3 servers are on loopback.
            "HOLDFAST_LOCAL_ENDPOINTS": "true",
            "PYTHONUNBUFFERED": "1",
            **self.settings,
        }

    @property
    def spool(self) -> Path:
        return self.directory / "spool"

    def manage(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a management command to its end."""
        if self.warm is not None:
            done = self.warm.manage(*arguments)
        else:
            done = subprocess.run(
                [sys.executable, "manage.py", *arguments],
                cwd=ROOT,
                env={**os.environ, **self.environment, **FOR_COMMANDS},
                capture_output=True,
                text=True,
                timeout=240,
            )
        if check:
            assert done.returncode == 0, done.stdout + done.stderr
        return done

    @contextmanager
    def warmed_up(self) -> Iterator[Cluster]:
        """Fork commands and daemons from a process that has all loaded; the daemons end with it."""
        self.warm = Warm(self.directory, {**self.environment, **FOR_COMMANDS})
        try:
            yield self
        finally:
            self.stop()
            self.warm.close()
            self.warm = None

    def start(
        self,
        name: str,
        *argv: str,
        ready: Callable[[], object],
        environment: Mapping[str, str] | None = None,
    ) -> Daemon:
        """Start a process of the installation under a name of its own."""
        return self.begin(name, *argv, ready=ready, environment=environment)()

    def begin(
        self,
        name: str,
        *argv: str,
        ready: Callable[[], object],
        environment: Mapping[str, str] | None = None,
    ) -> Callable[[], Daemon]:
        """Start it, and return what waits until it is ready."""
        whole = {**self.environment, **(environment or {})}
        if self.warm is not None and self.warm.environment == {**whole, **FOR_COMMANDS}:
            daemon = self.warm.daemon(argv, self.log_of(name))
        else:
            daemon = Daemon(
                [sys.executable, *argv], log=self.log_of(name), environment=whole, cwd=ROOT
            )
        daemon.begin()
        self.daemons[name] = daemon

        def wait() -> Daemon:
            daemon.await_ready(ready)
            return daemon

        return wait

    def log_of(self, name: str) -> Path:
        """Where a process of that name says what it does; one that replaces it appends."""
        return self.directory / f"{name}.log"

    def set_up(self, root: Path) -> None:
        """Migrate, and add the first user and the node `web-01`, whose sites lie below `root`."""
        self.begin_with_admin()
        code = ADD_NODE.format(root=str(root))
        self.manage("shell", "--verbosity", "0", "-c", code)

    def begin_with_admin(self) -> None:
        """Bring an empty database to the present schema, and add the first user."""
        if not migrated.fill(self.database_url, "admin"):
            code = MIGRATE + ADD_ADMIN.format(email=EMAIL)
            self.manage("shell", "--verbosity", "0", "-c", code)
            migrated.keep(self.database_url, "admin")

    def migrate(self) -> None:
        """Bring an empty database to the present schema; nobody is in it."""
        if not migrated.fill(self.database_url, "empty"):
            self.manage("shell", "--verbosity", "0", "-c", MIGRATE)
            migrated.keep(self.database_url, "empty")

    def start_all(self, workers: int = 1) -> None:
        """Start everything at once: each loads for seconds before it is ready."""
        names = [f"worker-{number}" if number else "worker" for number in range(workers)]
        begun = [self.begin_panel(), self.begin_coordinator(), *map(self.begin_worker, names)]
        for wait in begun:
            wait()

    def begin_panel(self) -> Callable[[], Daemon]:
        argv = ("-m", "uvicorn", "panel.asgi:application", "--port", str(self.port))
        argv += ("--no-proxy-headers", "--no-access-log")
        wait = self.begin("panel", *argv, ready=lambda: accepts(self.port))

        def wait_and_sign_in() -> Daemon:
            daemon = wait()
            answer = self.post("/api/auth/login", {"email": EMAIL, "password": PASSWORD})
            assert answer.status == 200, answer
            self.token = answer.body["access_token"]
            return daemon

        return wait_and_sign_in

    def start_panel(self) -> Daemon:
        return self.begin_panel()()

    def begin_coordinator(self) -> Callable[[], Daemon]:
        ready = self.says("coordinator", "started")
        return self.begin("coordinator", "manage.py", "coordinator", ready=ready)

    def start_coordinator(self) -> Daemon:
        return self.begin_coordinator()()

    def begin_worker(
        self, name: str = "worker", environment: Mapping[str, str] | None = None
    ) -> Callable[[], Daemon]:
        argv = ("manage.py", "worker", "--node", "web-01")
        return self.begin(name, *argv, ready=self.says(name, " ready."), environment=environment)

    def start_worker(
        self,
        name: str = "worker",
        *,
        environment: Mapping[str, str] | None = None,
        wait: bool = True,
    ) -> Daemon:
        """Start a worker of the node; `environment` is this process's alone."""
        begun = self.begin_worker(name, environment)
        return begun() if wait else self.daemons[name]

    def ensure_worker(self) -> None:
        """Start a worker if none runs: another test of this cluster may have ended the last one."""
        if not any("worker" in name and one.alive for name, one in self.daemons.items()):
            self.start_worker()

    def says(self, name: str, words: str, begin: int | None = None) -> Callable[[], bool]:
        """Return what tells whether that process has said `words`, from now on or a position."""
        log = self.log_of(name)
        if begin is None:
            begin = log.stat().st_size if log.exists() else 0
        wanted = words.encode()
        return lambda: log.exists() and wanted in log.read_bytes()[begin:]

    def request(self, method: str, path: str, body: object = None) -> Answer:
        """Make one request with the admin's token."""
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        url = path if path.startswith("http") else f"http://127.0.0.1:{self.port}{path}"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(url, data=data, method=method, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=60) as response:
                return _answer(response.status, response)
        except urllib.error.HTTPError as error:
            return _answer(error.code, error)

    def get(self, path: str) -> Answer:
        return self.request("GET", path)

    def post(self, path: str, body: object = None) -> Answer:
        return self.request("POST", path, body if body is not None else {})

    def wait_for_end(self, site_id: int, timeout: float = 120) -> dict[str, Any]:
        """Return the site's status once its newest job has ended."""
        path = f"/api/v1/sites/{site_id}/backup/status"
        wait_until(
            lambda: self.get(path).body["status"] != "running", timeout, f"site {site_id} ended"
        )
        status: dict[str, Any] = self.get(path).body
        return status

    def stop(self) -> None:
        for daemon in self.daemons.values():
            daemon.ask_to_end()
        for daemon in self.daemons.values():
            daemon.stop(timeout=20)

    def leaks(self) -> list[str]:
        """Where a secret of this installation stands that must not: logs, arguments, rows.

        Rows of SQLite only, for the other servers may be gone by now; `tests/contracts` looks
        through theirs.
        """
        secrets = secrets_of(self.environment, {"password": PASSWORD, "access token": self.token})
        numbers = [daemon.pid for daemon in self.daemons.values() if daemon.alive]
        found = in_files(secrets, self.directory.glob("*.log"))
        found += in_command_lines(secrets, numbers)
        file = Path(self.database_url.removeprefix("sqlite:///"))
        if self.database_url.startswith("sqlite:") and file.is_file():
            found += in_sqlite(secrets, file)
        return found

    def logs(self) -> str:
        """The end of what each process said, of those too that are gone."""
        return "\n".join(
            f"--- {log.stem}\n{log.read_bytes()[-8000:].decode('utf-8', 'replace')}"
            for log in sorted(self.directory.glob("*.log"))
        )


def _answer(status: int, response: Any) -> Answer:
    raw = response.read()
    is_json = "json" in response.headers.get("Content-Type", "")
    return Answer(status, json.loads(raw) if is_json else raw, dict(response.headers))


@contextmanager
def running_cluster(
    directory: Path,
    database_url: str,
    broker_url: str,
    sites: Path | None = None,
    settings: Mapping[str, str] | None = None,
    workers: int = 1,
) -> Iterator[Cluster]:
    """Yield a cluster with everything running; its logs are in the error of a test that fails.

    Its node's sites lie below `sites`, or below `directory`.
    """
    cluster = Cluster(directory, database_url, broker_url, settings or {})
    with cluster.warmed_up():
        try:
            cluster.set_up(sites or directory)
            cluster.start_all(workers)
            yield cluster
            assert cluster.leaks() == []
        except BaseException as error:
            error.add_note(cluster.logs())
            raise


@contextmanager
def running_sqlite_cluster(directory: Path, broker_url: str) -> Iterator[Cluster]:
    """Yield a running cluster whose panel keeps its rows in SQLite."""
    url = f"sqlite:///{directory / 'panel.sqlite3'}"
    with running_cluster(directory, url, broker_url) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def sqlite_cluster(
    redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cluster]:
    """A cluster of a file's own: one that has nothing to do still takes 2 % of a processor."""
    with running_sqlite_cluster(tmp_path_factory.mktemp("cluster"), redis_server.url) as cluster:
        yield cluster
