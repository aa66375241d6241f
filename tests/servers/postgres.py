"""A private PostgreSQL server for tests."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from itertools import count
from pathlib import Path

import psutil
import pytest

from tests.servers import Daemon, free_port, server_directory, unprivileged_user

PASSWORD = "p0st:gres\\ '\" #"

# Speed over safety: what a test writes need not survive a power cut.
SETTINGS = {
    "fsync": "off",
    # What was committed must outlive a kill of the server, as it does with a real one.
    "synchronous_commit": "on",
    "full_page_writes": "off",
    "shared_buffers": "64MB",
    "max_connections": "50",
    # In the data folder, so that a killed server leaves nothing in /dev/shm.
    "dynamic_shared_memory_type": "mmap",
}


class PostgresServer:
    """One server: `host`, `port`, `socket` (a folder), and the administrator's `password`."""

    host = "127.0.0.1"
    user = "postgres"
    password = PASSWORD

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.port = free_port()
        self.socket = str(directory)
        self._names = count(1)
        settings = SETTINGS | {
            "listen_addresses": self.host,
            "port": str(self.port),
            "unix_socket_directories": self.socket,
        }
        self._daemon = Daemon(
            [
                _program("postgres"),
                *("-D", str(directory / "data")),
                *(part for name, value in settings.items() for part in ("-c", f"{name}={value}")),
            ],
            log=directory / "log",
            user=unprivileged_user(),
        )

    @property
    def client_environment(self) -> dict[str, str]:
        """What the client needs to sign in as administrator."""
        return {
            **os.environ,
            "PGHOST": self.host,
            "PGPORT": str(self.port),
            "PGUSER": self.user,
            "PGPASSWORD": self.password,
        }

    @property
    def client_argv(self) -> list[str]:
        """The client's command, to be run with `client_environment`; a database may be added."""
        return [_program("psql"), "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1"]

    def initialise(self) -> None:
        """Make the data directory and start the server."""
        password_file = self.directory / "password"
        password_file.write_text(PASSWORD)
        password_file.chmod(0o644)
        subprocess.run(
            [
                _program("initdb"),
                f"--pgdata={self.directory / 'data'}",
                f"--username={self.user}",
                f"--pwfile={password_file}",
                "--auth=scram-sha-256",
                "--encoding=UTF8",
                "--locale=C.UTF-8",
                "--no-sync",
            ],
            check=True,
            capture_output=True,
            user=unprivileged_user(),
            cwd=self.directory,
        )
        self.restart()

    def create_database(self) -> str:
        """Make an empty database and return its name, which no other test has."""
        name = f"holdfast_{next(self._names)}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE template0")
        return name

    def execute(self, sql: str | bytes, database: str = "postgres") -> str:
        """Run statements as administrator and return what they answer, `|` between columns."""
        data = sql.encode() if isinstance(sql, str) else sql
        answer = subprocess.run(
            [*self.client_argv, "--tuples-only", "--no-align", database],
            env=self.client_environment,
            input=data,
            capture_output=True,
            check=False,
        )
        assert answer.returncode == 0, answer.stderr.decode("utf-8", "replace")
        return answer.stdout.decode("utf-8", "replace")

    def restart(self) -> None:
        """Start the server, after ending it where it runs."""
        self.stop()
        self._daemon.start(self._answers)

    def stop(self) -> None:
        """End the server in good order, without waiting for its clients."""
        self._daemon.stop(signal.SIGINT)

    @property
    def alive(self) -> bool:
        return self._daemon.alive

    def stop_at_once(self) -> None:
        """End the server in its `immediate` mode: every connection breaks, nothing is flushed."""
        self._daemon.stop(signal.SIGQUIT)

    def kill(self) -> None:
        """Kill the server as a crash would, with its processes: each has its own session."""
        children = psutil.Process(self._daemon.pid).children() if self._daemon.alive else []
        self._daemon.kill()
        for child in children:
            with suppress(psutil.NoSuchProcess):
                child.kill()
        psutil.wait_procs(children)

    def _answers(self) -> bool:
        argv = [_program("pg_isready"), "--quiet"]
        answer = subprocess.run(argv, env=self.client_environment, check=False)
        return answer.returncode == 0


def _program(name: str) -> str:
    """Return the path of a server program; Debian keeps them outside the PATH, by version."""
    versions = sorted(
        Path("/usr/lib/postgresql").glob(f"*/bin/{name}"),
        key=lambda path: [int(part) for part in re.findall(r"\d+", str(path))],
    )
    found = shutil.which(name) if not versions else str(versions[-1])
    assert found, f"{name} is not installed: run `make test`, which installs it"
    return found


def start_postgres(stack: ExitStack) -> PostgresServer:
    """Return a running server that ends with `stack`."""
    server = PostgresServer(stack.enter_context(server_directory("postgres")))
    stack.callback(server.kill)
    server.initialise()
    return server


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    with ExitStack() as stack:
        yield start_postgres(stack)


@pytest.fixture
def own_postgres_server() -> Iterator[PostgresServer]:
    """A server of this test's own, which it may kill."""
    with ExitStack() as stack:
        yield start_postgres(stack)
