"""Errors that no view answers: JSON below /api/, Django's plain pages elsewhere."""

from __future__ import annotations

import logging

from django.http import HttpRequest, HttpResponseBase
from django.views import defaults

from backups.api.errors import json_error, new_reference

logger = logging.getLogger(__name__)
API = "/api/"


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponseBase:
    """Answer what Django refuses before any view sees it, such as a foreign Host header."""
    if not request.path.startswith(API):
        return defaults.bad_request(request, exception)
    return json_error(400, "The request cannot be understood.", "bad_request")


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponseBase:
    """Answer what a view that is not of the API refuses."""
    if not request.path.startswith(API):
        return defaults.permission_denied(request, exception)
    return json_error(403, "You may not do this.", "permission_denied")


def not_found(request: HttpRequest, exception: Exception) -> HttpResponseBase:
    """Answer a route that does not exist."""
    if not request.path.startswith(API):
        return defaults.page_not_found(request, exception)
    return json_error(404, "There is nothing at this address.", "not_found")


def server_error(request: HttpRequest) -> HttpResponseBase:
    """Answer a bug: the traceback is in the log, beside the reference."""
    if not request.path.startswith(API):
        return defaults.server_error(request)
    reference = new_reference()
    logger.error("internal error, reference %s", reference, exc_info=True)
    return json_error(500, f"Internal error, reference {reference}.", "internal_error")


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponseBase:
    """Answer a form or a request with a session but without its CSRF token."""
    return json_error(403, f"The CSRF token is missing or wrong: {reason}", "csrf_failed")
