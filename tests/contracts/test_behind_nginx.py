"""A panel in production below /holdfast, behind Debian's nginx, which ends HTTPS and buffers."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from cryptography.fernet import Fernet

from tests.contracts.visitor import Page, Visitor
from tests.servers import wait_until
from tests.servers.cluster import EMAIL, PASSWORD, ROOT, Cluster
from tests.servers.nginx import NginxServer, running_nginx
from tests.servers.redis import RedisServer

pytestmark = pytest.mark.slow
PREFIX = "/holdfast"
JSON = {"Accept": "application/json"}
# More than nginx's buffers hold.
BUNDLE = bytes(range(256)) * 8192
STREAM = f"{PREFIX}/api/v1/daemon/backup/stream"
FILL = """
from django.db.models.functions import Now
from backups.models import Backup, Node, Site, Storage
config = {{"path": {root!r}}}
storage = Storage.objects.create(name="s", type="local", config=config, is_default=True)
node = Node.objects.get()
for number in (1, 2, 3):
    path = f"/srv/{{number}}"
    site = Site.objects.create(name=path[-1], node=node, storage=storage, wp_path=path)
Backup.objects.create(site=site, storage=storage, status="SUCCESS", object_key="k/x.tar.zst",
                      size_bytes={size}, sha256={digest!r}, created_at=Now())
"""


@dataclass
class Installation:
    """A panel, and the nginx before it."""

    cluster: Cluster
    nginx: NginxServer

    def visitor(self, *, token: str = "", address: str = "127.0.0.2") -> Visitor:
        """Somebody who comes through nginx; signed in with the token."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        origin = self.nginx.url.removesuffix(PREFIX)
        return Visitor(origin, self.nginx.context(), address, headers)

    def admin(self) -> Visitor:
        return self.visitor(token=self.cluster.token)


@pytest.fixture(scope="module")
def cluster(
    redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cluster]:
    directory = tmp_path_factory.mktemp("behind")
    settings = {
        "HOLDFAST_ENVIRONMENT": "production",
        "HOLDFAST_ENCRYPTION_KEYS": Fernet.generate_key().decode(),
        "HOLDFAST_URL_PREFIX": PREFIX,
        "HOLDFAST_TRUSTED_PROXIES": "127.0.0.1",
        "HOLDFAST_NODE_DATABASE_URL": "mysql://holdfast@db.example.com/holdfast",
        "HOLDFAST_NODE_BROKER_URL": "redis://redis.example.com/0",
    }
    database = f"sqlite:///{directory / 'panel.sqlite3'}"
    cluster = Cluster(directory, database, redis_server.url, settings)
    bundle = directory / "bundles/k/x.tar.zst"
    bundle.parent.mkdir(parents=True)
    bundle.write_bytes(BUNDLE)
    digest = hashlib.sha256(BUNDLE).hexdigest()
    code = FILL.format(root=str(directory / "bundles"), size=len(BUNDLE), digest=digest)
    with cluster.warmed_up():
        try:
            cluster.set_up(directory)
            cluster.manage("shell", "-v0", "-c", code)
            cluster.start_panel()
            yield cluster
            assert cluster.leaks() == []
        except BaseException as error:
            error.add_note(cluster.logs())
            raise


@pytest.fixture(scope="module")
def installation(cluster: Cluster) -> Iterator[Installation]:
    with running_nginx(cluster.port, prefix=PREFIX, tls=True) as nginx:
        yield Installation(cluster, nginx)


@pytest.fixture(scope="module", params=[False, True], ids=["handed on", "taken off"])
def either_way(request: pytest.FixtureRequest, cluster: Cluster) -> Iterator[Installation]:
    """The panel behind an nginx that hands the prefix on, and one that takes it off."""
    with running_nginx(cluster.port, prefix=PREFIX, tls=True, strips_prefix=request.param) as nginx:
        yield Installation(cluster, nginx)


def _signed_in_by_form(visitor: Visitor, start: str) -> Page:
    """Sign in at the form that `start` leads to, and return where that led."""
    first = visitor.ask(start)
    form = visitor.ask(first.path_behind) if first.status == 302 else first
    assert form.status == 200, form.text
    return visitor.submit(form, username=EMAIL, password=PASSWORD, next=form.hidden("next"))


def _check_addresses(visitor: Visitor, page: Page, *, at_least: int) -> None:
    """Every address of the page lies below the prefix, and each static file is there."""
    addresses = page.addresses()
    assert len(addresses) >= at_least
    assert {one for one in addresses if not one.startswith((f"{PREFIX}/", "data:"))} <= {PREFIX}
    static = [one for one in addresses if one.startswith(f"{PREFIX}/static/")]
    assert static
    for address in static:
        assert visitor.ask(address).status == 200, address


