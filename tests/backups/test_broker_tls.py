"""A broker behind TLS: its certificate is checked, by Celery and by ourselves."""

from __future__ import annotations

import os
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.servers.redis import RedisServer

ROOT = Path(__file__).resolve().parents[2]
CODE = """
from celery import current_app
from kombu.exceptions import OperationalError
from backups import dispatch
from backups.management.node.checks import _of_broker
from panel.settings import ENVIRONMENT
print("ours", dispatch.broker_answers(seconds=3))
try:
    with current_app.connection_for_write() as connection:
        connection.ensure_connection(max_retries=1, interval_start=0)
        queue = connection.SimpleQueue("tls")
        queue.put("through")
        print("celery", queue.get(timeout=5).payload)
except OperationalError as error:
    print("celery refused:", error)
print("joining", list(_of_broker(ENVIRONMENT.broker_url, ENVIRONMENT.broker_ca_file)))
"""


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for `localhost` that no system trusts, with its key in the same file."""
    folder = tmp_path_factory.mktemp("tls")
    argv = [
        *["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"],
        *["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"],
        *["-keyout", str(folder / "key.pem"), "-out", str(folder / "certificate.pem")],
    ]
    subprocess.run(argv, check=True, capture_output=True)
    return folder / "certificate.pem"


@pytest.fixture(scope="module")
def tls_port(certificate: Path, redis_server: RedisServer) -> Iterator[int]:
    """Where the real Redis answers through TLS, as stunnel before it would."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, certificate.with_name("key.pem"))
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(
            target=_serve, args=(server, context, redis_server.port), daemon=True
        ).start()
        yield server.getsockname()[1]


def _serve(server: socket.socket, context: ssl.SSLContext, port: int) -> None:
    with suppress(OSError):
        while True:
            plain, _ = server.accept()
            threading.Thread(target=_carry, args=(plain, context, port), daemon=True).start()


def _carry(plain: socket.socket, context: ssl.SSLContext, port: int) -> None:
    # A client that does not trust us hangs up in the handshake.
    with suppress(OSError), context.wrap_socket(plain, server_side=True) as outside:
        inside = socket.create_connection(("127.0.0.1", port))
        threading.Thread(target=_pump, args=(inside, outside), daemon=True).start()
        _pump(outside, inside)


def _pump(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)


def ask(url: str, ca_file: Path | None) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("HOLDFAST_")}
    environment |= {"HOLDFAST_DATABASE_URL": "sqlite://:memory:", "HOLDFAST_BROKER_URL": url}
    if ca_file:
        environment["HOLDFAST_BROKER_CA_FILE"] = str(ca_file)
    argv = [sys.executable, "manage.py", "shell", "--verbosity", "0", "-c", CODE]
    return subprocess.run(
        argv, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120
    )


def test_messages_pass_when_the_authority_is_known(tls_port: int, certificate: Path) -> None:
    done = ask(f"rediss://localhost:{tls_port}/0", certificate)
    assert done.stdout.split("\n")[:3] == ["ours True", "celery through", "joining []"], done.stderr
    # Celery warns of a broker whose certificate it does not check.
    assert "insecure" not in done.stderr.lower()


@pytest.mark.parametrize(
    ("host", "is_known"), [("localhost", False), ("127.0.0.1", True)], ids=["signer", "name"]
)
def test_nothing_passes_when_the_certificate_is_wrong(
    host: str, is_known: bool, tls_port: int, certificate: Path
) -> None:
    done = ask(f"rediss://{host}:{tls_port}/0", certificate if is_known else None)
    ours, celery, joining = done.stdout.strip().split("\n")
    assert ours == "ours False"
    assert celery.startswith("celery refused:")
    assert "certificate verify failed" in celery
    assert "The broker cannot be used from here" in joining


@pytest.mark.parametrize(
    ("url", "ca_file", "said"),
    [
        ("rediss://localhost:6380/0?ssl_cert_reqs=none", None, "always checked"),
        ("redis://localhost:6379/0", "certificate", "does not speak TLS"),
        ("rediss://localhost:6380/0", "/nowhere/ca.pem", "No such file or directory"),
        ("rediss://localhost:6380/0", __file__, "cannot be used"),
    ],
    ids=["unchecked", "no TLS", "no file", "no certificate"],
)
def test_start_ends_with_a_sentence(
    url: str, ca_file: str | None, said: str, certificate: Path
) -> None:
    path = certificate if ca_file == "certificate" else Path(ca_file) if ca_file else None
    done = ask(url, path)
    assert done.returncode != 0
    assert said in done.stderr
    assert "Traceback" not in done.stderr
