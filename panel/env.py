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
from environs import Env, EnvError, EnvValidationError
from marshmallow.validate import OneOf, Range, Regexp

BASE_DIRECTORY = Path(__file__).resolve().parent.parent
SECRET_KEY_CHARACTERS = 50  # what Django's own deployment check asks for
PRODUCTION_SPOOL = Path("/var/lib/holdfast/spool")
DEVELOPMENT_SECRET_KEY = "development-only-secret-key-which-production-refuses-to-start-with"  # noqa: S105

# Without a time zone of their own, MySQL sessions read leases back in the server's local time.
MYSQL_OPTIONS: dict[str, Any] = {
    "init_command": "SET time_zone='+00:00'",
    "isolation_level": "read committed",
    "charset": "utf8mb4",
    "connect_timeout": 10,
}
# A partition that drops packets must not hold a session for the kernel's quarter of an hour.
POSTGRESQL_OPTIONS: dict[str, Any] = {"connect_timeout": 10, "tcp_user_timeout": 30_000}
# Writers queue up instead of failing: begin with the write lock, wait for it, let readers read on.
SQLITE_OPTIONS: dict[str, Any] = {
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
    except EnvValidationError as error:
        raise ImproperlyConfigured(_sentence(error)) from error
    except EnvError as error:
        raise ImproperlyConfigured(f"The environment is not usable: {error}") from error


def _sentence(error: EnvValidationError) -> str:
    """Return `Environment variable "NAME": what it may be.` for environs' list of reasons."""
    name = str(error).partition(" invalid: ")[0]
    reasons = error.error_messages
    return f"{name}: {' '.join(map(str, reasons)) if isinstance(reasons, list) else reasons}"


def _read(env: Env) -> Environment:
    environments = ("development", "production")
    production = env.str("ENVIRONMENT", "development", validate=OneOf(environments)) == "production"
    secret_key = _secret_key(env, production)
    levels = ("DEBUG", "INFO", "WARNING", "ERROR")
    positive = Range(min=1)
    broker = Regexp(
        r"^(redis|rediss|redis\+socket)://.",
        error="Must be redis://, rediss:// or redis+socket://.",
    )
    return Environment(
        production=production,
        secret_key=secret_key,
        encryption_keys=_encryption_keys(env, secret_key, production),
        allowed_hosts=_allowed_hosts(env),
        csrf_trusted_origins=env.list("CSRF_TRUSTED_ORIGINS", []),
        database=_database(env),
        broker_url=env.str("BROKER_URL", "redis://127.0.0.1:6379/0", validate=broker),
        log_level=env.str("LOG_LEVEL", "INFO", validate=OneOf(levels)),
        spool_directory=_spool_directory(env, production),
        lease_seconds=env.int("LEASE_SECONDS", 90, validate=Range(min=3)),
        claim_seconds=env.int("CLAIM_SECONDS", 30, validate=positive),
        access_token_minutes=env.int("ACCESS_TOKEN_MINUTES", 60, validate=positive),
        node_answer_seconds=env.int("NODE_ANSWER_SECONDS", 10, validate=positive),
        download_url_seconds=env.int("DOWNLOAD_URL_SECONDS", 900, validate=positive),
    )


def _secret_key(env: Env, production: bool) -> str:
    secret_key: str = env.str("SECRET_KEY", "" if production else DEVELOPMENT_SECRET_KEY)
    if len(secret_key) < SECRET_KEY_CHARACTERS:
        when = "must be set in production" if production else "must be left out or set"
        raise ImproperlyConfigured(
            f"HOLDFAST_SECRET_KEY {when}, to {SECRET_KEY_CHARACTERS} characters or more."
        )
    return secret_key


def _allowed_hosts(env: Env) -> list[str]:
    hosts: list[str] = env.list("ALLOWED_HOSTS", ["localhost", "127.0.0.1", "[::1]"])
    if not any(host.strip() for host in hosts):
        raise ImproperlyConfigured(
            "HOLDFAST_ALLOWED_HOSTS names no host, so that no request would be answered: list the "
            "panel's host names, separated by commas."
        )
    return [host.strip() for host in hosts if host.strip()]


def _spool_directory(env: Env, production: bool) -> Path:
    default = PRODUCTION_SPOOL if production else BASE_DIRECTORY / ".spool"
    spool = Path(env.str("SPOOL_DIRECTORY", str(default)))
    if not spool.is_absolute():
        # A relative one would be another folder for each process's working directory.
        raise ImproperlyConfigured(
            "HOLDFAST_SPOOL_DIRECTORY must be an absolute path, as /var/lib/holdfast/spool."
        )
    return spool


def _encryption_keys(env: Env, secret_key: str, production: bool) -> list[str]:
    """Return Fernet keys, the newest first; development derives one from the secret key."""
    keys: list[str] = env.list("ENCRYPTION_KEYS", [])
    if not keys and production:
        raise ImproperlyConfigured(
            "HOLDFAST_ENCRYPTION_KEYS must be set in production: one or more Fernet keys, the "
            "newest first, separated by commas."
        )
    if not all(_is_fernet_key(key) for key in keys):
        raise ImproperlyConfigured(
            "HOLDFAST_ENCRYPTION_KEYS holds a key that is not 32 bytes in URL-safe base64."
        )
    derived = base64.urlsafe_b64encode(hashlib.sha256(secret_key.encode()).digest()).decode()
    return keys or [derived]


def _is_fernet_key(key: str) -> bool:
    try:
        return len(base64.urlsafe_b64decode(key)) == 32
    except ValueError:
        return False


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
    engine_options: dict[str, Any] = {
        "django.db.backends.sqlite3": SQLITE_OPTIONS,
        "django.db.backends.mysql": MYSQL_OPTIONS,
        "django.db.backends.postgresql": POSTGRESQL_OPTIONS,
    }.get(config["ENGINE"], {})
    config["OPTIONS"] = {**engine_options, **config.get("OPTIONS", {})}
    return config
