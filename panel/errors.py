"""Errors that no view answers: JSON for programs, Django's plain pages elsewhere."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from functools import wraps
from typing import Any

from django.core.exceptions import RequestDataTooBig
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.views import defaults
from django.views.decorators.csrf import csrf_exempt

from backups.api.errors import (
    DATABASE_ERRORS,
    RETRY_SECONDS,
    database_unavailable,
    internal_error,
    json_error,
)

logger = logging.getLogger(__name__)

API = "/api/"
DASHBOARD = "/admin/backup-maintenance/"

View = Callable[..., HttpResponseBase]


def wants_json(path: str) -> bool:
    """Return whether only programs ask there: the API, and what the dashboard's page fetches."""
    return path.startswith(API) or (path.startswith(DASHBOARD) and path != DASHBOARD)


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponseBase:
    """Answer what Django refuses before any view sees it, such as a foreign Host header."""
    if isinstance(exception, RequestDataTooBig):
        return too_large(request)
    if not wants_json(request.path_info):
        return defaults.bad_request(request, exception)
    return json_error(400, "The request cannot be understood.", "bad_request")


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponseBase:
    """Answer what a view that is not of the API refuses."""
    if not wants_json(request.path_info):
        return defaults.permission_denied(request, exception)
    return json_error(403, "You may not do this.", "permission_denied")


def not_found(request: HttpRequest, exception: Exception) -> HttpResponseBase:
    """Answer a route that does not exist."""
    if not wants_json(request.path_info):
        return defaults.page_not_found(request, exception)
    return json_error(404, "There is nothing at this address.", "not_found")


def server_error(request: HttpRequest) -> HttpResponseBase:
    """Answer a bug, or a database that is away, wherever it happened: in a session, a middleware.

    The traceback is in the log, beside the request's id.
    """
    error = sys.exc_info()[1]
    if isinstance(error, DATABASE_ERRORS):
        words = database_unavailable(error)
        if wants_json(request.path_info):
            return json_error(503, *words, {"Retry-After": str(RETRY_SECONDS)})
        return _page(503, words[0], {"Retry-After": str(RETRY_SECONDS)})
    words = internal_error(error)
    if wants_json(request.path_info):
        return json_error(500, *words)
    return _page(500, words[0])


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponseBase:
    """Answer a form or a request with a session but without its CSRF token."""
    return json_error(403, f"The CSRF token is missing or wrong: {reason}", "csrf_failed")


def too_large(request: HttpRequest) -> HttpResponseBase:
    """Answer a body that nobody will read to its end."""
    sentence = "The request is larger than this panel takes (HOLDFAST_MAX_REQUEST_BYTES)."
    # What is still to come would be read as the next request.
    headers = {"Connection": "close"}
    if wants_json(request.path_info):
        return json_error(413, sentence, "request_too_large", headers)
    return _page(413, sentence, headers)


def read_only(view: View) -> View:
    """Let a plain view take GET and HEAD; others learn so, whatever else they lack."""
    methods = ("GET", "HEAD", "OPTIONS")

    @csrf_exempt
    @wraps(view)
    def checked(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:  # noqa: ANN401
        allow = {"Allow": ", ".join(methods)}
        if request.method == "OPTIONS":
            return HttpResponse(status=204, headers=allow)
        if request.method not in methods:
            sentence = f'Method "{request.method}" not allowed.'
            return json_error(405, sentence, "method_not_allowed", allow)
        return view(request, *args, **kwargs)

    return checked


def _page(status: int, sentence: str, headers: dict[str, str] | None = None) -> HttpResponse:
    """Return what needs neither templates nor a database."""
    return HttpResponse(sentence, status=status, content_type="text/plain", headers=headers)
