"""A proxy before an S3 service that fails as networks and services do, when a test says so.

It can also do what the small test services do not: check the SHA-256 that comes with a request,
refuse a wrong one and answer with the right one, as Amazon documents it.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import http.client
import os
import socket
import struct
import threading
import urllib.parse
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

CHECKSUM_HEADER = "x-amz-checksum-sha256"
HOP_HEADERS = frozenset({"connection", "transfer-encoding", "content-length", "expect", "server"})


@dataclass
class Seen:
    """A request that came, with the status that its sender got; 0 where the answer was lost."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    status: int = 0

    @property
    def part(self) -> int:
        """The number of the part that it sends, or 0."""
        return int(self.query.get("partNumber", 0)) if self.method == "PUT" else 0

    @property
    def completes(self) -> bool:
        """Whether it completes an upload."""
        return self.method == "POST" and "uploadId" in self.query


@dataclass
class Fault:
    """What happens to the next `times` requests that match."""

    matches: Callable[[Seen], object]
    happens: Callable[[Handler, Seen], None]
    times: int


class FaultProxy:
    """The proxy of one test. `requests` grows as they come in."""

    def __init__(self, target_port: int, *, checks_sha256: bool = False) -> None:
        self.target_port = target_port
        self.checks_sha256 = checks_sha256
        self.checksums: dict[str, str] = {}
        self.requests: list[Seen] = []
        self.released = threading.Event()
        self._faults: list[Fault] = []
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.proxy = self
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def fail(
        self,
        matches: Callable[[Seen], object],
        happens: Callable[[Handler, Seen], None],
        times: int = 1,
    ) -> None:
        """Let something happen to requests; the first fault that matches wins."""
        self._faults.append(Fault(matches, happens, times))

    def heal(self) -> None:
        """Let nothing happen any more."""
        self._faults.clear()

    def sent_parts(self) -> list[int]:
        """The numbers of the parts that arrived and were accepted, in order of arrival."""
        return [seen.part for seen in self.requests if seen.part and seen.status == 200]

    def fault_for(self, seen: Seen) -> Fault | None:
        """Note a request, and return what is to happen to it."""
        with self._lock:
            self.requests.append(seen)
            for fault in self._faults:
                if fault.times and fault.matches(seen):
                    fault.times -= 1
                    return fault
        return None

    def close(self) -> None:
        """End it, and let go of requests that hang."""
        self.released.set()
        self._server.shutdown()
        self._server.server_close()


