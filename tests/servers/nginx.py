"""Debian's nginx before a panel, with the very configuration that docs/deployment.md shows."""

from __future__ import annotations

import os
import re
import shutil
import signal
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.servers import Daemon, accepts, free_port, server_directory, unprivileged_user

DOCS = Path(__file__).resolve().parents[2] / "docs/deployment.md"
# Servers are kept out of an ordinary user's PATH.
SYSTEM_FOLDERS = "/usr/local/sbin:/usr/sbin:/sbin"
DOCUMENTED_PREFIX = "/holdfast"

# What Debian's nginx.conf has round it, in a folder of our own.
MAIN = """
daemon off;
pid {directory}/nginx.pid;
error_log {directory}/main-error.log;
events {{ worker_connections 512; }}
http {{
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    sendfile on;
    tcp_nopush on;
    gzip on;
    proxy_buffering on;
    {more}
{site}
}}
"""
# Whatever an answer says, nothing of it is handed on before there is a buffer full of it.
HOLDING = """
    proxy_ignore_headers X-Accel-Buffering;
    proxy_buffer_size 128k;
    proxy_buffers 4 128k;
    proxy_busy_buffers_size 256k;
"""


def nginx_program() -> str:
    """Return the path of nginx."""
    found = shutil.which("nginx") or shutil.which("nginx", path=SYSTEM_FOLDERS)
    assert found, "nginx is not installed: .ci/system-packages installs what the tests need"
    return found


def documented_site() -> str:
    """Return the server block of docs/deployment.md."""
    [block] = re.findall(r"^```nginx\n(.*?)^```$", DOCS.read_text(), re.MULTILINE | re.DOTALL)
    return str(block)


class NginxServer:
    """An nginx on a free loopback port before the panel on `panel_port`.

    `prefix` is where it has the panel, empty for everywhere; `strips_prefix` takes it off on the
    way. `holds_events` buffers what asks not to be buffered. `tls` ends HTTPS, with a certificate
    that only clients with `context` trust.
    """

    def __init__(
        self,
        directory: Path,
        panel_port: int,
        *,
        prefix: str = DOCUMENTED_PREFIX,
        strips_prefix: bool = False,
        holds_events: bool = False,
        tls: bool = False,
    ) -> None:
        self.port = free_port()
        self.prefix = prefix
        self.certificate = directory / "certificate.pem"
        self.logs = [directory / "holdfast.log", directory / "holdfast-error.log"]
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}{prefix}"
        changes = {
            "/etc/ssl/certs/backups.example.com.pem": str(self.certificate),
            "/etc/ssl/private/backups.example.com.key": str(directory / "key.pem"),
            "/var/log/nginx/": f"{directory}/",
            "http://127.0.0.1:8000;": f"http://127.0.0.1:{panel_port}{'/' * strips_prefix};",
            f"location {DOCUMENTED_PREFIX}/": f"location {prefix}/",
            "listen 443 ssl;": f"listen 127.0.0.1:{self.port}{' ssl' * tls};",
        }
        site = documented_site()
        for documented, ours in changes.items():
            assert documented in site, documented
            site = site.replace(documented, ours)
        if tls:
            _make_certificate(self.certificate, directory / "key.pem")
        else:
            site = re.sub(r"^ +ssl_certificate.*\n", "", site, flags=re.MULTILINE)
        self._directory, self._site = directory, site
        self._configure(holds_events=holds_events)
        argv = [nginx_program(), "-c", str(directory / "nginx.conf"), "-p", str(directory)]
        # Before it has read where its logs are, it would write to the system's.
        argv += ["-e", str(directory / "main-error.log")]
        self._daemon = Daemon(argv, log=directory / "log", user=unprivileged_user())

    def context(self) -> ssl.SSLContext:
        """What trusts this server alone."""
        return ssl.create_default_context(cafile=str(self.certificate))

    def start(self) -> None:
        self._daemon.start(lambda: accepts(self.port))

    def stop(self) -> None:
        self._daemon.stop()

    def reload(self, *, holds_events: bool) -> None:
        """Take up another configuration while it runs, as operators let it."""
        self._configure(holds_events=holds_events)
        os.kill(self._daemon.pid, signal.SIGHUP)

    def _configure(self, *, holds_events: bool) -> None:
        more = HOLDING if holds_events else ""
        text = MAIN.format(directory=self._directory, site=self._site, more=more)
        (self._directory / "nginx.conf").write_text(text)

    def said(self) -> str:
        """What it wrote to its logs."""
        return "".join(log.read_text() for log in self.logs if log.exists())


def _make_certificate(certificate: Path, key: Path) -> None:
    argv = [
        *["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"],
        *["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"],
        *["-keyout", str(key), "-out", str(certificate)],
    ]
    subprocess.run(argv, check=True, capture_output=True)
    key.chmod(0o644)  # whom nginx runs as must read it, and it is good for two days of this test


@contextmanager
def running_nginx(
    panel_port: int,
    *,
    prefix: str = DOCUMENTED_PREFIX,
    strips_prefix: bool = False,
    holds_events: bool = False,
    tls: bool = False,
) -> Iterator[NginxServer]:
    """Yield a running nginx before the panel; see `NginxServer`."""
    with server_directory("nginx") as directory:
        server = NginxServer(
            directory,
            panel_port,
            prefix=prefix,
            strips_prefix=strips_prefix,
            holds_events=holds_events,
            tls=tls,
        )
        server.start()
        try:
            yield server
        finally:
            server.stop()
