"""How much of a request is read: a body without a bound would fill the disk of the panel."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from django.conf import settings
from django.core.exceptions import BadRequest
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from panel.errors import too_large
from panel.proxies import GetResponse

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Any, Any, Any], Awaitable[None]]

TOO_LARGE, BAD_QUERY = "holdfast.too_large", "holdfast.bad_query"
# A body of up to so many times the limit is taken and thrown away: a proxy that is still sending
# when the connection is closed on it never reads the answer, and tells its client 502.
HEARD_OUT = 2
END: Message = {"type": "http.request", "body": b"", "more_body": False}


def limited(application: Application) -> Application:
    """Return the application behind a bound for bodies, sent in chunks or not.

    Django writes a whole body to a file before anything of ours sees the request. So it is given
    the end of the body where there is too much of it, and `RequestLimits` answers.
    """

    async def bounded(scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            receive = _checked(scope, receive)
        await application(scope, receive, send)

    return bounded


def _checked(scope: Message, receive: Receive) -> Receive:
    try:
        scope.get("query_string", b"").decode()
    except UnicodeDecodeError:
        # Django would answer without a body, and without a word to the log.
        scope.update({"query_string": b"", BAD_QUERY: True})
    limit: int = settings.HOLDFAST_MAX_REQUEST_BYTES
    announced = _announced(scope.get("headers", []))
    if announced > limit:
        scope[TOO_LARGE] = True
    read, has_ended = 0, False

    async def counted() -> Message:
        nonlocal read, has_ended
        if scope.get(TOO_LARGE) and not has_ended:
            has_ended = True
            if announced <= limit * HEARD_OUT:
                await _thrown_away(receive)
            return dict(END)
        message = await receive()
        while has_ended and message["type"] == "http.request":
            # Nobody keeps it, and whoever waits for the end of the connection hears of that only.
            message = await receive()
        read += len(message.get("body", b""))
        if read > limit and not has_ended:
            scope[TOO_LARGE] = has_ended = True
            return dict(END)
        return message

    return counted


async def _thrown_away(receive: Receive) -> None:
    """Take the body to its end, and keep nothing of it."""
    while (await receive()).get("more_body", False):
        pass


def _announced(headers: list[tuple[bytes, bytes]]) -> int:
    lengths = [value.decode("latin-1") for name, value in headers if name == b"content-length"]
    return max(map(_length, lengths), default=0)


def _length(text: str) -> int:
    """Return what a Content-Length says; one with more digits than any is as good as endless."""
    if not (text.isascii() and text.isdigit()):
        return 0
    return int(text) if len(text) < 20 else sys.maxsize


class RequestLimits:
    """Refuses what `limited` has cut short; under WSGI it goes by what was announced."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Answer 413 or 400 before a view reads what is not whole."""
        scope: Message = getattr(request, "scope", {})
        announced = _length(str(request.META.get("CONTENT_LENGTH") or ""))
        if scope.get(TOO_LARGE) or announced > settings.HOLDFAST_MAX_REQUEST_BYTES:
            return too_large(request)
        if scope.get(BAD_QUERY):
            raise BadRequest("The query is no UTF-8.")
        return self.get_response(request)
