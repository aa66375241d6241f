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
from panel.addresses import Network, networks
from panel.development_key import key_in
from panel.scratch_urls import ScratchServer, scratch_servers
from panel.service_urls import (
    broker_url,
    database_config,
    filled_in,
    is_reachable,
    require_certificates,
)
from panel.url_prefix import usable_prefix
from panel.variables import Variables, has_password, with_password

PREFIX = "HOLDFAST_"
BASE_DIRECTORY = Path(__file__).resolve().parent.parent
METRICS_TOKEN_CHARACTERS = 32
SECRET_KEY_CHARACTERS = 50  # what Django's own deployment check asks for
PRODUCTION_SPOOL = Path("/var/lib/holdfast/spool")
DISTINCT_CHARACTERS = 10  # fewer is no random text of that length
DEVELOPMENT_KEY_FILE = BASE_DIRECTORY / ".secret-key"
YEAR_SECONDS = 31_536_000
HOURS = 24


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
    broker_ca_file: str
    database_connection_seconds: int
    log_level: str
    log_format: str
    url_prefix: str
    trusted_proxies: list[Network]
    cors_allowed_origins: list[str]
    https_redirect: bool
    hsts_seconds: int
    max_request_bytes: int
    metrics_token: str
    audit_days: int
    registration_open: bool
    sign_in_failures: int
    sign_in_lock_minutes: int
    refresh_token_days: int
    local_endpoints: bool
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
    proofs: str
    proof_days: int
    proof_hours: tuple[int, int]
    keep_failed_hours: int
    retention: bool
    retention_copies: int
    retention_daily: int
    retention_weekly: int
    retention_monthly: int
    retention_yearly: int
    schedule_window_minutes: int
    node: str
    node_file: Path | None
    node_credential: str
    age_identity_file: Path | None
    scratch_databases: list[ScratchServer]
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


def _hours(text: str) -> tuple[int, int]:
    """Return the hours that `22-6` names: from the first on, up to the last."""
    first, dash, last = text.partition("-")
    if not dash or not all(part.isdecimal() and int(part) <= HOURS for part in (first, last)):
        raise ImproperlyConfigured(
            "HOLDFAST_PROOF_HOURS must be two hours from 0 to 24 with a hyphen, as 22-6."
        )
    return int(first), int(last)


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
    connection_seconds = env.int(
        "DATABASE_CONNECTION_SECONDS", 60 if production else 0, validate=Range(min=0)
    )
    return Environment(
        production=production,
        secret_key=secret_key,
        encryption_keys=_encryption_keys(env, secret_key, production),
        allowed_hosts=_allowed_hosts(env),
        csrf_trusted_origins=env.list("CSRF_TRUSTED_ORIGINS", []),
        database=database_config(
            database, f"{PREFIX}DATABASE_URL", connection_seconds=connection_seconds
        ),
        database_connection_seconds=connection_seconds,
        broker_url=broker,
        broker_ca_file=_broker_ca_file(env, broker),
        log_level=env.str("LOG_LEVEL", "INFO", validate=OneOf(levels)),
        **_web(env, production),
        **_sign_in(env, production),
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
        proofs=env.str("PROOFS", "rolling", validate=OneOf(("rolling", "every", "off"))),
        proof_days=env.int("PROOF_DAYS", 7, validate=positive),
        proof_hours=_hours(env.str("PROOF_HOURS", "22-6")),
        keep_failed_hours=env.int("KEEP_FAILED_HOURS", 24, validate=Range(min=0)),
        **_retention(env),
        schedule_window_minutes=env.int(
            "SCHEDULE_WINDOW_MINUTES", 60, validate=Range(min=0, max=24 * 60)
        ),
        node=env.str("NODE", ""),
        node_file=node_file,
        node_credential=env.secret("NODE_CREDENTIAL"),
        age_identity_file=_age_identity_file(env),
        scratch_databases=scratch_servers(
            env.secret("SCRATCH_DATABASES"), f"{PREFIX}SCRATCH_DATABASES"
        ),
        panel_url=env.str("PANEL_URL", ""),
        node_database_url=_node_database_url(env, database),
        node_broker_url=_node_broker_url(env, broker),
    )


def _web(env: Variables, production: bool) -> dict[str, Any]:
    """Return what decides how HTTP is answered and what is written down of it."""
    formats, not_negative = ("text", "json"), Range(min=0)
    hsts_seconds = YEAR_SECONDS if production else 0
    return {
        "log_format": env.str(
            "LOG_FORMAT", "json" if production else "text", validate=OneOf(formats)
        ),
        "url_prefix": usable_prefix(env.str("URL_PREFIX", ""), f"{PREFIX}URL_PREFIX"),
        "trusted_proxies": networks(env.list("TRUSTED_PROXIES", []), f"{PREFIX}TRUSTED_PROXIES"),
        "cors_allowed_origins": env.list("CORS_ALLOWED_ORIGINS", []),
        "https_redirect": env.bool("HTTPS_REDIRECT", False),
        "hsts_seconds": env.int("HSTS_SECONDS", hsts_seconds, validate=not_negative),
        "max_request_bytes": env.int("MAX_REQUEST_BYTES", 1 << 20, validate=Range(min=1024)),
        "metrics_token": _metrics_token(env),
        "audit_days": env.int("AUDIT_DAYS", 730, validate=not_negative),
        "local_endpoints": env.bool("LOCAL_ENDPOINTS", False),
    }


