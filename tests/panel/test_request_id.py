"""One number connects an answer, its errors and its lines in the log."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import re
import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from rest_framework.test import APIClient

from backups import dispatch, log_context
from panel.accounts import tokens
from panel.accounts.models import User
from panel.requests import RequestContext

pytestmark = pytest.mark.django_db
HEX = re.compile(r"[0-9a-f]{32}")


@pytest.fixture
def seen() -> Any:
    """Return the context of each line that a logger of ours gets."""
    lines: list[dict[str, Any]] = []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            log_context.AddContext().filter(record)
            lines.append(dict(record.__dict__))

    handler = Handler()
    root = logging.getLogger()
    root.addHandler(handler)
    yield lines
    root.removeHandler(handler)


@pytest.mark.parametrize("path", ["/", "/health/live", "/api/nothing", "/api/v1/sites/", "/x"])
def test_every_answer_has_an_id_of_its_own(client: APIClient, path: str) -> None:
    first, second = client.get(path)["X-Request-ID"], client.get(path)["X-Request-ID"]
    assert HEX.fullmatch(first)
    assert first != second


@pytest.mark.parametrize(
    ("method", "path", "options"),
    [
        ("get", "/api/nothing", {}),
        ("get", "/api/v1/sites/", {}),
        ("delete", "/health", {}),
        ("get", "/api/v1/jobs", {"headers": {"host": "evil.example"}}),
        ("post", "/api/auth/login", {"data": "{", "content_type": "application/json"}),
    ],
)
def test_error_tells_the_id_of_its_answer(
    client: APIClient, method: str, path: str, options: dict[str, Any]
) -> None:
    answer = getattr(client, method)(path, **options)
    assert answer.status_code >= 400
    assert answer.json()["request_id"] == answer["X-Request-ID"]


@pytest.mark.parametrize(
    ("given", "peer", "is_taken"),
    [
        ("abc.DEF_12-34", "10.0.0.1", True),
        ("abc.DEF_12-34", "203.0.113.9", False),
        ("short", "10.0.0.1", False),
        ("x" * 65, "10.0.0.1", False),
        ("abcdefgh\tand more", "10.0.0.1", False),
    ],
)
def test_id_of_a_request_is_taken_from_trusted_proxies_alone(
    client: APIClient, settings: Any, given: str, peer: str, is_taken: bool
) -> None:
    settings.HOLDFAST_TRUSTED_PROXIES = [ipaddress.ip_network("10.0.0.0/8")]
    answer = client.get("/health/live", headers={"x-request-id": given}, REMOTE_ADDR=peer)
    assert (answer["X-Request-ID"] == given) is is_taken


def test_lines_carry_request_user_and_site(
    client: APIClient, user: User, seen: list[dict[str, Any]]
) -> None:
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {tokens.issue(user)['access_token']}")
    answer = client.get("/api/v1/sites/77?search=secret")
    [access] = [line for line in seen if line["name"] == "holdfast.access"]
    assert (access["request_id"], access["user"]) == (answer["X-Request-ID"], user.pk)
    assert (access["site"], access["status"], access["method"]) == (77, 404, "GET")
    assert access["path"] == "/api/v1/sites/77"
    assert "secret" not in str(access["message"] if "message" in access else access["msg"])
    [refusal] = [line for line in seen if line["name"] == "django.request"]
    assert refusal["request_id"] == answer["X-Request-ID"]
    assert log_context.fields() == {}


def test_watching_the_process_fills_no_log(client: APIClient, seen: list[dict[str, Any]]) -> None:
    client.get("/health/live")
    assert not [line for line in seen if line["name"] == "holdfast.access"]


def test_line_of_a_background_thread_belongs_to_the_request(seen: list[dict[str, Any]]) -> None:
    with log_context.bound(request_id="abc", site=1):
        dispatch.in_background(lambda: logging.getLogger("x").warning("sent"))
    for thread in threading.enumerate():
        if thread.name == "dispatch":
            thread.join(10)
    [line] = [line for line in seen if line["name"] == "x"]
    assert (line["request_id"], line["site"]) == ("abc", 1)


def test_line_of_a_stream_belongs_to_the_request() -> None:
    def chunks() -> Any:
        yield str(log_context.request_id()).encode()

    get_response: Callable[[HttpRequest], StreamingHttpResponse] = lambda _: (  # noqa: E731
        StreamingHttpResponse(chunks())
    )
    request = HttpRequest()
    answer = RequestContext(get_response)(request)
    assert b"".join(answer).decode() == answer["X-Request-ID"]
    assert log_context.request_id() is None


def test_line_of_an_async_stream_belongs_to_the_request() -> None:
    async def chunks() -> Any:
        yield str(log_context.request_id()).encode()

    async def read(answer: Any) -> bytes:
        return b"".join([chunk async for chunk in answer.streaming_content])

    answer = RequestContext(lambda _: StreamingHttpResponse(chunks()))(HttpRequest())
    assert asyncio.run(read(answer)).decode() == answer["X-Request-ID"]


def test_path_forges_no_line(client: APIClient, seen: list[dict[str, Any]]) -> None:
    client.get("/x%0d%0a2026-01-01 INFO forged%1b[0m")
    [access] = [line for line in seen if line["name"] == "holdfast.access"]
    assert access["path"] == "/x%0D%0A2026-01-01%20INFO%20forged%1B%5B0m"
    assert not any(character in access["args"][0] for character in "\r\n\x1b")


def test_inner_values_end_with_their_block() -> None:
    with log_context.bound(request_id="a", user=lambda: None):
        with log_context.bound(request_id="b", job="j"):
            assert log_context.fields() == {"request_id": "b", "job": "j"}
        assert log_context.fields() == {"request_id": "a"}


def test_user_is_not_fetched_for_a_line(
    client: APIClient, user: User, django_assert_num_queries: Any
) -> None:
    client.force_login(user)
    with django_assert_num_queries(0):
        assert client.get("/").status_code == 200


def test_plain_answers_pass(client: APIClient) -> None:
    answer = RequestContext(lambda _: HttpResponse("x"))(HttpRequest())
    assert HEX.fullmatch(answer["X-Request-ID"])
