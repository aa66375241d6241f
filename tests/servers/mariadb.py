"""A private MariaDB server for tests."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path

import pytest

from tests.servers import Daemon, free_port, server_directory, unprivileged_user

ROOT_PASSWORD = "r00t 'secret\" #\\"

# Speed over safety: what a test writes survives a killed server, but no power cut.
SETTINGS = (
    "--innodb-flush-log-at-trx-commit=2",
    "--innodb-flush-method=nosync",
    "--innodb-doublewrite=OFF",
    "--innodb-buffer-pool-size=64M",
    "--innodb-log-file-size=32M",
    "--sync-frm=OFF",
    "--skip-log-bin",
    "--skip-name-resolve",
    "--max-allowed-packet=64M",
    "--event-scheduler=OFF",
)


class MariaDBServer:
    """One server: `host`, `port`, `socket`, and root's `password` (user `root`)."""

    host = "127.0.0.1"
    user = "root"
    password = ROOT_PASSWORD

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.port = free_port()
        self.socket = str(directory / "s")
        self.client_options: list[str] = []
        self._names = count(1)
        self._options = directory / "root.cnf"
        self._daemon = Daemon(
            [
                _program("mariadbd", "mysqld"),
                "--no-defaults",
                f"--datadir={directory / 'data'}",
                f"--tmpdir={directory}",
                f"--socket={self.socket}",
                f"--pid-file={directory / 'pid'}",
                f"--bind-address={self.host}",
                f"--port={self.port}",
                *SETTINGS,
            ],
            log=directory / "log",
            user=unprivileged_user(),
        )

    @property
    def client_argv(self) -> list[str]:
        """The client's command as root, to which a database's name may be added."""
        program = _program("mariadb", "mysql")
        return [program, f"--defaults-file={self._options}", *self.client_options]

    def initialise(self) -> None:
        """Make the data directory, start the server and give root a password."""
        user = unprivileged_user()
        subprocess.run(
            [
                _program("mariadb-install-db", "mysql_install_db"),
                "--no-defaults",
                f"--datadir={self.directory / 'data'}",
                "--auth-root-authentication-method=normal",
                "--skip-test-db",
                "--skip-name-resolve",
                *([f"--user={user}"] if user else []),
                *SETTINGS[:6],
            ],
            check=True,
            # Whoever runs the tests may have a TMPDIR that the server's user cannot write to.
            env={**os.environ, "TMPDIR": str(self.directory)},
        )
        self._options.write_text(f"[client]\nsocket={self.socket}\nuser=root\n")
        self.restart()
        escaped = ROOT_PASSWORD.replace("\\", "\\\\").replace("'", "''")
        self.execute(
            "DELETE FROM mysql.global_priv WHERE User = '';"
            "FLUSH PRIVILEGES;"
            f"CREATE OR REPLACE USER root@'127.0.0.1' IDENTIFIED BY '{escaped}';"
            "GRANT ALL PRIVILEGES ON *.* TO root@'127.0.0.1' WITH GRANT OPTION;"
        )

    def create_database(self) -> str:
        """Make an empty utf8mb4 database and return its name, which no other test has."""
        name = f"holdfast_{next(self._names)}"
        self.execute(f"CREATE DATABASE {name} CHARACTER SET utf8mb4")
        return name

    def execute(self, sql: str | bytes, database: str = "") -> str:
        """Run statements as root and return what they answer, tabs between columns."""
        data = sql.encode() if isinstance(sql, str) else sql
        database_argument = [database] if database else []
        argv = [*self.client_argv, "--default-character-set=utf8mb4", "-N", *database_argument]
        answer = subprocess.run(argv, input=data, capture_output=True, check=False)
        assert answer.returncode == 0, answer.stderr.decode("utf-8", "replace")
        return answer.stdout.decode("utf-8", "replace")

    def restart(self) -> None:
        """Start the server, after ending it where it runs."""
        self.stop()
        self._daemon.start(self._answers)

    def stop(self) -> None:
        """End the server in good order."""
        self._daemon.stop()

    @property
    def alive(self) -> bool:
        return self._daemon.alive

    def stop_at_once(self) -> None:
        """End the server without a word to its clients; its log repairs it at the next start."""
        self.kill()

    def kill(self) -> None:
        """Kill the server as a crash would."""
        self._daemon.kill()

    def _answers(self) -> bool:
        if not os.path.exists(self.socket):
            return False
        argv = [*self.client_argv, "-e", "SELECT 1"]
        return subprocess.run(argv, capture_output=True, check=False).returncode == 0


def _program(*names: str) -> str:
    path = f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin"
    found = next(filter(None, (shutil.which(name, path=path) for name in names)), None)
    assert found, f"{names[0]} is not installed: run `make test`, which installs it"
    return found


def start_mariadb(stack: ExitStack) -> MariaDBServer:
    """Return a running server that ends with `stack`."""
    server = MariaDBServer(stack.enter_context(server_directory("mariadb")))
    stack.callback(server.kill)
    server.initialise()
    return server


@pytest.fixture(scope="session")
def mariadb_server() -> Iterator[MariaDBServer]:
    with ExitStack() as stack:
        yield start_mariadb(stack)


@pytest.fixture
def own_mariadb_server() -> Iterator[MariaDBServer]:
    """A server of this test's own, which it may kill."""
    with ExitStack() as stack:
        yield start_mariadb(stack)
