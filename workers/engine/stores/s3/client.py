"""The boto3 client for a configuration: every setting that matters is given, none is inherited."""

from __future__ import annotations

import base64
import functools
import tempfile
import threading
from typing import IO, TYPE_CHECKING, Any

import boto3
from botocore.awsrequest import AWSRequest
from botocore.config import Config

from workers.engine.stores.s3.config import S3Config
from workers.engine.stores.s3.parts import PartBody
from workers.engine.stores.s3.peers import guard

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


# Clients may be used by several threads, but a session makes them one at a time.
_session_lock = threading.Lock()


@functools.cache
def _session() -> boto3.session.Session:
    """Return the session of this process; it reads botocore's descriptions of S3 once."""
    return boto3.session.Session()


def make_client(config: S3Config, ca_file: str) -> S3Client:
    """Return a client; makes no request. Safe to use from several threads at once.

    Checksums are sent where we ask for them only: many services refuse the trailers that botocore
    would add by itself. Signature version 4 also for presigned URLs, which some services demand.
    """
    with _session_lock:
        client: S3Client = _session().client(
            "s3",
            region_name=config.region,
            endpoint_url=config.endpoint_url.rstrip("/") or None,
            aws_access_key_id=config.access_key_id or None,
            aws_secret_access_key=config.secret_access_key or None,
            aws_session_token=config.session_token or None,
            verify=ca_file or None,
            config=Config(**_options(config)),
        )
    guard(client)
    # Between these two botocore reads the body to sign it; only after them is it being sent.
    client.meta.events.register_first("request-created.s3", _not_sending)
    client.meta.events.register_last("request-created.s3", _sending)
    return client


def _options(config: S3Config) -> dict[str, Any]:
    return {
        "signature_version": "s3v4",
        "s3": {"addressing_style": "path" if config.path_style else "virtual"},
        "connect_timeout": config.connect_timeout,
        "read_timeout": config.read_timeout,
        "retries": {"mode": "standard", "total_max_attempts": config.max_attempts},
        "max_pool_connections": config.upload_threads + 2,
        "request_checksum_calculation": "when_required",
        "response_checksum_validation": "when_required",
        "tcp_keepalive": True,
        # Behind a proxy nobody could see which address a request reaches; see `peers`.
        "proxies": {},
        "ignore_configured_endpoint_urls": True,
        "user_agent_appid": "holdfast",
    }


def ca_file_for(config: S3Config) -> tuple[str, IO[bytes] | None]:
    """Return the path of the CA file, and the temporary file that must stay open as long as it."""
    if not config.ca_pem:
        return config.ca_bundle, None
    file = tempfile.NamedTemporaryFile(prefix="holdfast-ca-", suffix=".pem")  # noqa: SIM115
    file.write(config.ca_pem.encode())
    file.flush()
    return file.name, file


def encryption_arguments(config: S3Config) -> dict[str, Any]:
    """Return what a request that makes an object says about its encryption and class."""
    arguments: dict[str, Any] = customer_key_arguments(config)
    if config.server_side_encryption not in {"none", "customer"}:
        arguments["ServerSideEncryption"] = config.server_side_encryption
    if config.kms_key_id:
        arguments["SSEKMSKeyId"] = config.kms_key_id
    if config.storage_class:
        arguments["StorageClass"] = config.storage_class
    return arguments


def customer_key_arguments(config: S3Config) -> dict[str, Any]:
    """Return the customer's key as every request about such an object's bytes must carry it."""
    if not config.customer_key:
        return {}
    # Botocore encodes the key itself and adds its MD5; it wants the bytes.
    return {
        "SSECustomerAlgorithm": "AES256",
        "SSECustomerKey": base64.b64decode(config.customer_key),
    }


def _not_sending(request: AWSRequest, **_: object) -> None:
    if isinstance(request.data, PartBody):
        request.data.sending = False


def _sending(request: AWSRequest, **_: object) -> None:
    if isinstance(request.data, PartBody):
        request.data.sending = True
