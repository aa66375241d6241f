"""Where a bucket is, who may use it and how objects are stored in it."""

from __future__ import annotations

import base64
import binascii
import re
import ssl
import urllib.parse
from dataclasses import dataclass

from workers.engine.endpoints import check_host
from workers.engine.errors import EngineError
from workers.engine.stores.config import ConfigInvalid, option
from workers.engine.stores.keys import checked_key
from workers.engine.stores.s3.parts import MAX_PART_BYTES, MIN_PART_BYTES

# Wider than Amazon's rule (lower case, 3 to 63 characters), since other services allow more.
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,254}")
_STORAGE_CLASS = re.compile(r"[A-Z0-9_]{1,64}")
CUSTOMER_KEY_BYTES = 32


@dataclass(frozen=True, slots=True)
class S3Config:
    """The configuration of an S3 storage; `option` texts are what a person reads in the form."""

    bucket: str = option("Bucket", "The name of a bucket that exists.")
    region: str = option("Region", "Such as eu-central-1.", default="us-east-1")
    endpoint_url: str = option(
        "Endpoint",
        "For other services than Amazon: https://host or https://host:port, without a path.",
        default="",
    )
    access_key_id: str = option(
        "Access key id",
        "Leave both keys empty to use the role of the host that the worker runs on.",
        default="",
    )
    secret_access_key: str = option(
        "Secret access key", "Belongs to the access key id.", default="", secret=True
    )
    session_token: str = option(
        "Session token", "Only with temporary credentials.", default="", secret=True
    )
    prefix: str = option("Prefix", "A path in the bucket below which all is kept.", default="")
    addressing: str = option(
        "Addressing",
        "How the bucket is named: in the path, or as part of the host name (virtual). Automatic "
        "is path with an endpoint of your own, virtual with Amazon.",
        default="auto",
        choices=("auto", "path", "virtual"),
    )
    ca_bundle: str = option(
        "CA file", "The path of a PEM file with the authority to trust.", default=""
    )
    ca_pem: str = option("CA certificate", "The same as PEM text.", default="")
    storage_class: str = option(
        "Storage class", "Such as STANDARD_IA; empty for the bucket's default.", default=""
    )
    server_side_encryption: str = option(
        "Server-side encryption",
        "none leaves it to the bucket's default; customer uses the customer key.",
        default="none",
        choices=("none", "AES256", "aws:kms", "aws:kms:dsse", "customer"),
    )
    kms_key_id: str = option(
        "KMS key", "The id or ARN of the key, with aws:kms; empty for the default.", default=""
    )
    customer_key: str = option(
        "Customer key",
        "32 random bytes in base64, with customer. Without this key no backup can be read again.",
        default="",
        secret=True,
    )
    object_lock_days: int = option(
        "Object lock",
        "For how many days nobody can delete a bundle; 0 is not at all. The bucket must have been "
        "made with object lock.",
        default=0,
    )
    object_lock_mode: str = option(
        "Object lock mode",
        "governance lets those with a special right delete all the same, compliance nobody at all.",
        default="governance",
        choices=("governance", "compliance"),
    )
    part_size: int = option(
        "Part size",
        "In bytes, 5 MiB to 5 GiB. Grows by itself where an object would have too many parts.",
        default=16 << 20,
    )
    upload_threads: int = option("Upload threads", "Parts sent at once, 1 to 16.", default=3)
    connect_timeout: int = option("Connect time-out", "In seconds, 1 to 300.", default=10)
    read_timeout: int = option("Read time-out", "In seconds, 1 to 900.", default=60)
    max_attempts: int = option(
        "Attempts", "How often one request is tried in all, 1 to 10, with back-off.", default=5
    )

    def __post_init__(self) -> None:
        _require(_BUCKET.fullmatch(self.bucket), "bucket", "Letters, digits, dots, hyphens.")
        _check_endpoint(self.endpoint_url)
        _check_prefix(self.prefix)
        for name, allowed in _RANGES.items():
            value = getattr(self, name)
            _require(value in allowed, name, f"Allowed: {allowed[0]} to {allowed[-1]}.")
        self._check_credentials()
        self._check_encryption()
        _require(
            not self.storage_class or _STORAGE_CLASS.fullmatch(self.storage_class),
            "storage_class",
            "Upper-case letters, digits and underscores, such as STANDARD_IA.",
        )
        _require(
            not (self.ca_bundle and self.ca_pem), "ca_pem", "Give a CA file or a text, not both."
        )
        _check_pem(self.ca_pem)

    @property
    def path_style(self) -> bool:
        """Whether the bucket stands in the path of a URL instead of in its host name."""
        if self.addressing == "auto":
            return bool(self.endpoint_url)
        return self.addressing == "path"

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must never appear in a message."""
        return (self.secret_access_key, self.session_token, self.customer_key)

    def _check_credentials(self) -> None:
        _require(
            bool(self.access_key_id) == bool(self.secret_access_key),
            "secret_access_key" if self.access_key_id else "access_key_id",
            "The access key id and the secret access key go together: give both or neither.",
        )
        _require(
            self.access_key_id or not self.session_token,
            "session_token",
            "A session token needs the keys that it was issued with.",
        )

    def _check_encryption(self) -> None:
        by_customer = self.server_side_encryption == "customer"
        _require(
            not self.kms_key_id or self.server_side_encryption.startswith("aws:kms"),
            "kms_key_id",
            "Only with server_side_encryption aws:kms.",
        )
        _require(
            bool(self.customer_key) == by_customer,
            "customer_key",
            "Exactly when server_side_encryption is customer.",
        )
        _require(
            not by_customer or _decoded_length(self.customer_key) == CUSTOMER_KEY_BYTES,
            "customer_key",
            f"It is {CUSTOMER_KEY_BYTES} bytes in base64, from `openssl rand -base64 32`.",
        )
        _require(
            not by_customer or not self.endpoint_url.startswith("http://"),
            "customer_key",
            "It is sent with every request: the endpoint must be https.",
        )


_RANGES = {
    "object_lock_days": range(36_501),
    "part_size": range(MIN_PART_BYTES, MAX_PART_BYTES + 1),
    "upload_threads": range(1, 17),
    "connect_timeout": range(1, 301),
    "read_timeout": range(1, 901),
    "max_attempts": range(1, 11),
}


def _require(holds: object, field: str, hint: str) -> None:
    if not holds:
        raise ConfigInvalid(field, f"The storage's {field} cannot be used as it is.", hint=hint)


def _check_endpoint(endpoint: str) -> None:
    if not endpoint:
        return
    try:
        parts = urllib.parse.urlsplit(endpoint)
        port_is_right = parts.port != 0
    except ValueError:
        parts, port_is_right = urllib.parse.urlsplit(""), False
    _require(
        parts.scheme in {"http", "https"}
        and parts.hostname
        and port_is_right
        and parts.username is None
        and parts.path in {"", "/"}
        and not (parts.query or parts.fragment),
        "endpoint_url",
        "https://host or https://host:port: no user, path or query; the bucket is a field.",
    )
    check_host(parts.hostname or "")


def _check_prefix(prefix: str) -> None:
    if not prefix.strip("/"):
        return
    try:
        checked_key(prefix.strip("/"))
    except EngineError as error:
        message = f"The storage's prefix cannot be used as it is: {error.message}"
        raise ConfigInvalid("prefix", message, hint="A path such as backups/web.") from error


def _check_pem(pem: str) -> None:
    if not pem:
        return
    try:
        ssl.create_default_context(cadata=pem)
    except (ssl.SSLError, ValueError) as error:
        raise ConfigInvalid(
            "ca_pem",
            "The storage's ca_pem is not a certificate.",
            hint="Paste it whole, from -----BEGIN CERTIFICATE----- to -----END CERTIFICATE-----.",
        ) from error


def _decoded_length(text: str) -> int:
    try:
        return len(base64.b64decode(text, validate=True))
    except (binascii.Error, ValueError):
        return 0
