"""One handler turns everything that is refused or goes wrong into `{"detail", "code"}`."""

from __future__ import annotations

import logging
import uuid
from typing import Any

from django.core.exceptions import RequestDataTooBig, SuspiciousOperation
from django.core.exceptions import ValidationError as ModelValidationError
from django.db import InterfaceError, OperationalError
from django.http import JsonResponse
from rest_framework import exceptions
from rest_framework.response import Response
from rest_framework.serializers import as_serializer_error
from rest_framework.views import exception_handler

from backups import log_context, registry
from backups.actions.questions import OTHER_STATUS, STATUS_OF_CODE
from backups.errors import DomainError, InvalidFieldError, with_hint

logger = logging.getLogger(__name__)

GENERAL = "non_field_errors"
# Fields that the wire calls otherwise than the model.
WIRE_NAMES = {"node": "node_id", "storage": "storage_id", "__all__": GENERAL}

Errors = dict[str, list[str]]

# What a database that is away, locked or out of connections ends in, with every driver.
DATABASE_ERRORS = (OperationalError, InterfaceError)
RETRY_SECONDS = 5


def handle_exception(error: Exception, context: dict[str, Any]) -> Response:
    """Return the answer for any exception that a view of the API raised; never None.

    What nobody foresaw is logged with its traceback, and only the request's id is told.
    """
    if isinstance(error, DATABASE_ERRORS):
        return _answer(503, *database_unavailable(error), headers=_retry())
    if isinstance(error, RequestDataTooBig):
        return _answer(413, "The request is larger than this panel takes.", "request_too_large")
    if isinstance(error, SuspiciousOperation):
        # Such as a form with more fields than Django reads.
        return _answer(400, "The request cannot be understood.", "bad_request")
    if isinstance(error, DomainError):
        fields = {error.field: [error.message]} if isinstance(error, InvalidFieldError) else None
        return _answer(error.status, error.message, error.code, fields)
    if isinstance(error, registry.engine_error_class()):
        return _engine_failure(error)
    if isinstance(error, ModelValidationError):
        error = exceptions.ValidationError(as_serializer_error(error))
    response = exception_handler(error, context)
    if response is None:
        return _answer(500, *internal_error(error))
    headers = {
        name: response[name]
        for name in ("WWW-Authenticate", "Retry-After", "Allow")
        if name in response
    }
    if isinstance(error, exceptions.ValidationError):
        fields = _flat(error.detail)
        return _answer(400, _sentence(fields), "invalid", fields, headers)
    return _answer(response.status_code, *_words(error), headers=headers)


def json_error(
    status: int, detail: str, code: str, headers: dict[str, str] | None = None
) -> JsonResponse:
    """Return the same for views that are not DRF's."""
    return JsonResponse(error_body(status, detail, code), status=status, headers=headers)


def error_body(status: int, detail: str, code: str, fields: Errors | None = None) -> dict[str, Any]:
    """Return the body of every error; on 400 it has `errors`, by field."""
    body: dict[str, Any] = {"detail": detail, "code": code, "request_id": reference()}
    if status == 400:
        body["errors"] = fields or {GENERAL: [detail]}
    return body


def reference() -> str:
    """Return what connects an answer with the log: the request's id."""
    return log_context.request_id() or uuid.uuid4().hex


def database_unavailable(error: BaseException) -> tuple[str, str]:
    """Return sentence and code for a database that cannot be used now; the log has the reason."""
    logger.error("the database is away: %s", error, exc_info=error)
    return "The panel's database does not answer; try again soon.", "database_unavailable"


def internal_error(error: BaseException | None) -> tuple[str, str]:
    """Return sentence and code for a bug; the log has its traceback."""
    number = reference()
    logger.error("internal error, reference %s", number, exc_info=error)
    return f"Internal error, reference {number}.", "internal_error"


def _answer(
    status: int,
    detail: str,
    code: str,
    fields: Errors | None = None,
    headers: dict[str, str] | None = None,
) -> Response:
    return Response(error_body(status, detail, code, fields), status=status, headers=headers)


def _retry() -> dict[str, str]:
    return {"Retry-After": str(RETRY_SECONDS)}


def _engine_failure(error: Exception) -> Response:
    """What the engine could not do in the panel itself; 503 where trying again may help."""
    message, hint = getattr(error, "message", str(error)), getattr(error, "hint", "")
    code = getattr(error, "code", "engine_error")
    status = STATUS_OF_CODE.get(code, OTHER_STATUS) if getattr(error, "permanent", True) else 503
    return _answer(status, with_hint(message, hint), code)


def _words(error: Exception) -> tuple[str, str]:
    """Return the sentence and the code of an exception that DRF knows."""
    if not isinstance(error, exceptions.APIException):
        # Django's Http404 and PermissionDenied may carry whatever their raiser knew.
        is_denied = type(error).__name__ == "PermissionDenied"
        known = exceptions.PermissionDenied() if is_denied else exceptions.NotFound()
        return str(known.detail), str(known.get_codes())
    detail: Any = error.detail
    if isinstance(error, exceptions.PermissionDenied) and str(detail).startswith("CSRF Failed"):
        return str(detail), "csrf_failed"
    if isinstance(detail, dict):  # simplejwt adds what was wrong with which kind of token
        sentence = detail.get("detail", error.default_detail)
        return str(sentence), str(detail.get("code", error.default_code))
    return str(detail), str(getattr(detail, "code", error.default_code))


def _flat(detail: Any, prefix: str = "") -> Errors:  # noqa: ANN401
    """Return nested errors as one level: `config.bucket`, `excludes.0`."""
    if isinstance(detail, dict):
        flat: Errors = {}
        for name, inner in detail.items():
            wire = WIRE_NAMES.get(str(name), str(name))
            flat.update(_flat(inner, f"{prefix}.{wire}" if prefix else wire))
        return flat
    if isinstance(detail, list) and any(isinstance(item, dict | list) for item in detail):
        return _flat({str(place): item for place, item in enumerate(detail) if item}, prefix)
    sentences = detail if isinstance(detail, list) else [detail]
    return {prefix or GENERAL: [str(sentence) for sentence in sentences]}


def _sentence(fields: Errors) -> str:
    for name, sentences in fields.items():
        if sentences:
            return sentences[0] if name == GENERAL else f"{name}: {sentences[0]}"
    return "What was sent cannot be used."
