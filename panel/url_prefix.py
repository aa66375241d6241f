"""The path below which the panel lives, as the /holdfast of https://example.com/holdfast/.

Proxies hand on a path either with the prefix or without it. Both become the same here, before
Django looks: a path with the prefix, of which Django knows that it is one (FORCE_SCRIPT_NAME). So
what is compared with routes is `request.path_info`, and what is shown to clients `request.path`.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Any

from django.core.exceptions import ImproperlyConfigured

Application = Callable[[Any, Any, Any], Awaitable[None]]
WsgiApplication = Callable[[dict[str, Any], Any], Any]

_USABLE = re.compile(r"(?:/[A-Za-z0-9][A-Za-z0-9_-]*)+")
# What the panel's own addresses begin with. Nobody could tell /api/v1/… with the prefix /api from
# one whose prefix a proxy has taken off.
OWN_WORDS = frozenset(
    {
        *("admin", "api", "api-auth", "docs", "health", "metrics"),
        *("sign-in", "sign-out", "sites", "static"),
    }
)


def usable_prefix(text: str, variable: str) -> str:
    """Return the prefix, empty for none; raises `ImproperlyConfigured` for what cannot be one."""
    if not text:
        return ""
    if not _USABLE.fullmatch(text):
        raise ImproperlyConfigured(
            f"{variable} must be left out or be a path as /holdfast or /tools/holdfast: it begins "
            "with a slash and does not end with one, and between them are letters, digits, - and _."
        )
    if text.split("/")[1] in OWN_WORDS:
        raise ImproperlyConfigured(
            f"{variable} must not begin with a word that the panel's own addresses begin with "
            f"({', '.join(sorted(OWN_WORDS))}): take another one, as /holdfast."
        )
    return text


def below(prefix: str, path: str) -> str:
    """Return the path with the prefix, whether it came with it or not."""
    if path == prefix:
        return f"{prefix}/"
    return path if path.startswith(f"{prefix}/") else f"{prefix}{path}"


def prefixed(application: Application, prefix: str) -> Application:
    """Return the ASGI application, which sees every path below the prefix."""
    if not prefix:
        return application

    async def found(scope: Any, receive: Any, send: Any) -> None:  # noqa: ANN401
        if scope["type"] == "http":
            scope = {**scope, "path": below(prefix, scope["path"])}
        await application(scope, receive, send)

    return found


def prefixed_wsgi(application: WsgiApplication, prefix: str) -> WsgiApplication:
    """Return the WSGI application, which sees the prefix nowhere but in its settings."""
    if not prefix:
        return application

    def found(environ: dict[str, Any], start_response: Any) -> Any:  # noqa: ANN401
        path = below(prefix, environ.get("PATH_INFO", ""))
        return application({**environ, "PATH_INFO": path.removeprefix(prefix)}, start_response)

    return found
