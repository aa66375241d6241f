"""Checks of the configuration as a whole, for `manage.py check --deploy`: each with a hint.

What a single variable may be is checked where it is read, and ends the start. Here is what is
allowed, and not what an installation that others reach should have.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.checks import CheckMessage, Error, Info, Tags, Warning, register

Messages = Iterator[CheckMessage]


@register(Tags.security, deploy=True)
def check_deployment(**_: Any) -> list[CheckMessage]:  # noqa: ANN401
    """Return what is wrong for production."""
    return [message for check in _CHECKS for message in check()]


def _environment() -> Messages:
    if settings.HOLDFAST_ENVIRONMENT != "production":
        yield Warning(
            "This is a development installation: cookies travel over plain HTTP as well, and "
            "secrets may be made up.",
            hint="Set HOLDFAST_ENVIRONMENT=production.",
            id="holdfast.W001",
        )


def _database() -> Messages:
    if settings.DATABASES["default"]["ENGINE"].endswith("sqlite3"):
        yield Warning(
            "The panel's database is SQLite: no other host can join, and writers wait for each "
            "other.",
            hint="Set HOLDFAST_DATABASE_URL to a MySQL, MariaDB or PostgreSQL server.",
            id="holdfast.W002",
        )


def _origins() -> Messages:
    for name in ("CORS_ALLOWED_ORIGINS", "CSRF_TRUSTED_ORIGINS"):
        for origin in getattr(settings, name):
            if "*" in origin:
                yield Error(
                    f"HOLDFAST_{name} holds {origin!r}: pages of strangers would be let in.",
                    hint="List each origin, as https://front.example.com.",
                    id="holdfast.E001",
                )
            elif not origin.startswith("https://"):
                yield Warning(
                    f"HOLDFAST_{name} holds {origin!r}, which is not HTTPS: whoever is on the way "
                    "can write such a page.",
                    hint="Serve that front end over HTTPS.",
                    id="holdfast.W003",
                )


def _hosts() -> Messages:
    if "*" in settings.ALLOWED_HOSTS:
        yield Error(
            "HOLDFAST_ALLOWED_HOSTS holds '*': links would name whatever host a request names.",
            hint="List the panel's names.",
            id="holdfast.E002",
        )


def _proxies() -> Messages:
    for network in settings.HOLDFAST_TRUSTED_PROXIES:
        if network.prefixlen == 0:
            yield Error(
                f"HOLDFAST_TRUSTED_PROXIES holds {network}: everybody could write the address "
                "that they are locked out and written down by.",
                hint="Name the proxy's own address, as 127.0.0.1.",
                id="holdfast.E003",
            )
    if settings.SECURE_SSL_REDIRECT and not settings.HOLDFAST_TRUSTED_PROXIES:
        yield Error(
            "HOLDFAST_HTTPS_REDIRECT is on, and no proxy is trusted: each request seems to be "
            "plain HTTP, and is redirected for ever.",
            hint="Name the proxy that ends HTTPS in HOLDFAST_TRUSTED_PROXIES.",
            id="holdfast.E004",
        )


def _address() -> Messages:
    prefix, url = settings.HOLDFAST_URL_PREFIX, settings.HOLDFAST_PANEL_URL
    if prefix and url and urlsplit(url).path.rstrip("/") != prefix:
        yield Warning(
            f"HOLDFAST_PANEL_URL does not end with {prefix}, below which this panel lives "
            "(HOLDFAST_URL_PREFIX): hosts that join would not find it.",
            hint=f"Write the whole address, as https://backups.example.com{prefix}.",
            id="holdfast.W004",
        )


def _keys() -> Messages:
    if settings.HOLDFAST_DERIVED_KEY in settings.HOLDFAST_ENCRYPTION_KEYS:
        yield Error(
            "HOLDFAST_ENCRYPTION_KEYS holds the key that development derives from the secret "
            "key: who knows one of them knows both.",
            hint="Put a key of its own in front and run `manage.py rotate_secrets`, then drop it.",
            id="holdfast.E005",
        )


def _metrics() -> Messages:
    if not settings.HOLDFAST_METRICS_TOKEN:
        yield Info(
            "HOLDFAST_METRICS_TOKEN is not set: only super admins can read /metrics.",
            hint="Set it where Prometheus should read them.",
            id="holdfast.I001",
        )


_CHECKS = (_environment, _database, _origins, _hosts, _proxies, _address, _keys, _metrics)
