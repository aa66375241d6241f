"""The only module that reads the environment. docs/configuration.md documents each variable.

A wrong value ends the start with one sentence that names the variable and what it may be.
"""

from __future__ import annotations

import base64
import hashlib
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from environs import EnvError, EnvValidationError
from marshmallow.validate import OneOf, Range

from backups.environment_file import read_private
from panel.service_urls import broker_url, database_config, filled_in, is_reachable
from panel.variables import Variables, has_password, with_password

PREFIX = "HOLDFAST_"
BASE_DIRECTORY = Path(__file__).resolve().parent.parent
SECRET_KEY_CHARACTERS = 50  # what Django's own deployment check asks for
PRODUCTION_SPOOL = Path("/var/lib/holdfast/spool")
DEVELOPMENT_SECRET_KEY = "development-only-secret-key-which-production-refuses-to-start-with"  # noqa: S105


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
    spool_reserve_mb: int
    lease_seconds: int
    claim_seconds: int
    access_token_minutes: int
    node_answer_seconds: int
    download_url_seconds: int
    grace_seconds: int
    agent_seconds: float
    heartbeat_seconds: int
    tidy_seconds: int
    leader_seconds: int
    keep_failed_hours: int
    node: str
    node_file: Path | None
    node_credential: str
    panel_url: str
    node_database_url: str
    node_broker_url: str


def read_environment() -> Environment:
    """Read and check every variable; raises `ImproperlyConfigured` with a sentence for a person."""
    path = _node_file(os.environ)
    if sys.argv[1:3] == ["node", "join"]:
        # A host that joins has no settings yet, or old ones that are about to be replaced.
        return _checked({}, node_file=path)
    # One that is named must be there; where one is only looked for, it may be anywhere, also behind
    # a folder that this user may not enter.
    is_wanted = f"{PREFIX}NODE_FILE" in os.environ or (path and os.access(path, os.F_OK))
    return _checked(os.environ, read_private(path) if path and is_wanted else {}, node_file=path)


def environment_with(received: Mapping[str, str]) -> Environment:
    """Return what a process of this host has once these are in its node file."""
    return _checked(os.environ, received, node_file=_node_file(os.environ))


def _checked(*layers: Mapping[str, str], node_file: Path | None) -> Environment:
    try:
        return _read(Variables(*layers, prefix=PREFIX), node_file)
    except EnvValidationError as error:
        raise ImproperlyConfigured(_sentence(error)) from error
    except EnvError as error:
        raise ImproperlyConfigured(f"The environment is not usable: {error}") from error


def _node_file(environment: Mapping[str, str]) -> Path | None:
    """Return where `node join` keeps what it got; None if that is switched off."""
    env = Variables(environment, prefix=PREFIX)
    folder = "/etc" if os.geteuid() == 0 else os.path.expanduser("~/.config")  # noqa: PTH111
    named: str = env.str("NODE_FILE", f"{folder}/holdfast/node.env")
    # Without a home, "~" stays as it is.
    return Path(named) if named and not named.startswith("~") else None


def _sentence(error: EnvValidationError) -> str:
    """Return `Environment variable "NAME": what it may be.` for environs' list of reasons."""
    name = str(error).partition(" invalid: ")[0]
    reasons = error.error_messages
    return f"{name}: {' '.join(map(str, reasons)) if isinstance(reasons, list) else reasons}"


