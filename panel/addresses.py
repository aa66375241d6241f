"""Networks of addresses, as variables name them."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

from django.core.exceptions import ImproperlyConfigured

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def networks(texts: Iterable[str], variable: str) -> list[Network]:
    """Return addresses and networks, as 10.0.0.1 or 10.0.0.0/8; raises a sentence for others."""
    found: list[Network] = []
    for text in filter(None, (text.strip() for text in texts)):
        try:
            found.append(ipaddress.ip_network(text))
        except ValueError as error:
            raise ImproperlyConfigured(
                f"{variable} holds {text!r}, which is no address and no network, as 10.0.0.1 or "
                "10.0.0.0/8 (with zeros behind the network's part)."
            ) from error
    return found
