"""Who really sent a request: what a proxy says of it, if the proxy is one of ours.

uvicorn must not do this as well (`--no-proxy-headers`): it would believe anybody on this host.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable

from django.conf import settings
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from panel.addresses import Network

GetResponse = Callable[[HttpRequest], HttpResponseBase]
Address = ipaddress.IPv4Address | ipaddress.IPv6Address
FORWARDED_FOR, FORWARDED_PROTO = "HTTP_X_FORWARDED_FOR", "HTTP_X_FORWARDED_PROTO"
# No header is spelled so, thus nobody outside can set it.
FROM_TRUSTED_PROXY = "holdfast.from_trusted_proxy"


class TrustedProxies:
    """Puts the sender's address into REMOTE_ADDR, and removes what nobody may claim.

    A peer without an address, as behind a Unix socket, is nobody that could be trusted.
    """

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Settle it before anything else looks at the request."""
        meta = request.META
        peer = address(meta.get("REMOTE_ADDR", ""))
        trusted: list[Network] = settings.HOLDFAST_TRUSTED_PROXIES
        claimed = meta.get(FORWARDED_FOR, "")
        protocol = meta.get(FORWARDED_PROTO, "")
        for name in [
            name for name in meta if name.startswith(("HTTP_X_FORWARDED", "HTTP_FORWARDED"))
        ]:
            del meta[name]
        if peer is not None and _is_among(peer, trusted):
            meta[FROM_TRUSTED_PROXY] = True
            peer = sender(peer, claimed.split(","), trusted)
            # Each proxy adds to the end: what our own peer says is the last word.
            meta[FORWARDED_PROTO] = protocol.rpartition(",")[2].strip().lower()
        if peer is not None:
            meta["REMOTE_ADDR"] = meta["REMOTE_HOST"] = str(peer)
        return self.get_response(request)


def sender(peer: Address, claimed: Iterable[str], trusted: list[Network]) -> Address:
    """Return the last address in `X-Forwarded-For` that is no proxy of ours.

    What stands before it was written by somebody whom nobody vouches for. Where the list is not
    one of addresses, or ends without a stranger, it is the last that could be believed.
    """
    found = peer
    for text in reversed(list(claimed)):
        one = address(text.strip())
        if one is None:
            break
        found = one
        if not _is_among(one, trusted):
            break
    return found


def address(text: str) -> Address | None:
    """Return the address; an IPv4 one that came over an IPv6 socket as what it is."""
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        return None
    return getattr(found, "ipv4_mapped", None) or found


def _is_among(one: Address, networks: list[Network]) -> bool:
    return any(one in network for network in networks)
