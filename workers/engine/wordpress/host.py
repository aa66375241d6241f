"""What WordPress makes of `DB_HOST`."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DatabaseHost:
    """Where the database server is. All empty means the client library's own default.

    `host` may be "localhost", for which MySQL's clients take their default socket.
    """

    host: str = ""
    port: int | None = None
    socket: str = ""


_IPV6 = re.compile(
    r"(?:\[(?P<bracketed>[0-9a-fA-F:.]+)\](?::(?P<port>\d+))?|(?P<host>[0-9a-fA-F:.]+))\Z"
)
_OTHER = re.compile(r"(?P<host>[^:/\[\]]*)(?::(?P<port>\d*))?(?P<bracketed>)\Z")


def parse_database_host(value: str) -> DatabaseHost | None:
    """Return host, port and socket as WordPress's `wpdb::parse_db_host` takes them apart.

    Unlike there, the prefix `p:` of PHP's persistent connections is left out, and a text that
    cannot be a host gives None instead of a part of it.
    """
    rest = value.strip()
    if rest.startswith("p:"):
        rest = rest[2:]
    socket = ""
    if ":/" in rest:
        rest, _colon, socket = rest.partition(":/")
        socket = f"/{socket}"
    pattern = _IPV6 if rest.count(":") > 1 else _OTHER
    match = pattern.match(rest)
    if match is None:
        return None
    port = int(match["port"]) if match["port"] else None
    if port is not None and not 0 < port < 65536:
        return None
    host = match["bracketed"] or match["host"]
    if rest.count(":") > 1 and not _is_ipv6(host):
        return None
    return DatabaseHost(host, port, socket)


def _is_ipv6(text: str) -> bool:
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True