def _retention(env: Variables) -> dict[str, Any]:
    """Return how many backups are kept where neither the site nor its node says so."""
    not_negative = Range(min=0)
    return {
        "retention": env.bool("RETENTION", True),
        "retention_copies": env.int("RETENTION_COPIES", 7, validate=Range(min=1)),
        "retention_daily": env.int("RETENTION_DAILY", 0, validate=not_negative),
        "retention_weekly": env.int("RETENTION_WEEKLY", 0, validate=not_negative),
        "retention_monthly": env.int("RETENTION_MONTHLY", 0, validate=not_negative),
        "retention_yearly": env.int("RETENTION_YEARLY", 0, validate=not_negative),
    }


def _sign_in(env: Variables, production: bool) -> dict[str, Any]:
    positive = Range(min=1)
    return {
        "registration_open": env.bool("REGISTRATION_OPEN", not production),
        "sign_in_failures": env.int("SIGN_IN_FAILURES", 5, validate=positive),
        "sign_in_lock_minutes": env.int("SIGN_IN_LOCK_MINUTES", 15, validate=positive),
        "refresh_token_days": env.int("REFRESH_TOKEN_DAYS", 14, validate=positive),
    }


def _metrics_token(env: Variables) -> str:
    token: str = env.secret("METRICS_TOKEN")
    if token and len(token) < METRICS_TOKEN_CHARACTERS:
        raise ImproperlyConfigured(
            f"{PREFIX}METRICS_TOKEN must be left out or have {METRICS_TOKEN_CHARACTERS} "
            "characters or more."
        )
    return token


def _secret_key(env: Variables, production: bool) -> str:
    secret_key: str = env.secret("SECRET_KEY")
    if not secret_key and not production:
        return key_in(DEVELOPMENT_KEY_FILE, variable=f"{PREFIX}SECRET_KEY")
    is_long = len(secret_key) >= SECRET_KEY_CHARACTERS
    if not is_long or len(set(secret_key)) < DISTINCT_CHARACTERS:
        when = "must be set in production" if production else "must be left out or set"
        raise ImproperlyConfigured(
            f"{PREFIX}SECRET_KEY {when}, to {SECRET_KEY_CHARACTERS} random characters or more: "
            "python -c 'import secrets; print(secrets.token_urlsafe(64))'"
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


def _age_identity_file(env: Variables) -> Path | None:
    """Return where the keys to encrypted bundles are; whoever needs them reads and checks it."""
    text: str = env.str("AGE_IDENTITY_FILE", "")
    if text and not text.startswith("/"):
        raise ImproperlyConfigured(
            "HOLDFAST_AGE_IDENTITY_FILE must be an absolute path, as /etc/holdfast/age.key."
        )
    return Path(text) if text else None


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
    if not all(_is_random(base64.urlsafe_b64decode(key)) for key in keys):
        raise ImproperlyConfigured(
            "HOLDFAST_ENCRYPTION_KEYS holds a key that is not random: make one as "
            "docs/configuration.md says."
        )
    return keys or [derived_key(secret_key)]


def derived_key(secret_key: str) -> str:
    """Return the Fernet key that development uses where none is set."""
    return base64.urlsafe_b64encode(hashlib.sha256(secret_key.encode()).digest()).decode()


def _is_fernet_key(key: str) -> bool:
    try:
        return len(base64.urlsafe_b64decode(key)) == 32
    except ValueError:
        return False


def _is_random(key: bytes) -> bool:
    """Return whether 32 bytes may be random: drawn ones are all text, or this few, about never."""
    return len(set(key)) >= DISTINCT_CHARACTERS and not (key.isascii() and key.isalnum())


def _database_url(env: Variables) -> str:
    url = env.secret("DATABASE_URL", f"sqlite:///{BASE_DIRECTORY / 'holdfast.sqlite3'}")
    database_config(url, f"{PREFIX}DATABASE_URL")
    return filled_in(url, env.secret("DATABASE_PASSWORD"), f"{PREFIX}DATABASE")


def _broker_url(env: Variables) -> str:
    url = env.secret("BROKER_URL", "redis://127.0.0.1:6379/0")
    checked = broker_url(url, f"{PREFIX}BROKER_URL")
    return filled_in(checked, env.secret("BROKER_PASSWORD"), f"{PREFIX}BROKER")


def _broker_ca_file(env: Variables, broker: str) -> str:
    path: str = env.str("BROKER_CA_FILE", "")
    if path:
        require_certificates(path, f"{PREFIX}BROKER_CA_FILE", broker)
    return path


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
