"""A body beyond the limit is refused before it is read, through a real server."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rest_framework.test import APIClient

from panel.asgi import application
from tests.servers import Daemon, accepts, free_port
from tests.servers.cluster import ROOT

LIMIT = 2048
KEY = "a-key-for-tests-that-is-longer-than-fifty-characters-0123456789"


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """A panel under uvicorn that trusts this host as a proxy, and takes small bodies only."""
    folder, port = tmp_path_factory.mktemp("panel"), free_port()
    environment = {
        **os.environ,
        "HOLDFAST_SECRET_KEY": KEY,
        "HOLDFAST_DATABASE_URL": f"sqlite:///{folder / 'none.sqlite3'}",
        "HOLDFAST_MAX_REQUEST_BYTES": str(LIMIT),
        "HOLDFAST_TRUSTED_PROXIES": "127.0.0.1",
        "HOLDFAST_LOG_FORMAT": "json",
        "HOLDFAST_NODE_FILE": "",
    }
    argv = ["-m", "uvicorn", "panel.asgi:application", "--port", str(port)]
    argv += ["--no-proxy-headers", "--no-access-log"]
    log = folder / "panel.log"
    daemon = Daemon([sys.executable, *argv], log=log, environment=environment, cwd=ROOT)
    daemon.start(lambda: accepts(port))
    port_log[port] = log
    try:
        yield port
    finally:
        daemon.stop()


port_log: dict[int, Path] = {}


def raw(port: int, head: str, body: bytes = b"") -> tuple[int, dict[str, str], Any]:
    """Return status, headers and JSON that the server answers to these very bytes."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        lines = f"{head}\r\nHost: localhost\r\nAccept: application/json\r\n"
        connection.sendall(lines.encode("latin-1") + b"\r\n" + body)
        response = http.client.HTTPResponse(connection)
        response.begin()
        headers = {name.lower(): value for name, value in response.getheaders()}
        return response.status, headers, json.loads(response.read())


def chunked(*chunks: bytes) -> bytes:
    return b"".join(b"%x\r\n%s\r\n" % (len(one), one) for one in chunks)


LOGIN = "POST /api/auth/login HTTP/1.1\r\nContent-Type: application/json"


def test_body_is_refused_by_what_it_announces(port: int) -> None:
    status, headers, body = raw(port, f"{LOGIN}\r\nContent-Length: 999999999999")
    assert (status, body["code"]) == (413, "request_too_large")
    assert body["request_id"] == headers["x-request-id"]
    assert headers["connection"] == "close"


def test_body_is_taken_to_its_end_when_it_is_not_much_too_large(port: int) -> None:
    # What is still unread when a server closes makes the kernel reset the connection, and then the
    # answer may be lost: here both sides are done, so the connection ends in order.
    body = b" " * (2 * LIMIT)
    head = f"{LOGIN}\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(head + body[:LIMIT])
        # Nothing is answered as long as something is to come.
        connection.settimeout(0.3)
        with pytest.raises(TimeoutError):
            connection.recv(1)
        connection.settimeout(10)
        connection.sendall(body[LIMIT:])
        answer = b""
        while received := connection.recv(4096):
            answer += received
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"request_too_large" in answer


def test_body_is_refused_while_its_chunks_come(port: int) -> None:
    # No last chunk: the answer comes although the body never ends.
    body = chunked(*[b" " * 1024] * 3)
    status, headers, answer = raw(port, f"{LOGIN}\r\nTransfer-Encoding: chunked", body)
    assert (status, answer["code"]) == (413, "request_too_large")
    assert answer["request_id"] == headers["x-request-id"]


def test_body_is_read_when_it_is_just_within_the_limit(port: int) -> None:
    text = b'{"password": 1}'.ljust(LIMIT)
    length = f"{LOGIN}\r\nContent-Length: {LIMIT}"
    status, _, body = raw(port, length, text)
    assert (status, body["code"]) == (400, "invalid")
    end = chunked(text[:1000], text[1000:]) + b"0\r\n\r\n"
    status, _, body = raw(port, f"{LOGIN}\r\nTransfer-Encoding: chunked", end)
    assert (status, body["code"]) == (400, "invalid")


def test_query_that_is_no_text_is_refused_in_json() -> None:
    # h11 refuses such bytes itself; another server hands them on.
    scope = {
        "type": "http",
        "method": "GET",
        "path": "/api/v1/sites/",
        "query_string": b"search=\xff",
        "headers": [(b"host", b"localhost")],
    }
    sent: list[Any] = []
    body = [{"type": "http.request", "body": b""}]

    async def receive() -> Any:
        return body.pop() if body else await asyncio.Event().wait()

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(application(scope, receive, send))
    assert sent[0]["status"] == 400
    assert json.loads(sent[1]["body"])["code"] == "bad_request"


def test_sender_and_id_are_what_the_proxy_says(port: int) -> None:
    head = "GET /api/nothing?token=SECRET HTTP/1.1\r\nX-Forwarded-For: 203.0.113.7\r\n"
    status, headers, _ = raw(port, f"{head}X-Request-ID: from-the-proxy")
    assert (status, headers["x-request-id"]) == (404, "from-the-proxy")
    lines = [json.loads(line) for line in port_log[port].read_text().splitlines() if line[0] == "{"]
    [line] = [one for one in lines if one["logger"] == "holdfast.access" and
              one.get("request_id") == "from-the-proxy"]  # fmt: skip
    assert (line["address"], line["path"], line["status"]) == ("203.0.113.7", "/api/nothing", 404)
    assert "SECRET" not in port_log[port].read_text()
    assert not [one for one in lines if one["logger"] == "uvicorn.access"]


@pytest.mark.django_db
def test_body_is_refused_by_what_it_announces_without_a_bound_below(
    client: APIClient, settings: Any
) -> None:
    settings.HOLDFAST_MAX_REQUEST_BYTES = 1024
    answer = client.post("/api/auth/login", {"password": "x" * 2000})
    assert (answer.status_code, answer.json()["code"]) == (413, "request_too_large")
    page = client.post("/admin/login/", {"password": "x" * 2000})
    assert (page.status_code, page["Content-Type"]) == (413, "text/plain")
