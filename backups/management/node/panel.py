"""Speaks to the panel over HTTP, from a host that joins or has joined."""

from __future__ import annotations

import http.client
import ipaddress
import json
import ssl
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from django.core.management.base import CommandError

SECONDS = 30
LONGEST_ANSWER = 1 << 20


@dataclass(frozen=True, slots=True)
class Answer:
    """What the panel gave: variables for this host, and what it is to be."""

    settings: dict[str, str]
    node_name: str
    allowed_roots: list[str]
    credential: str


class _StayHere(urllib.request.HTTPRedirectHandler):
    """Follows nothing: a token is for the panel that was named, and over HTTPS."""

    def redirect_request(self, *_: Any) -> None:  # noqa: ANN401
        """Let a redirect be an error."""


def usable_url(url: str, *, allow_http: bool) -> str:
    """Return the panel's address; raises `CommandError` if secrets would travel in the open."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        host = ""
    if not host or parts.scheme not in ("http", "https"):
        raise CommandError("The panel's address must be like https://backups.example.com")
    if parts.scheme == "http" and not allow_http and not _is_loopback(host):
        raise CommandError(
            "The panel's answer holds passwords and keys, and over http:// anybody on the way can "
            "read them. Use https://, or --allow-http if the network is yours alone."
        )
    return url.rstrip("/")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def join(panel: str, *, token: str, hostname: str) -> Answer:
    """Exchange the token; raises `CommandError` with what the panel says to it."""
    body = json.dumps({"token": token, "hostname": hostname}).encode()
    request = urllib.request.Request(f"{panel}/api/v1/nodes/join", data=body)  # noqa: S310
    return _answer(_ask(request), is_joining=True)


def own_settings(panel: str, *, credential: str) -> Answer:
    """Ask for this host's settings as they are now."""
    request = urllib.request.Request(f"{panel}/api/v1/nodes/self")  # noqa: S310
    request.add_header("Authorization", f"Node {credential}")
    return _answer(_ask(request), is_joining=False)


def _ask(request: urllib.request.Request) -> object:
    request.add_header("Content-Type", "application/json")
    request.add_header("Accept", "application/json")
    opener = urllib.request.build_opener(_StayHere)
    try:
        with opener.open(request, timeout=SECONDS) as response:
            return _parsed(response.read(LONGEST_ANSWER))
    except urllib.error.HTTPError as error:
        raise CommandError(_refusal(error)) from error
    except (OSError, UnicodeError, http.client.HTTPException) as error:
        raise CommandError(_unreachable(getattr(error, "reason", error))) from error


def _refusal(error: urllib.error.HTTPError) -> str:
    if 300 <= error.code < 400:
        target = error.headers.get("Location", "elsewhere")
        return f"The panel sends us to {target}: give the address of the panel itself."
    body = _parsed(error.read(LONGEST_ANSWER))
    if isinstance(body, dict) and "detail" in body:
        return f"The panel refused: {body['detail']}"
    return f"No Holdfast panel answers at this address (HTTP status {error.code})."


def _unreachable(reason: object) -> str:
    if isinstance(reason, ssl.SSLCertVerificationError):
        return (
            f"The panel's certificate is not to be trusted ({reason.verify_message}). One of your "
            "own authority: name its file in SSL_CERT_FILE."
        )
    return f"The panel cannot be reached: {reason or 'it closed the connection'}."


def _parsed(raw: bytes) -> object:
    try:
        return json.loads(raw)
    except ValueError:
        return None


def _answer(body: object, *, is_joining: bool) -> Answer:
    try:
        found: Any = body
        variables = {str(name): str(value) for name, value in found["settings"].items()}
        if any(not name.startswith("HOLDFAST_") for name in variables):
            raise ValueError
        roots = [str(root) for root in found["node"]["allowed_roots"]]
        credential = str(found["credential"]) if is_joining else ""
        return Answer(variables, str(found["node"]["name"]), roots, credential)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise CommandError("What answers at this address is no Holdfast panel.") from error
