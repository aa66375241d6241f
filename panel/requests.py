"""Gives each request an id, which its answer, its log lines and its errors carry; logs it."""

from __future__ import annotations

import logging
import re
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from functools import partial

from django.http import FileResponse, HttpRequest, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.utils.encoding import escape_uri_path
from django.utils.functional import LazyObject, empty

from backups import log_context
from panel.proxies import FROM_TRUSTED_PROXY, GetResponse

# Instead of uvicorn's own lines, which know neither the user nor the id.
logger = logging.getLogger("holdfast.access")

HEADER = "X-Request-ID"
_USABLE_ID = re.compile(r"[A-Za-z0-9._-]{8,64}")
# Asked every few seconds by whatever watches over the process.
QUIET_PATHS = frozenset({"/health", "/health/", "/health/live", "/health/live/"})


class RequestContext:
    """See the module."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Answer, and write one line about it."""
        values: dict[str, log_context.Value] = {
            "request_id": request_id_of(request),
            "user": partial(known_user_id, request),
            "site": partial(_named_in_path, request, "site_id"),
            "job": partial(_named_in_path, request, "job_id"),
        }
        request.__dict__["log_context"] = values
        begun = time.perf_counter()
        with log_context.bound(**values):
            response = self.get_response(request)
            response[HEADER] = str(values["request_id"])
            _log(request, response, seconds=time.perf_counter() - begun)
        if isinstance(response, StreamingHttpResponse) and not isinstance(response, FileResponse):
            _keep_context(response, values)
        return response


def request_id_of(request: HttpRequest) -> str:
    """Return a new id, or the one that a trusted proxy gave."""
    given = request.headers.get(HEADER, "")
    is_usable = FROM_TRUSTED_PROXY in request.META and _USABLE_ID.fullmatch(given)
    return given if is_usable else uuid.uuid4().hex


def known_user_id(request: HttpRequest) -> int | None:
    """Return the id of who sent it, as far as that is known: a line to log asks no database."""
    user = request.__dict__.get("user")
    if isinstance(user, LazyObject) and user.__dict__.get("_wrapped", empty) is empty:
        return None
    found: int | None = getattr(user, "pk", None)
    return found


def _named_in_path(request: HttpRequest, name: str) -> str | int | None:
    match = request.resolver_match
    value = match.kwargs.get(name) if match else None
    return value if value is None or isinstance(value, int) else str(value)


def _log(request: HttpRequest, response: HttpResponseBase, *, seconds: float) -> None:
    is_quiet = request.path_info in QUIET_PATHS and response.status_code < 400
    # The query is left out: it may hold credentials, and what people search for. A path may hold a
    # line's end, and is written as it came.
    facts = {
        "method": request.method,
        "path": escape_uri_path(request.path),
        "status": response.status_code,
        "duration_ms": round(seconds * 1000, 1),
        "address": request.META.get("REMOTE_ADDR"),
    }
    line = "{method} {path} {status} {duration_ms} ms".format(**facts)
    logger.log(logging.DEBUG if is_quiet else logging.INFO, "%s", line, extra=facts)


def _keep_context(response: StreamingHttpResponse, values: dict[str, log_context.Value]) -> None:
    """Let what is logged while a stream is sent carry the same values."""
    chunks = response.streaming_content
    if isinstance(chunks, AsyncIterator):
        response.streaming_content = _bound_async(chunks, values)
    else:
        response.streaming_content = _bound(chunks, values)


def _bound(chunks: Iterator[bytes], values: dict[str, log_context.Value]) -> Iterator[bytes]:
    with log_context.bound(**values):
        yield from chunks


async def _bound_async(
    chunks: AsyncIterator[bytes], values: dict[str, log_context.Value]
) -> AsyncIterator[bytes]:
    with log_context.bound(**values):
        async for chunk in chunks:
            yield chunk