class Handler(BaseHTTPRequestHandler):
    """One connection to the proxy."""

    protocol_version = "HTTP/1.1"

    @property
    def proxy(self) -> FaultProxy:
        return self.server.proxy

    def handle_any(self) -> None:
        path, _, query = self.path.partition("?")
        length = int(self.headers.get("Content-Length") or 0)
        seen = Seen(
            self.command,
            urllib.parse.unquote(path),
            dict(urllib.parse.parse_qsl(query, keep_blank_values=True)),
            {name.lower(): text for name, text in self.headers.items()},
            b"",
        )
        fault = self.proxy.fault_for(seen)
        if fault and getattr(fault.happens, "before_body", False):
            fault.happens(self, seen)
            return
        seen.body = self.rfile.read(length)
        if len(seen.body) < length:
            # Its sender was interrupted. Passed on as if it were whole it would be refused as
            # damaged, and rclone drops the whole upload of a part that it refuses.
            self.close_connection = True
            return
        if fault:
            fault.happens(self, seen)
            return
        self.answer(seen, *self.forward(seen))

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = handle_any

    def forward(self, seen: Seen) -> tuple[int, dict[str, str], bytes]:
        """Pass a request on, and return status, headers and body of the answer."""
        checksum = seen.headers.get(CHECKSUM_HEADER) if seen.method == "PUT" else None
        if self.proxy.checks_sha256 and checksum and checksum != _sha256(seen.body):
            return 400, {}, error_body("BadDigest", "The SHA-256 you specified did not match.")
        connection = http.client.HTTPConnection("127.0.0.1", self.proxy.target_port, timeout=30)
        with contextlib.closing(connection):
            headers = {k: v for k, v in seen.headers.items() if k not in HOP_HEADERS}
            # A service that refuses a request early closes before it has read all of the body.
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                connection.request(self.command, self.path, body=seen.body, headers=headers)
            answer = connection.getresponse()
            body = answer.read()
            kept = {k.lower(): v for k, v in answer.getheaders() if k.lower() not in HOP_HEADERS}
            if seen.method == "HEAD":
                kept["content-length"] = answer.getheader("Content-Length", "0")
        if self.proxy.checks_sha256:
            self._vouch(seen, checksum, answer.status, kept)
        return answer.status, kept, body

    def _vouch(
        self, seen: Seen, checksum: str | None, status: int, headers: dict[str, str]
    ) -> None:
        if checksum and status == 200:
            headers[CHECKSUM_HEADER] = checksum
            if not seen.part:
                self.proxy.checksums[seen.path] = checksum
        if seen.method == "HEAD" and status == 200 and seen.path in self.proxy.checksums:
            headers.setdefault(CHECKSUM_HEADER, self.proxy.checksums[seen.path])

    def answer(self, seen: Seen, status: int, headers: dict[str, str], body: bytes) -> None:
        """Send an answer."""
        seen.status = status
        self.send_response_only(status)
        for name, text in headers.items():
            self.send_header(name, text)
        if "content-length" not in headers:
            self.send_header("content-length", str(len(body)))
        self.end_headers()
        # Who is interrupted does not wait for the answer.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            if seen.method != "HEAD":
                self.wfile.write(body)

    def reset(self) -> None:
        """Break the connection so that the other side gets ECONNRESET."""
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        os.close(self.connection.detach())

    def finish(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            super().finish()

    def log_message(self, format: str, *args: Any) -> None:
        pass


def status(code: int, error: str = "InternalError", message: str = "") -> Any:
    """Answer with an error, and do nothing."""
    return lambda handler, seen: handler.answer(seen, code, {}, error_body(error, message))


def error_in_200(handler: Handler, seen: Seen) -> None:
    """Answer 200 with an error in the body, as Amazon may to CompleteMultipartUpload."""
    handler.answer(seen, 200, {}, error_body("InternalError", "We encountered an internal error."))


def reset(handler: Handler, seen: Seen) -> None:
    """Break the connection after the request was read, and do nothing."""
    handler.reset()


def reset_midway(handler: Handler, seen: Seen) -> None:
    """Break the connection while the body is being sent."""
    handler.rfile.read(int(handler.headers["Content-Length"]) // 2)
    handler.reset()


reset_midway.before_body = True  # type: ignore[attr-defined]


def lose_answer(handler: Handler, seen: Seen) -> None:
    """Do what was asked, and break the connection instead of answering."""
    handler.forward(seen)
    handler.reset()


def hang(handler: Handler, seen: Seen) -> None:
    """Answer nothing until the test ends."""
    handler.proxy.released.wait(120)
    handler.reset()


def truncate(handler: Handler, seen: Seen) -> None:
    """Send half of the answer's body, and break the connection."""
    code, headers, body = handler.forward(seen)
    handler.send_response_only(code)
    for name, text in headers.items():
        handler.send_header(name, text)
    handler.send_header("content-length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body[: len(body) // 2])
    handler.wfile.flush()
    handler.close_connection = True
    seen.status = code


def corrupted(handler: Handler, seen: Seen) -> None:
    """Let one bit of the body flip on its way."""
    seen.body = bytes([seen.body[0] ^ 1]) + seen.body[1:]
    handler.answer(seen, *handler.forward(seen))


def corrupted_and_denied(handler: Handler, seen: Seen) -> None:
    """Let one bit flip, and claim in the answer that what was sent is what was stored."""
    sent = hashlib.md5(seen.body).hexdigest()
    seen.body = bytes([seen.body[0] ^ 1]) + seen.body[1:]
    code, headers, body = handler.forward(seen)
    handler.answer(seen, code, {**headers, "etag": f'"{sent}"'}, body)


def error_body(code: str, message: str) -> bytes:
    """The XML of an S3 error."""
    return (
        '<?xml version="1.0" encoding="UTF-8"?>'
        f"<Error><Code>{code}</Code><Message>{message}</Message></Error>"
    ).encode()


def _sha256(body: bytes) -> str:
    return base64.b64encode(hashlib.sha256(body).digest()).decode()


@pytest.fixture
def fault_proxy() -> Iterator[Callable[..., FaultProxy]]:
    """Yield what makes a proxy before a port; all end with the test."""
    proxies: list[FaultProxy] = []

    def make(target_port: int, *, checks_sha256: bool = False) -> FaultProxy:
        proxies.append(FaultProxy(target_port, checks_sha256=checks_sha256))
        return proxies[-1]

    yield make
    for proxy in proxies:
        proxy.close()
