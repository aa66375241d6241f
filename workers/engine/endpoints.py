"""Which addresses a storage's endpoint may have: none that only this host itself should reach.

Whoever may name an endpoint could else make a worker speak to services that trust their own host:
databases on loopback, the cloud's metadata with the host's credentials. Private networks stay
allowed, since that is where people keep their storage.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterator

from workers.engine.stores.config import ConfigInvalid

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

HINT = (
    "Name the address that other hosts use. If the storage really is on the worker's own host, set "
    "HOLDFAST_LOCAL_ENDPOINTS=true on the panel and on every node."
)
_THIS_NETWORK = ipaddress.ip_network("0.0.0.0/8")
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_IPV4_COMPATIBLE = ipaddress.ip_network("::/96")
# Metadata outside the link-local networks: Amazon's over IPv6, Azure's, Oracle's, Alibaba's.
_METADATA = frozenset(
    map(
        ipaddress.ip_address,
        ("fd00:ec2::254", "168.63.129.16", "192.0.0.192", "100.100.100.200"),
    )
)
# One answer for the whole process, given once at its start: no caller can forget to ask.
_policy = {"local": False}


class EndpointNotAllowed(ConfigInvalid):
    """The endpoint is an address that no storage may have."""

    code = "endpoint_not_allowed"

    def __init__(self, message: str) -> None:
        super().__init__("endpoint_url", message, hint=HINT)


def allow_local(allowed: bool) -> None:
    """Say whether endpoints on loopback and link-local addresses may be used; none at first."""
    _policy["local"] = allowed


def may_reach(address: str) -> bool:
    """Return whether a storage may be at this numeric address."""
    if _policy["local"]:
        return True
    return not any(_is_refused(one) for one in _meanings(ipaddress.ip_address(address)))


def check_host(host: str) -> None:
    """Raise `EndpointNotAllowed` for a name or number that is refused wherever it is looked up.

    For a readable answer when a storage is set up; what a name leads to is seen on connecting.
    """
    name = host.rstrip(".").lower()
    number = _number(name)
    is_local = name == "localhost" or name.endswith(".localhost")
    if (is_local and not _policy["local"]) or (number and not may_reach(number)):
        raise EndpointNotAllowed(f"The storage's endpoint is {host}, which no storage may be.")


def _number(name: str) -> str:
    """Return the address that a host is given as, or "" for a name."""
    try:
        return str(ipaddress.ip_address(name))
    except ValueError:
        pass
    try:
        # Connecting takes 127.1, 0x7f.1 and 2130706433 for 127.0.0.1, so this must as well.
        return socket.inet_ntoa(socket.inet_aton(name))
    except (OSError, UnicodeEncodeError):
        return ""


def _meanings(address: Address) -> Iterator[Address]:
    """Yield the address, and the one of version 4 that it stands for."""
    yield address
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped:
            yield address.ipv4_mapped
        elif address in _NAT64 or address in _IPV4_COMPATIBLE:
            yield ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        elif address.sixtofour:
            yield address.sixtofour


def _is_refused(address: Address) -> bool:
    return (
        address.is_loopback
        or address.is_link_local
        or address.is_multicast
        or address.is_unspecified
        or (address.version == 4 and address in _THIS_NETWORK)
        or address in _METADATA
    )
