"""What `HOLDFAST_SCRATCH_DATABASES` says: servers into which backups are loaded for trial.

Nothing here reads the environment; `panel.env` does.
"""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass, field
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from django.core.exceptions import ImproperlyConfigured

ENGINES = {
    "mysql": "mysql",
    "mariadb": "mysql",
    "postgresql": "postgresql",
    "postgres": "postgresql",
}
SOCKET = "unix_socket"


@dataclass(frozen=True, slots=True)
class ScratchServer:
    """A database server and an account that may make and drop databases there."""

    engine: str
    host: str
    port: int | None
    socket: str
    user: str
    password: str = field(repr=False)


def scratch_servers(text: str, variable: str) -> list[ScratchServer]:
    """Return the servers of a list of URLs; raises a sentence that holds none of them."""
    urls = [url for url in re.split(r"[,\s]+", text) if url]
    return [_server(url, number, variable) for number, url in enumerate(urls, 1)]


def _server(url: str, number: int, variable: str) -> ScratchServer:
    # Both are refused by an exception: a password with an unencoded "/" ends in the port's place.
    with suppress(ValueError):
        parts = urlsplit(url)
        options = dict(parse_qsl(parts.query, strict_parsing=bool(parts.query)))
        if _is_usable(parts, options):
            return ScratchServer(
                engine=ENGINES[parts.scheme],
                host="" if options else parts.hostname or "",
                port=parts.port,
                socket=options.get(SOCKET, ""),
                user=unquote(parts.username or ""),
                password=unquote(parts.password or ""),
            )
    raise ImproperlyConfigured(
        f"{variable}: URL number {number} is not usable. Expected mysql://user:password@host:port "
        "or postgresql://user:password@host:port, with ?unix_socket=/path for a socket, without a "
        "database's name, and with special characters (commas too) percent-encoded."
    )


def _is_usable(parts: SplitResult, options: dict[str, str]) -> bool:
    names_place = options.get(SOCKET, "").startswith("/") if options else bool(parts.hostname)
    return (
        parts.scheme in ENGINES
        and bool(parts.username)
        and parts.port != 0
        and parts.path in ("", "/")
        and not parts.fragment
        and set(options) <= {SOCKET}
        and names_place
    )
