"""moto's S3 as a server of its own, and what a test needs to know of any S3 server."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import boto3
import pytest
from botocore.config import Config

from tests.servers import Daemon, accepts, free_port, server_directory


@dataclass(frozen=True)
class S3Server:
    """Where a test's S3 service is, with a bucket that exists."""

    port: int
    bucket: str
    access_key_id: str
    secret_access_key: str

    @property
    def endpoint_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def at(self, port: int) -> S3Server:
        """The same service behind another port: a proxy's."""
        return dataclasses.replace(self, port=port)

    def config(self, **changes: Any) -> dict[str, Any]:
        """A storage's configuration, with the smallest parts and time-outs made for tests."""
        return {
            "bucket": self.bucket,
            "endpoint_url": self.endpoint_url,
            "access_key_id": self.access_key_id,
            "secret_access_key": self.secret_access_key,
            "part_size": 5 << 20,
            "connect_timeout": 2,
            "read_timeout": 5,
            "max_attempts": 3,
            **changes,
        }

    def client(self) -> Any:
        """A client that shares nothing with the code under test."""
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint_url,
            region_name="us-east-1",
            aws_access_key_id=self.access_key_id,
            aws_secret_access_key=self.secret_access_key,
            config=Config(
                signature_version="s3v4",
                s3={"addressing_style": "path"},
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
            ),
        )

    def uploads(self, prefix: str = "") -> list[str]:
        """The keys of unfinished uploads."""
        answer = self.client().list_multipart_uploads(Bucket=self.bucket, Prefix=prefix)
        return [upload["Key"] for upload in answer.get("Uploads", [])]


@contextmanager
def running_moto() -> Iterator[S3Server]:
    """Yield a running moto server with one bucket."""
    with server_directory("moto") as directory:
        server = S3Server(free_port(), "backups", "holdfast-tests", "not-a-secret-of-anybody")
        daemon = Daemon(
            [
                sys.executable,
                "-m",
                "moto.server",
                "--host",
                "127.0.0.1",
                "--port",
                str(server.port),
            ],
            log=directory / "log",
        )
        daemon.start(lambda: accepts(server.port))
        try:
            server.client().create_bucket(Bucket=server.bucket)
            yield server
        finally:
            daemon.kill()


@pytest.fixture(scope="session")
def moto_s3() -> Iterator[S3Server]:
    with running_moto() as server:
        yield server