def _read(env: Variables, node_file: Path | None) -> Environment:
    environments = ("development", "production")
    production = env.str("ENVIRONMENT", "development", validate=OneOf(environments)) == "production"
    secret_key = _secret_key(env, production)
    levels = ("DEBUG", "INFO", "WARNING", "ERROR")
    positive = Range(min=1)
    database, broker = _database_url(env), _broker_url(env)
    return Environment(
        production=production,
        secret_key=secret_key,
        encryption_keys=_encryption_keys(env, secret_key, production),
        allowed_hosts=_allowed_hosts(env),
        csrf_trusted_origins=env.list("CSRF_TRUSTED_ORIGINS", []),
        database=database_config(database, f"{PREFIX}DATABASE_URL"),
        broker_url=broker,
        log_level=env.str("LOG_LEVEL", "INFO", validate=OneOf(levels)),
        spool_directory=_spool_directory(env, production),
        spool_reserve_mb=env.int("SPOOL_RESERVE_MB", 1024, validate=Range(min=0)),
        lease_seconds=env.int("LEASE_SECONDS", 90, validate=Range(min=3)),
        claim_seconds=env.int("CLAIM_SECONDS", 30, validate=positive),
        access_token_minutes=env.int("ACCESS_TOKEN_MINUTES", 60, validate=positive),
        node_answer_seconds=env.int("NODE_ANSWER_SECONDS", 10, validate=positive),
        download_url_seconds=env.int("DOWNLOAD_URL_SECONDS", 900, validate=positive),
        grace_seconds=env.int("GRACE_SECONDS", 60, validate=Range(min=0)),
        agent_seconds=env.float("AGENT_SECONDS", 2.0, validate=Range(min=0.1)),
        heartbeat_seconds=env.int("HEARTBEAT_SECONDS", 15, validate=positive),
        tidy_seconds=env.int("TIDY_SECONDS", 600, validate=positive),
        leader_seconds=env.int("LEADER_SECONDS", 10, validate=positive),
        keep_failed_hours=env.int("KEEP_FAILED_HOURS", 24, validate=Range(min=0)),
        node=env.str("NODE", ""),
        node_file=node_file,
        node_credential=env.secret("NODE_CREDENTIAL"),
        panel_url=env.str("PANEL_URL", ""),
        node_database_url=_node_database_url(env, database),
        node_broker_url=_node_broker_url(env, broker),
    )


def _secret_key(env: Variables, production: bool) -> str:
    secret_key = env.secret("SECRET_KEY", "" if production else DEVELOPMENT_SECRET_KEY)
    if len(secret_key) < SECRET_KEY_CHARACTERS:
        when = "must be set in production" if production else "must be left out or set"
        raise ImproperlyConfigured(
            f"HOLDFAST_SECRET_KEY {when}, to {SECRET_KEY_CHARACTERS} characters or more."
        )
    return secret_key


def _allowed_hosts(env: Variables) -> list[str]:
    hosts: list[str] = env.list("ALLOWED_HOSTS", ["localhost", "127.0.0.1", "[::1]"])
    if not any(host.strip() for host in hosts):
        raise ImproperlyConfigured(
            "HOLDFAST_ALLOWED_HOSTS names no host, so that no request would be answered: list the "
            "panel's host names, separated by commas."
        )
    return [host.strip() for host in hosts if host.strip()]


def _spool_directory(env: Variables, production: bool) -> Path:
    default = PRODUCTION_SPOOL if production else BASE_DIRECTORY / ".spool"
    spool = Path(env.str("SPOOL_DIRECTORY", str(default)))
    if not spool.is_absolute():
        # A relative one would be another folder for each process's working directory.
        raise ImproperlyConfigured(
            "HOLDFAST_SPOOL_DIRECTORY must be an absolute path, as /var/lib/holdfast/spool."
        )
    return spool


def _encryption_keys(env: Variables, secret_key: str, production: bool) -> list[str]:
    """Return Fernet keys, the newest first; development derives one from the secret key."""
    keys = [key.strip() for key in env.secret("ENCRYPTION_KEYS").split(",") if key.strip()]
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


def _database_url(env: Variables) -> str:
    url = env.secret("DATABASE_URL", f"sqlite:///{BASE_DIRECTORY / 'holdfast.sqlite3'}")
    database_config(url, f"{PREFIX}DATABASE_URL")
    return filled_in(url, env.secret("DATABASE_PASSWORD"), f"{PREFIX}DATABASE")


def _broker_url(env: Variables) -> str:
    url = env.secret("BROKER_URL", "redis://127.0.0.1:6379/0")
    checked = broker_url(url, f"{PREFIX}BROKER_URL")
    return filled_in(checked, env.secret("BROKER_PASSWORD"), f"{PREFIX}BROKER")


def _node_database_url(env: Variables, own: str) -> str:
    """Return the database's URL as other hosts reach it; empty if there is none."""
    url = env.secret("NODE_DATABASE_URL")
    if not url:
        return own if is_reachable(own) else ""
    database_config(url, f"{PREFIX}NODE_DATABASE_URL")
    password = env.secret("DATABASE_PASSWORD")
    return with_password(url, password) if password and not has_password(url) else url


def _node_broker_url(env: Variables, own: str) -> str:
    """Return the broker's URL as other hosts reach it; empty if there is none."""
    url = env.secret("NODE_BROKER_URL")
    if not url:
        return own if is_reachable(own) else ""
    password = env.secret("BROKER_PASSWORD")
    url = broker_url(url, f"{PREFIX}NODE_BROKER_URL")
    return with_password(url, password) if password and not has_password(url) else url
