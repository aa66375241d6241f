"""The only module that reads the environment. docs/configuration.md documents each variable.

A wrong value ends the start with one sentence that names the variable and what it may be.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dj_database_url
from django.core.exceptions import ImproperlyConfigured
from environs import Env, EnvError
from marshmallow.validate import Length, OneOf, Range

BASE_DIRECTORY = Path(__file__).resolve().parent.parent
DEVELOPMENT_SECRET_KEY = "development-only-secret-key-which-production-refuses-to-start-with"  # noqa: S105

# Without a time zone of their own, MySQL sessions read leases back in the server's local time.
MYSQL_OPTIONS = {
    "init_command": "SET time_zone='+00:00'",
    "isolation_level": "read committed",
    "charset": "utf8mb4",
    "connect_timeout": 10,
}
# Writers queue up instead of failing: begin with the write lock, wait for it, let readers read on.
SQLITE_OPTIONS = {
    "transaction_mode": "IMMEDIATE",
    "timeout": 20,
    "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
}


@dataclass(frozen=True, slots=True)
class Environment:
    """Every value that the environment may set, checked."""

    production: bool
    secret_key: str
    encryption_keys: list[str]
    allowed_hosts: list[str]
    csrf_trusted_origins: list[str]
    database: dict[str, Any]
    broker_url: str
    log_level: str
    spool_directory: Path
    lease_seconds: int
    claim_seconds: int
    access_token_minutes: int
    node_answer_seconds: int
    download_url_seconds: int


def read_environment() -> Environment:
    """Read and check every variable; raises `ImproperlyConfigured` with a sentence for a person."""
    env = Env()
    try:
        with env.prefixed("HOLDFAST_"):
            return _read(env)
    except (EnvError, ValueError) as error:
        raise ImproperlyConfigured(f"The environment is not usable: {error}") from error


def _read(env: Env) -> Environment:
    environments = ("development", "production")
    production = env.str("ENVIRONMENT", "development", validate=OneOf(environments)) == "production"
    secret_key = env.str("SECRET_KEY", "" if production else DEVELOPMENT_SECRET_KEY)
    if production and len(secret_key) < 50:
        raise ImproperlyConfigured(
            "HOLDFAST_SECRET_KEY must be set in production, to 50 characters or more."
        )
    levels = ("DEBUG", "INFO", "WARNING", "ERROR")
    positive = Range(min=1)
    return Environment(
        production=production,
        secret_key=secret_key,
        encryption_keys=_encryption_keys(env, secret_key, production),
        allowed_hosts=env.list("ALLOWED_HOSTS", ["localhost", "127.0.0.1", "[::1]"]),
        csrf_trusted_origins=env.list("CSRF_TRUSTED_ORIGINS", []),
        database=_database(env),
        broker_url=env.str("BROKER_URL", "redis://127.0.0.1:6379/0", validate=Length(min=1)),
        log_level=env.str("LOG_LEVEL", "INFO", validate=OneOf(levels)),
        spool_directory=Path(env.str("SPOOL_DIRECTORY", str(BASE_DIRECTORY / ".demo/spool"))),
        lease_seconds=env.int("LEASE_SECONDS", 90, validate=Range(min=3)),
        claim_seconds=env.int("CLAIM_SECONDS", 30, validate=positive),
        access_token_minutes=env.int("ACCESS_TOKEN_MINUTES", 60, validate=positive),
        node_answer_seconds=env.int("NODE_ANSWER_SECONDS", 10, validate=positive),
        download_url_seconds=env.int("DOWNLOAD_URL_SECONDS", 900, validate=positive),
    )


def _encryption_keys(env: Env, secret_key: str, production: bool) -> list[str]:
    """Return Fernet keys, the newest first; development derives one from the secret key."""
    keys: list[str] = env.list("ENCRYPTION_KEYS", [])
    if not keys and production:
        raise ImproperlyConfigured(
            "HOLDFAST_ENCRYPTION_KEYS must be set in production: one or more Fernet keys, the "
            "newest first, separated by commas."
        )
    for key in keys:
        if len(base64.urlsafe_b64decode(key)) != 32:
            raise ImproperlyConfigured(
                "HOLDFAST_ENCRYPTION_KEYS holds a key that is not 32 bytes in URL-safe base64."
            )
    derived = base64.urlsafe_b64encode(hashlib.sha256(secret_key.encode()).digest()).decode()
    return keys or [derived]


def _database(env: Env) -> dict[str, Any]:
    url = env.str("DATABASE_URL", f"sqlite:///{BASE_DIRECTORY / 'holdfast.sqlite3'}")
    try:
        config: dict[str, Any] = dict(dj_database_url.parse(url, conn_health_checks=True))
    except (ValueError, KeyError) as error:
        # The URL may hold a password: say what is wrong, never what it is.
        raise ImproperlyConfigured(
            "HOLDFAST_DATABASE_URL is not a usable database URL: expected "
            "sqlite:///path, mysql://user:password@host/name or postgres://user:password@host/name."
        ) from error
    engine_options = {
        "django.db.backends.sqlite3": SQLITE_OPTIONS,
        "django.db.backends.mysql": MYSQL_OPTIONS,
    }.get(config["ENGINE"], {})
    config["OPTIONS"] = {**engine_options, **config.get("OPTIONS", {})}
    return config
