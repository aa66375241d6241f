"""Every error below /api/ has one shape."""

from __future__ import annotations

import importlib
import logging
import pkgutil
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.exceptions import PermissionDenied, ValidationError
from django.http import Http404
from rest_framework import exceptions
from rest_framework.test import APIClient

import workers.engine
from backups import errors, registry
from backups.api.errors import handle_exception
from backups.api.views.sites import SiteList
from workers.engine.errors import EngineError


def _subclasses(cls: type) -> Iterator[type]:
    for subclass in cls.__subclasses__():
        yield subclass
        yield from _subclasses(subclass)


for module in pkgutil.walk_packages(workers.engine.__path__, "workers.engine."):
    importlib.import_module(module.name)

ARGUMENTS: dict[type, tuple[Any, ...]] = {
    errors.InvalidFieldError: ("config.bucket", "A sentence."),
    errors.NodeWorkError: ("A sentence.", "bucket_missing", 422),
}


def every_error() -> Iterator[Exception]:
    """Return one of each refusal there is; a new class is covered when it exists."""
    for cls in _subclasses(errors.DomainError):
        yield cls(*ARGUMENTS.get(cls, ("A sentence.",)))
    for cls in [EngineError, *_subclasses(EngineError)]:
        for permanent in (True, False):
            # Each has a constructor of its own; what the handler reads is set by the base's.
            error = cls.__new__(cls)
            EngineError.__init__(error, "A sentence.", hint="Another.", permanent=permanent)
            yield error
    for cls in _subclasses(exceptions.APIException):
        if cls.__module__.startswith(("rest_framework.", "rest_framework_simplejwt")):
            yield (
                cls("json")
                if cls is exceptions.UnsupportedMediaType
                else (cls("POST") if cls is exceptions.MethodNotAllowed else cls())
            )
    yield Http404()
    yield PermissionDenied()
    yield ValidationError("A sentence.")
    yield ValidationError({"node": ["A sentence."]})


@pytest.mark.parametrize("error", list(every_error()), ids=lambda error: type(error).__name__)
def test_answer_has_the_one_shape_when_an_error_is_raised(error: Exception) -> None:
    answer = handle_exception(error, {})
    assert 400 <= answer.status_code < 600
    assert set(answer.data) - {"errors"} == {"detail", "code", "request_id"}
    assert isinstance(answer.data["detail"], str)
    assert answer.data["detail"]
    assert answer.data["code"].replace("_", "").islower(), answer.data
    assert ("errors" in answer.data) == (answer.status_code == 400)
    for field, sentences in answer.data.get("errors", {}).items():
        assert isinstance(field, str)
        assert sentences
        assert all(isinstance(sentence, str) for sentence in sentences)


def test_every_domain_error_has_a_code_and_a_status_of_its_own_kind() -> None:
    for cls in _subclasses(errors.DomainError):
        if cls is not errors.NodeWorkError:
            assert cls.code != errors.DomainError.code, cls
        assert 400 <= cls.status < 600


def test_engine_error_of_the_registry_is_the_engines() -> None:
    assert registry.engine_error_class() is EngineError


def test_engine_failure_reads_503_when_trying_again_may_help() -> None:
    temporary = handle_exception(EngineError("Away", code="storage_unreachable"), {})
    assert (temporary.status_code, temporary.data["code"]) == (503, "storage_unreachable")
    lasting = handle_exception(EngineError("No", hint="Do.", permanent=True), {})
    assert (lasting.status_code, lasting.data["detail"]) == (422, "No. Do.")


def test_nested_errors_are_told_by_one_name(api: APIClient) -> None:
    nested = {"config": {"bucket": ["No."]}, "excludes": [{}, {"x": ["Bad."]}], "node": ["Gone."]}
    answer = handle_exception(exceptions.ValidationError(nested), {})
    assert answer.data["errors"] == {
        "config.bucket": ["No."],
        "excludes.1.x": ["Bad."],
        "node_id": ["Gone."],
    }


def test_bug_is_told_by_reference_and_logged_with_its_traceback(
    api: APIClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: Any) -> None:
        raise ZeroDivisionError("the secret inside")

    monkeypatch.setattr(SiteList, "get_queryset", fail)
    with caplog.at_level(logging.ERROR):
        answer = api.get("/api/v1/sites/")
    assert (answer.status_code, answer.json()["code"]) == (500, "internal_error")
    assert "the secret inside" not in answer.content.decode()
    reference = answer.json()["detail"].removesuffix(".").rpartition(" ")[2]
    record = next(one for one in caplog.records if reference in one.getMessage())
    assert record.exc_info is not None
    assert record.exc_info[0] is ZeroDivisionError


@pytest.mark.parametrize(
    ("method", "path", "options", "status", "code"),
    [
        ("get", "/api/nothing", {}, 404, "not_found"),
        ("get", "/api/v1/sites/1/nothing", {}, 404, "not_found"),
        ("get", "/api/v1/sites/x", {}, 404, "not_found"),
        ("delete", "/api/v1/nodes/", {}, 405, "method_not_allowed"),
        ("post", "/api/v1/sites/", {"data": "{", "content_type": "application/json"}, 400,
         "parse_error"),
        ("post", "/api/v1/sites/", {"data": "[]", "content_type": "application/json"}, 400,
         "invalid"),
        ("post", "/api/v1/sites/", {"data": "<a/>", "content_type": "text/xml"}, 415,
         "unsupported_media_type"),
        ("get", "/api/v1/sites/", {"headers": {"accept": "image/png"}}, 406, "not_acceptable"),
        ("get", "/api/v1/sites/", {"headers": {"host": "evil.example"}}, 400, "bad_request"),
        ("get", "/api/v1/sites/?search=%00", {}, 400, "invalid"),
    ],
)  # fmt: skip
def test_answer_is_json_when_the_request_is_wrong(
    method: str, path: str, options: dict[str, Any], status: int, code: str, api: APIClient
) -> None:
    answer = getattr(api, method)(path, **options)
    assert answer.status_code == status, answer.content
    assert answer["Content-Type"] == "application/json"
    assert answer.json()["code"] == code
    assert answer.json()["detail"]


def test_browser_gets_a_page_with_the_right_status_when_the_api_refuses(staff: Any) -> None:
    answer = staff.get("/api/v1/sites/999", headers={"accept": "text/html"})
    assert (answer.status_code, answer["Content-Type"]) == (404, "text/html; charset=utf-8")
    assert b"not_found" in answer.content


def test_csrf_token_is_asked_for_when_a_session_writes(super_admin: Any) -> None:
    client = APIClient(enforce_csrf_checks=True)
    client.force_login(super_admin)
    assert client.get("/api/v1/sites/").status_code == 200
    answer = client.post("/api/v1/sites/", {})
    assert (answer.status_code, answer.json()["code"]) == (403, "csrf_failed")
