"""The panel below a path of somebody else's site, whether the proxy takes that path off or not."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from asgiref.testing import ApplicationCommunicator
from django.core.asgi import get_asgi_application
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.urls import set_script_prefix

from panel.checks import check_deployment
from panel.url_prefix import OWN_WORDS, below, prefixed, prefixed_wsgi, usable_prefix
from panel.urls import urlpatterns

PREFIX = "/holdfast"


@pytest.fixture
def with_prefix(settings: Any) -> Any:
    settings.HOLDFAST_URL_PREFIX = settings.FORCE_SCRIPT_NAME = PREFIX
    yield settings
    set_script_prefix("/")


def _get(path: str, accept: str = "application/json") -> tuple[int, dict[str, str], bytes]:
    """Ask the panel as uvicorn would."""

    async def asked() -> tuple[int, dict[str, str], bytes]:
        scope = {
            "type": "http",
            "method": "GET",
            "path": path,
            "query_string": b"",
            "headers": [(b"host", b"testserver"), (b"accept", accept.encode())],
        }
        communicator = ApplicationCommunicator(prefixed(get_asgi_application(), PREFIX), scope)
        await communicator.send_input({"type": "http.request", "body": b""})
        start = await communicator.receive_output(10)
        body = await communicator.receive_output(10)
        headers = {name.decode(): value.decode() for name, value in start["headers"]}
        return start["status"], headers, body["body"]

    return asyncio.run(asked())


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("/holdfast/api/v1/sites/", "/holdfast/api/v1/sites/"),
        ("/api/v1/sites/", "/holdfast/api/v1/sites/"),
        ("/", "/holdfast/"),
        ("/holdfast", "/holdfast/"),
        ("/holdfastly", "/holdfast/holdfastly"),
        ("/holdfast/holdfast/x", "/holdfast/holdfast/x"),
    ],
)
def test_path_has_the_prefix_once_however_it_came(path: str, found: str) -> None:
    assert below(PREFIX, path) == found


@pytest.mark.parametrize("text", ["", "/holdfast", "/tools/holdfast", "/a-b/c_d/1"])
def test_prefix_is_taken_when_it_is_a_path(text: str) -> None:
    assert usable_prefix(text, "HOLDFAST_URL_PREFIX") == text


@pytest.mark.parametrize(
    "text",
    ["/", "holdfast", "/holdfast/", "//holdfast", "/a//b", "/a/../b", "/a b", "/a?b", "/ä", "/a\n"],
)
def test_prefix_is_refused_when_it_is_no_path(text: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="must be left out or be a path"):
        usable_prefix(text, "HOLDFAST_URL_PREFIX")


def test_no_prefix_can_be_mistaken_for_a_route_of_our_own() -> None:
    routes = {str(pattern.pattern) for pattern in urlpatterns}
    assert {route.split("/")[0] for route in routes} - {""} <= OWN_WORDS


@pytest.mark.parametrize("path", ["/holdfast", "/holdfast/", "/"])
def test_links_lead_below_the_prefix(path: str, with_prefix: Any) -> None:
    status, _, body = _get(path)
    links = json.loads(body)["links"]
    assert status == 200
    assert links["sites"] == "http://testserver/holdfast/api/v1/sites/"
    assert all(link.startswith("http://testserver/holdfast/") for link in links.values())


@pytest.mark.parametrize("path", ["/holdfast/", "/"])
def test_browser_stays_below_the_prefix(path: str, with_prefix: Any) -> None:
    status, headers, _ = _get(path, accept="text/html")
    assert (status, headers["Location"]) == (302, "/holdfast/admin/backup-maintenance/")


@pytest.mark.parametrize("path", ["/holdfast/api/v1/none", "/api/v1/none"])
def test_program_gets_json_when_there_is_nothing_below_the_prefix(
    path: str, with_prefix: Any
) -> None:
    status, headers, _ = _get(path)
    assert (status, headers["Content-Type"]) == (404, "application/json")


@pytest.mark.parametrize(
    ("path", "info"), [("/holdfast/docs", "/docs"), ("/docs", "/docs"), ("/holdfast", "/")]
)
def test_wsgi_sees_a_path_without_the_prefix(path: str, info: str) -> None:
    def application(environ: Any, start_response: Any) -> list[bytes]:
        return [environ["PATH_INFO"].encode()]

    environ = {"PATH_INFO": path}
    assert list(prefixed_wsgi(application, PREFIX)(environ, None)) == [info.encode()]


def test_command_for_a_new_host_names_the_prefix(
    with_prefix: Any, db: None, capsys: pytest.CaptureFixture[str]
) -> None:
    with_prefix.HOLDFAST_NODE_DATABASE_URL = "mysql://holdfast@db.example.com/holdfast"
    with_prefix.HOLDFAST_NODE_BROKER_URL = "redis://redis.example.com/0"
    call_command("node", "token", "web-01", "--root", "/srv")
    assert "--panel https://address.of.this.panel/holdfast --token -" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("url", "is_warned"),
    [
        ("", False),
        ("https://example.com/holdfast", False),
        ("https://example.com/holdfast/", False),
        ("https://example.com", True),
    ],
)
def test_deploy_check_warns_when_hosts_would_not_find_the_panel(
    url: str, is_warned: bool, with_prefix: Any
) -> None:
    with_prefix.HOLDFAST_PANEL_URL = url
    assert ("holdfast.W004" in {message.id for message in check_deployment()}) is is_warned
