"""The demo's cluster: Redis, coordinator, one worker and the panel, as real processes."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from workers.embedded import broker
from workers.embedded.client import Client
from workers.embedded.folder import DemoFolder
from workers.embedded.supervisor import ServiceEnded, Supervisor
from workers.engine.process import run

PROJECT = Path(__file__).resolve().parents[2]
PREFERRED_PORT = 8000
READY_SECONDS = 120.0
BROKER_ATTEMPTS = 3
NODE = "demo"


class Cluster:
    """What runs in one demo folder; `start` brings it up below a supervisor."""

    def __init__(self, folder: DemoFolder, supervisor: Supervisor) -> None:
        self._folder = folder
        self._supervisor = supervisor
        self._secrets = folder.secrets()
        self._broker_port = 0
        self.port = 0

    @property
    def url(self) -> str:
        """The panel's address."""
        return f"http://{broker.HOST}:{self.port}"

    @property
    def client(self) -> Client:
        """A client of the panel that has not signed in yet."""
        return Client(broker.HOST, self.port)

    def start(self, *, email: str, password: str, roots: Sequence[Path]) -> None:
        """Start everything and return when the node's worker is at work.

        `email` becomes a super admin with that password, `roots` are what the node may read.
        Raises `EngineError` with the end of the log of whatever does not start.
        """
        self._start_broker()
        self._manage("migrate", "--verbosity", "0")
        wanted = {
            "email": email,
            "password": password,
            "node": NODE,
            "roots": [str(root) for root in roots],
        }
        self._manage("prepare_demo", standard_input=json.dumps(wanted).encode())
        self._launch("coordinator", "coordinator")
        # The worker's folder for attempts is its own; what it reads are the sites.
        self._launch("worker", "worker", "--node", NODE)
        self._start_panel()
        client = self.client
        client.sign_in(email, password)
        self._wait("worker", lambda: _has_worker(client))

    def check(self) -> None:
        """Raise `ServiceEnded` when something of the cluster ended by itself."""
        self._supervisor.check()

    def _environment(self) -> dict[str, str]:
        return {
            "HOLDFAST_ENVIRONMENT": "development",
            "HOLDFAST_SECRET_KEY": self._secrets.secret_key,
            "HOLDFAST_ENCRYPTION_KEYS": self._secrets.encryption_key,
            "HOLDFAST_DATABASE_URL": f"sqlite:///{self._folder.database}",
            "HOLDFAST_BROKER_URL": broker.broker_url(
                self._broker_port, self._secrets.broker_password
            ),
            "HOLDFAST_SPOOL_DIRECTORY": str(self._folder.spool),
            # What an earlier demo that was killed left unfinished goes on soon.
            "HOLDFAST_LEASE_SECONDS": "20",
            "PYTHONUNBUFFERED": "1",
        }

    def _start_broker(self) -> None:
        """Start Redis; a port that somebody else takes in between is given up for another."""
        server, password = broker.find_server(), self._secrets.broker_password
        configuration = self._folder.root / "redis.conf"
        for attempt in range(1, BROKER_ATTEMPTS + 1):
            port = broker.free_port()
            broker.write_configuration(configuration, port=port, password=password)
            self._supervisor.launch("redis", [server, str(configuration)], environment={})
            try:
                self._wait("redis", partial(broker.answers, port, password))
            except ServiceEnded:
                if attempt == BROKER_ATTEMPTS:
                    raise
            else:
                self._broker_port = port
                return

    def _start_panel(self) -> None:
        self.port = broker.free_port(PREFERRED_PORT)
        argv = [sys.executable, "-m", "uvicorn", "panel.asgi:application"]
        argv += ["--app-dir", str(PROJECT), "--host", broker.HOST, "--port", str(self.port)]
        # The panel does both itself: see panel/proxies.py and panel/requests.py.
        argv += ["--no-proxy-headers", "--no-access-log"]
        # Open pages are streams without an end; nobody waits for those.
        argv += ["--timeout-graceful-shutdown", "3"]
        self._supervisor.launch("panel", argv, environment=self._environment())
        self._wait("panel", self.client.alive)

    def _launch(self, name: str, *arguments: str) -> None:
        argv = [sys.executable, str(PROJECT / "manage.py"), *arguments]
        self._supervisor.launch(name, argv, environment=self._environment())

    def _wait(self, name: str, ready: Callable[[], object]) -> None:
        self._supervisor.wait_until_ready(name, ready, seconds=READY_SECONDS)

    def _manage(self, *arguments: str, standard_input: bytes = b"") -> None:
        """Run a command of `manage.py` to its end; what it is told goes through a pipe."""
        reading, writing = os.pipe()
        try:
            # Fits the pipe's buffer (64 KiB), so this cannot block before anybody reads.
            os.write(writing, standard_input)
            os.close(writing)
            argv = [sys.executable, str(PROJECT / "manage.py"), *arguments]
            run(argv, environment=self._environment(), stdin=reading, check=self.check)
        finally:
            os.close(reading)


def _has_worker(client: Client) -> bool:
    nodes = client.get("/api/v1/nodes/")
    fresh = [node for node in nodes if node["workers"] and node["status"] == "online"]
    return bool(fresh)


def wait_quietly(cluster: Cluster, seconds: float) -> None:
    """Let time pass, unless something of the cluster ends."""
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        cluster.check()
        time.sleep(min(0.5, left))