def test_form_of_the_admin_signs_in_and_stays_below_the_prefix(either_way: Installation) -> None:
    visitor = either_way.visitor()
    front = visitor.ask(f"{PREFIX}/")
    assert (front.status, front.path_behind) == (302, f"{PREFIX}/admin/backup-maintenance/")
    answer = _signed_in_by_form(visitor, f"{PREFIX}/admin/")
    assert (answer.status, answer.path_behind) == (302, f"{PREFIX}/admin/")
    index = visitor.ask(f"{PREFIX}/admin/")
    assert index.status == 200
    _check_addresses(visitor, index, at_least=15)
    assert set(visitor.cookies) >= {"__Host-sessionid", "__Host-csrftoken"}
    for cookie in visitor.cookies.values():
        assert (cookie["path"], cookie["secure"], cookie["domain"]) == ("/", True, "")


def test_pages_of_the_panel_stay_below_the_prefix(either_way: Installation) -> None:
    visitor = either_way.visitor()
    dashboard = f"{PREFIX}/admin/backup-maintenance/"
    assert visitor.ask(dashboard).path_behind == f"{PREFIX}/sign-in/?next={dashboard}"
    answer = _signed_in_by_form(visitor, dashboard)
    assert (answer.status, answer.path_behind) == (302, dashboard)
    for path in (dashboard, f"{PREFIX}/sites/", f"{PREFIX}/sites/1/"):
        page = visitor.ask(path)
        assert page.status == 200, path
        _check_addresses(visitor, page, at_least=10)
        for address in page.addresses():
            # Streams do not end, and what is sent by POST is not asked for here.
            if not address.startswith("data:") and "stream" not in address and "sse" not in address:
                assert visitor.ask(address).status in (200, 302, 405), address


def test_slash_that_is_missing_is_added_below_the_prefix(either_way: Installation) -> None:
    visitor = either_way.visitor()
    _signed_in_by_form(visitor, f"{PREFIX}/admin/")
    answer = visitor.ask(f"{PREFIX}/admin/backups/site?q=x")
    assert answer.path_behind == f"{PREFIX}/admin/backups/site/?q=x"
    outside = visitor.ask(PREFIX)
    assert outside.path_behind == f"{PREFIX}/"


def test_form_of_the_browsable_api_leads_to_the_sites(either_way: Installation) -> None:
    visitor = either_way.visitor()
    answer = _signed_in_by_form(visitor, f"{PREFIX}/api-auth/login/")
    assert (answer.status, answer.path_behind) == (302, f"{PREFIX}/api/v1/sites/")
    page = visitor.ask(f"{PREFIX}/api/v1/sites/")
    assert page.status == 200
    _check_addresses(visitor, page, at_least=8)


def test_docs_find_the_schema_and_the_schema_the_panel(either_way: Installation) -> None:
    visitor = either_way.visitor()
    page = visitor.ask(f"{PREFIX}/docs")
    _check_addresses(visitor, page, at_least=5)
    [script] = [address for address in page.addresses() if "?script" in address]
    assert f'"{PREFIX}/api/schema/"' in visitor.ask(script).text
    schema = visitor.ask(f"{PREFIX}/api/schema/", headers=JSON).json
    assert schema["servers"] == [{"url": PREFIX}]
    assert "/api/v1/sites/" in schema["paths"]


def test_links_in_answers_are_those_of_the_outside(either_way: Installation) -> None:
    admin, outside = either_way.admin(), either_way.nginx.url
    links = admin.ask(f"{PREFIX}/", headers=JSON).json["links"]
    assert links["health"] == f"{outside}/health"
    for name, link in links.items():
        assert admin.ask(link).status in (200, 302), name
    command = admin.send_json(f"{PREFIX}/api/v1/nodes/1/token", {}).json["command"]
    assert command == f"manage.py node join --panel {outside} --token -"
    for number in (1, 2):
        admin.send_json(f"{PREFIX}/api/v1/sites/{number}/backup/start", {})
    page = admin.ask(f"{PREFIX}/api/v1/activity-logs/?limit=1", headers=JSON).json
    assert page["next"].startswith(f"{outside}/api/v1/activity-logs/?")


def test_bundle_is_downloaded_through_nginx(either_way: Installation) -> None:
    backup = f"{PREFIX}/api/v1/backups/1/download"
    link = either_way.admin().ask(backup, headers=JSON).json
    url = link["download_url"]
    assert url.startswith(f"{either_way.nginx.url}/api/v1/downloads/")
    stranger = either_way.visitor()
    assert stranger.ask(url).content == BUNDLE
    part = stranger.ask(url, headers={"Range": "bytes=-100"})
    assert (part.status, part.content) == (206, BUNDLE[-100:])
    # Whoever reads nginx's log cannot fetch it.
    wait_until(lambda: "/downloads/***" in either_way.nginx.said(), 10, "the download is logged")
    assert urlsplit(url).path.rpartition("/")[2] not in either_way.nginx.said()


