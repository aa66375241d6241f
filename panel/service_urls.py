"""The URLs of database and broker: what may stand in them, and what Django makes of them.

Nothing here reads the environment; `panel.env` does, and names the variable in each sentence.
"""

from __future__ import annotations

import ipaddress
import re
import ssl
import sys
from contextlib import suppress
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import dj_database_url
from django.core.exceptions import ImproperlyConfigured

from backups.broker_tls import TLS
from panel.variables import has_password, with_password

# Without a time zone of their own, MySQL sessions read leases back in the server's local time.
MYSQL_OPTIONS: dict[str, Any] = {
    "init_command": "SET time_zone='+00:00'",
    "isolation_level": "read committed",
    "charset": "utf8mb4",
    "connect_timeout": 10,
}
# A partition that drops packets must not hold a session for the kernel's quarter of an hour. On
# MySQL that bounds each statement: longer than any wait for a lock, but migrations take their time.
MYSQL_TIMEOUTS = {"read_timeout": 120, "write_timeout": 120}
POSTGRESQL_OPTIONS: dict[str, Any] = {"connect_timeout": 10, "tcp_user_timeout": 30_000}
# Writers queue up instead of failing: begin with the write lock, wait for it, let readers read on.
SQLITE_OPTIONS: dict[str, Any] = {
    "transaction_mode": "IMMEDIATE",
    "timeout": 20,
    "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
}


def is_reachable(url: str) -> bool:
    """Return whether a URL that was written for this host means the same on another one."""
    host = urlsplit(url).hostname or "localhost"
    try:
        return not ipaddress.ip_address(host).is_loopback
    except ValueError:
        # A socket's folder is percent-encoded in the host's place.
        return host != "localhost" and not host.startswith("%2f")


def broker_url(url: str, variable: str) -> str:
    """Return the URL of a broker; raises a sentence that does not hold the URL."""
    with suppress(ValueError):
        # A password with an unencoded "/" or "#" ends in the port's place, and Celery would say
        # that it is no number.
        port = urlsplit(url).port
        if port != 0 and re.match(r"(redis|rediss|redis\+socket)://.", url):
            _refuse_tls_options(url, variable)
            return url
    schemes = "redis://, rediss:// or redis+socket://"
    raise ImproperlyConfigured(
        f'Environment variable "{variable}": Must be {schemes}, with special characters in '
        "the password percent-encoded."
    )


def _refuse_tls_options(url: str, variable: str) -> None:
    if any(name.startswith("ssl") for name, _ in parse_qsl(urlsplit(url).query)):
        raise ImproperlyConfigured(
            f'Environment variable "{variable}": Must say nothing of certificates: with rediss:// '
            "they are always checked, also against HOLDFAST_BROKER_CA_FILE."
        )


def require_certificates(path: str, variable: str, url: str) -> None:
    """Raise a sentence unless the file can tell whether the broker at `url` is the right one."""
    if not url.startswith(TLS):
        raise ImproperlyConfigured(
            f"{variable} is set, but the broker does not speak TLS: its URL must be rediss://."
        )
    try:
        ssl.create_default_context(cafile=path)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it holds no certificate"
        raise ImproperlyConfigured(
            f"{variable} names {path}, which cannot be used ({reason}): it must be a file with the "
            "broker's certificate authority, as PEM."
        ) from error


def database_config(url: str, variable: str, *, connection_seconds: int = 0) -> dict[str, Any]:
    """Return Django's settings for a database; raises a sentence that does not hold the URL."""
    try:
        parsed = dj_database_url.parse(
            url, conn_max_age=connection_seconds, conn_health_checks=True
        )
    except (ValueError, KeyError) as error:
        # The URL may hold a password: say what is wrong, never what it is.
        raise ImproperlyConfigured(
            f"{variable} is not a usable database URL: expected "
            "sqlite:///path, mysql://user:password@host/name or postgres://user:password@host/name."
        ) from error
    config: dict[str, Any] = dict(parsed)
    engine_options: dict[str, Any] = {
        "django.db.backends.sqlite3": SQLITE_OPTIONS,
        "django.db.backends.mysql": MYSQL_OPTIONS,
        "django.db.backends.postgresql": POSTGRESQL_OPTIONS,
    }.get(config["ENGINE"], {})
    if engine_options is MYSQL_OPTIONS and sys.argv[1:2] != ["migrate"]:
        engine_options = {**MYSQL_OPTIONS, **MYSQL_TIMEOUTS}
    config["OPTIONS"] = {**engine_options, **config.get("OPTIONS", {})}
    return config


def filled_in(url: str, password: str, what: str) -> str:
    """Return the URL with the password that a variable of its own holds, if one does.

    `what` is the variables' name up to `_URL` and `_PASSWORD`.
    """
    if not password:
        return url
    if url.startswith("sqlite:"):
        raise ImproperlyConfigured(
            f"{what}_PASSWORD is set, but {what}_URL is SQLite's, which has none."
        )
    if has_password(url):
        raise ImproperlyConfigured(
            f"{what}_PASSWORD is set, and {what}_URL holds a password of its own: leave one out."
        )
    return with_password(url, password)
