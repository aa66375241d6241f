"""Where an S3 storage may not be: on loopback, link-local and metadata addresses."""

from __future__ import annotations

import http.server
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from workers.engine import endpoints
from workers.engine.errors import EngineError
from workers.engine.stores import open_store

LITERALS = [
    *("127.0.0.1", "127.1", "2130706433", "0x7f.0.0.1", "0.0.0.0", "0", "127.255.255.254"),
    *("[::1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::127.0.0.1]"),
    *("169.254.169.254", "169.254.1.1", "[fe80::1]", "[febf::1]", "[fd00:ec2::254]"),
    *("[64:ff9b::a9fe:a9fe]", "[2002:7f00:1::]", "224.0.0.1", "[ff02::1]", "100.100.100.200"),
    *("localhost", "LOCALHOST.", "minio.localhost"),
]
ALLOWED = [
    *("10.0.0.5", "192.168.1.2", "172.16.0.9", "100.64.0.1", "93.184.215.14", "[fd12:3456::1]"),
    *("[2606:2800:21f::1]", "[::ffff:10.0.0.5]", "minio.example.com", "localhost.example.com"),
]


@pytest.fixture(autouse=True)
def nothing_local(storages_on_loopback: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a process is that nobody told to allow local endpoints."""
    monkeypatch.setitem(endpoints._policy, "local", False)


def config(host: str, port: int = 9000, scheme: str = "http") -> dict[str, Any]:
    return {
        "bucket": "backups",
        "endpoint_url": f"{scheme}://{host}:{port}",
        "access_key_id": "key",
        "secret_access_key": "a-secret",
        "connect_timeout": 2,
        "read_timeout": 2,
        "max_attempts": 3,
    }


@pytest.mark.parametrize("host", LITERALS)
def test_endpoint_is_refused_when_it_is_this_hosts_own(host: str) -> None:
    with pytest.raises(EngineError) as caught:
        open_store("s3", config(host))
    assert (caught.value.code, caught.value.permanent) == ("endpoint_not_allowed", True)
    assert getattr(caught.value, "field", "") == "endpoint_url"
    assert "HOLDFAST_LOCAL_ENDPOINTS" in caught.value.hint


@pytest.mark.parametrize("host", ALLOWED)
def test_endpoint_is_taken_when_it_is_elsewhere(host: str) -> None:
    open_store("s3", config(host))


@pytest.mark.parametrize("host", LITERALS)
def test_local_endpoint_is_taken_when_the_setting_allows_it(host: str) -> None:
    endpoints.allow_local(True)
    open_store("s3", config(host))


class Listener:
    """Counts connections and keeps what they say."""

    def __init__(self) -> None:
        self.server = socket.create_server(("127.0.0.1", 0))
        self.port = self.server.getsockname()[1]
        self.connections = 0
        self.heard = b""
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        while True:
            try:
                connection, _ = self.server.accept()
            except OSError:
                return
            with connection:
                self.connections += 1
                # Ends with the other side, which hangs up without a word.
                while data := connection.recv(4096):
                    self.heard += data


@pytest.fixture
def listener() -> Iterator[Listener]:
    listener = Listener()
    yield listener
    listener.server.close()


def answer_names(monkeypatch: pytest.MonkeyPatch, *answers: str) -> list[str]:
    """Let a name be looked up as its owner pleases: each time another answer, the last for ever."""
    asked: list[str] = []
    real = socket.getaddrinfo

    def look_up(host: Any, port: Any, *rest: Any, **others: Any) -> Any:
        if host != "s3.example.com":
            return real(host, port, *rest, **others)
        asked.append(host)
        return real(answers[min(len(asked), len(answers)) - 1], port, *rest, **others)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    return asked


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_nothing_is_sent_when_the_name_leads_to_this_host(
    scheme: str, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = answer_names(monkeypatch, "127.0.0.1")
    store = open_store("s3", config("s3.example.com", listener.port, scheme))
    with pytest.raises(EngineError) as caught:
        store.stat("a/key")
    assert (caught.value.code, caught.value.permanent) == ("endpoint_not_allowed", True)
    assert "127.0.0.1" in caught.value.message
    assert listener.heard == b""
    # It is not tried again, as what may pass would be.
    assert len(asked) == 1


def test_later_requests_are_refused_when_the_name_changes_its_meaning(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = endpoints.may_reach
    monkeypatch.setattr(
        "workers.engine.stores.s3.peers.may_reach", lambda one: one == "127.0.0.2" or real(one)
    )
    answer_names(monkeypatch, "127.0.0.2", "127.0.0.1")
    headers = {"Last-Modified": "Wed, 01 Jan 2025 00:00:00 GMT", "Content-Length": "0"}
    with answering(200, headers) as port:
        store = open_store("s3", config("s3.example.com", port))
        assert store.stat("a/key") is not None
        with pytest.raises(EngineError) as caught:
            store.stat("a/key")
    assert caught.value.code == "endpoint_not_allowed"


@contextmanager
def answering(status: int, headers: dict[str, str]) -> Iterator[int]:
    """Answer every HEAD alike, on each address of loopback, and hang up after it."""

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("", 0), Answer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()


def test_redirect_is_not_followed_to_this_host(
    listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "workers.engine.stores.s3.peers.may_reach", lambda address: address == "127.0.0.2"
    )
    answer_names(monkeypatch, "127.0.0.2")
    away = {"Location": f"http://127.0.0.1:{listener.port}/"}
    with answering(307, away) as port, pytest.raises(EngineError) as caught:
        open_store("s3", config("s3.example.com", port)).stat("a/key")
    assert (caught.value.code, caught.value.permanent) == ("wrong_endpoint", True)
    assert (listener.connections, listener.heard) == (0, b"")


def test_proxies_of_the_environment_are_not_used(
    listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{listener.port}")
    endpoints.allow_local(True)
    # Port 9 takes no connection.
    store = open_store("s3", {**config("127.0.0.1", 9), "max_attempts": 1})
    with pytest.raises(EngineError) as caught:
        store.stat("a/key")
    assert caught.value.code == "storage_unreachable"
    assert listener.connections == 0
