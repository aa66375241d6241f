"""Who sent a request, where proxies stand before the panel."""

from __future__ import annotations

import ipaddress
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.http import HttpRequest, HttpResponse

from panel.proxies import FROM_TRUSTED_PROXY, TrustedProxies
from tests.servers.cluster import ROOT

TRUSTED = [ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("fd00::/8")]


@pytest.fixture(autouse=True)
def proxies(settings: Any) -> None:
    settings.HOLDFAST_TRUSTED_PROXIES = TRUSTED


def seen(peer: str | None, **headers: str) -> HttpRequest:
    """Return the request as what comes after the middleware sees it."""
    request = HttpRequest()
    request.META = {f"HTTP_{name.upper()}": value for name, value in headers.items()}
    if peer is not None:
        request.META["REMOTE_ADDR"] = peer
    TrustedProxies(lambda _: HttpResponse())(request)
    return request


@pytest.mark.parametrize(
    ("peer", "claimed", "found"),
    [
        ("10.0.0.1", "203.0.113.7", "203.0.113.7"),
        ("10.0.0.1", "6.6.6.6, 203.0.113.7", "203.0.113.7"),
        ("10.0.0.1", "6.6.6.6, 203.0.113.7, 10.0.0.2", "203.0.113.7"),
        ("10.0.0.1", "6.6.6.6,nonsense, 10.0.0.2", "10.0.0.2"),
        ("10.0.0.1", "203.0.113.7:4711", "10.0.0.1"),
        ("10.0.0.1", "nonsense", "10.0.0.1"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", "10.0.0.3, 10.0.0.2", "10.0.0.3"),
        ("::ffff:10.0.0.1", "::ffff:203.0.113.7", "203.0.113.7"),
        ("fd00::1", "2001:db8::5", "2001:db8::5"),
        ("203.0.113.9", "1.2.3.4", "203.0.113.9"),
        ("::ffff:203.0.113.9", "1.2.3.4", "203.0.113.9"),
    ],
)
def test_sender_is_the_last_stranger(peer: str, claimed: str, found: str) -> None:
    assert seen(peer, x_forwarded_for=claimed).META["REMOTE_ADDR"] == found


@pytest.mark.parametrize("peer", ["203.0.113.9", "", None, "testclient"])
def test_nothing_is_believed_when_the_peer_is_no_trusted_proxy(peer: str | None) -> None:
    request = seen(
        peer,
        x_forwarded_for="1.2.3.4",
        x_forwarded_proto="https",
        x_forwarded_host="evil.example",
        x_forwarded_port="1",
        forwarded="for=1.2.3.4",
    )
    assert request.META.get("REMOTE_ADDR") == peer
    assert FROM_TRUSTED_PROXY not in request.META
    assert not [name for name in request.META if "FORWARDED" in name]


def test_https_is_believed_when_a_trusted_proxy_says_so() -> None:
    assert django_settings.SECURE_PROXY_SSL_HEADER == ("HTTP_X_FORWARDED_PROTO", "https")
    assert seen("10.0.0.1", x_forwarded_proto="https").is_secure()
    assert seen("10.0.0.1", x_forwarded_proto="http,https").is_secure()
    # What a client wrote into it stands before what the proxy added.
    assert not seen("10.0.0.1", x_forwarded_proto="https, http").is_secure()
    assert not seen("10.0.0.1").is_secure()
    assert not seen("203.0.113.9", x_forwarded_proto="https").is_secure()


def test_name_of_the_panel_is_nobodys_to_claim() -> None:
    request = seen("10.0.0.1", x_forwarded_host="evil.example", host="localhost")
    assert request.get_host() == "localhost"
    assert "HTTP_X_FORWARDED_HOST" not in request.META


def test_server_leaves_it_to_the_panel_wherever_it_is_started() -> None:
    started = [
        name
        for name in ("README.md", "Dockerfile", "workers/embedded/cluster.py")
        if "panel.asgi:application" in (ROOT / name).read_text()
    ]
    started += ["deploy/systemd/holdfast-panel.service", "tests/servers/cluster.py"]
    assert len(started) == 5
    for name in started:
        assert "--no-proxy-headers" in (ROOT / name).read_text(), name
    compose = (ROOT / "docker-compose.yml").read_text()
    assert "HOLDFAST_TRUSTED_PROXIES: ${HOLDFAST_PROXY_ADDRESSES:-}" in compose
    assert "FORWARDED_ALLOW_IPS" not in compose