@pytest.mark.parametrize("path", ["", PREFIX], ids=["without", "with"])
def test_inside_the_panel_answers_without_the_prefix_too(path: str, cluster: Cluster) -> None:
    assert cluster.get(f"{path}/health/live").status == 200
    assert cluster.get(f"{path}/metrics").status == 200


def test_errors_are_json_when_a_program_asks(installation: Installation) -> None:
    visitor = installation.visitor()
    unknown = visitor.ask(f"{PREFIX}/api/v1/none")
    assert (unknown.status, unknown.json["code"]) == (404, "not_found")
    job = f"{PREFIX}/admin/backup-maintenance/backup-progress/{'0' * 8}-0000-4000-8000-{'0' * 12}"
    assert (visitor.ask(job).status, visitor.ask(job).json["code"]) == (401, "not_authenticated")
    large = visitor.send_json(f"{PREFIX}/api/auth/login", {"email": "x" * (3 << 19)})
    assert (large.status, large.json["code"]) == (413, "request_too_large")


def test_audit_trail_has_the_clients_own_address(installation: Installation) -> None:
    stranger = installation.visitor(address="127.0.0.9")
    stranger.headers["X-Forwarded-For"] = "192.0.2.1"
    wrong = {"email": EMAIL, "password": "wrong-password"}
    assert stranger.send_json(f"{PREFIX}/api/v1/auth/login", wrong).status == 401
    activity = f"{PREFIX}/api/v1/activity-logs/?limit=5"
    answer = installation.admin().ask(activity, headers=JSON)
    [entry] = [one for one in answer.json["results"] if "wrong" in json.dumps(one)][:1]
    assert entry["address"] == "127.0.0.9", entry


def test_sign_in_by_the_api_works(installation: Installation) -> None:
    right = {"email": EMAIL, "password": PASSWORD}
    answer = installation.visitor().send_json(f"{PREFIX}/api/v1/auth/login", right)
    me = installation.visitor(token=answer.json["access_token"]).ask(f"{PREFIX}/api/v1/users/me")
    assert answer.headers["X-Request-ID"] in installation.cluster.logs()
    assert me.status == 200


def _next_event(response: Any) -> dict[str, Any]:
    """Read up to the end of the next event, and return its data."""
    while line := response.readline():
        if line.startswith(b"data: "):
            data: dict[str, Any] = json.loads(line[6:])
            return data
    raise AssertionError("the stream ended")


def _started(installation: Installation, site: int) -> str:
    """Start a backup, which waits for want of a worker; return the address of its stream."""
    admin = installation.admin()
    started = admin.send_json(f"{PREFIX}/api/v1/sites/{site}/backup/start", {})
    assert started.status in (202, 409), started.text
    ticket = admin.send_json(f"{PREFIX}/api/v1/auth/stream-ticket", {}).json["ticket"]
    return f"{STREAM}/{site}?interval=60&token={ticket}"


def test_events_come_at_once_though_nginx_buffers(installation: Installation) -> None:
    url, visitor, begun = _started(installation, 3), installation.visitor(), time.monotonic()
    with visitor.open(url) as response:
        assert response.headers["Content-Type"] == "text/event-stream"
        assert _next_event(response)["status"] == "running"
        assert time.monotonic() - begun < 2
        stopped = installation.admin().send_json(f"{PREFIX}/api/v1/sites/3/backup/stop", {})
        assert stopped.status == 202
        begun = time.monotonic()
        assert _next_event(response)["status"] == "stopped"
        assert time.monotonic() - begun < 3
        assert response.read().strip() == b""
    wait_until(lambda: STREAM in installation.nginx.said(), 10, "the stream is logged")
    assert url.rpartition("=")[2] not in installation.nginx.said()


def test_polling_answers_where_nginx_holds_events_back(cluster: Cluster) -> None:
    with running_nginx(cluster.port, prefix=PREFIX, tls=True, holds_events=True) as nginx:
        installation = Installation(cluster, nginx)
        url = _started(installation, 2)
        with pytest.raises(TimeoutError):
            installation.visitor().open(url, timeout=3).readline()
        status = installation.admin().ask(f"{PREFIX}/api/v1/sites/2/backup/status")
        assert status.status == 200


def test_host_that_joins_finds_the_panel_below_the_prefix(
    installation: Installation, tmp_path: Path
) -> None:
    done = subprocess.run(
        [
            *(sys.executable, "manage.py", "node", "join", "--panel", installation.nginx.url),
            *("--token", "-", "--file", str(tmp_path / "node.env")),
        ],
        cwd=ROOT,
        env={**os.environ, "SSL_CERT_FILE": str(installation.nginx.certificate)},
        input="no-token-of-anybody\n",
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "The panel refused: " in done.stderr, done.stderr
