"""`node token`, and what `node join` refuses, against real servers."""

from __future__ import annotations

import http.server
import io
import json
import os
import shutil
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.core.management.base import CommandError

from backups.environment_file import read_private, replacing_private
from backups.management.node.checks import problems_with
from backups.models import EnrolmentToken, Node
from tests.servers import free_port
from tests.servers.cluster import ROOT, Cluster
from tests.servers.mariadb import MariaDBServer
from tests.servers.redis import RedisServer


def output_of(*arguments: str) -> str:
    out = io.StringIO()
    call_command("node", *arguments, stdout=out)
    return out.getvalue()


@pytest.fixture
def reachable_panel(db: None, settings: Any) -> None:
    settings.HOLDFAST_NODE_DATABASE_URL = "mysql://holdfast@db.example.com/holdfast"
    settings.HOLDFAST_NODE_BROKER_URL = "redis://redis.example.com/0"


def test_token_makes_the_node_when_a_root_is_given(reachable_panel: None, settings: Any) -> None:
    settings.HOLDFAST_PANEL_URL = "https://backups.example.com"
    said = output_of("token", "web-07", "--root", "/srv/a", "--root", "/srv/b")
    token, _, rest = said.partition("\n")
    assert len(token) >= 43
    assert "node join --panel https://backups.example.com --token -" in rest
    assert "UTC" in rest
    assert Node.objects.get().allowed_roots == ["/srv/a", "/srv/b"]
    # For the same node again, as a script would.
    again = output_of("token", "web-07", "--root", "/srv/b", "--root", "/srv/a", "--quiet")
    assert len(again.split()) == 1
    assert EnrolmentToken.objects.count() == 2


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("web-07",), r"There is no node 'web-07' \(known: web-01\)"),
        (("web-01", "--root", "/other"), "is there already, with other roots"),
        (("web 07", "--root", "/srv"), "slug"),
        (("web-01", "--valid-hours", "0"), "must be above 0 and not above 168"),
        (("web-01", "--valid-hours", "169"), "must be above 0 and not above 168"),
    ],
)
def test_token_is_refused_when(
    arguments: tuple[str, ...], expected: str, reachable_panel: None, node: Node
) -> None:
    with pytest.raises(CommandError, match=expected):
        output_of("token", *arguments)
    assert not EnrolmentToken.objects.exists()


def test_token_is_refused_when_the_panel_cannot_be_reached_by_nodes(node: Node) -> None:
    with pytest.raises(CommandError, match="set HOLDFAST_NODE_DATABASE_URL to what nodes can"):
        output_of("token", node.name)


@contextmanager
def answering(status: int, headers: dict[str, str], body: bytes) -> Iterator[tuple[str, list[Any]]]:
    """A web server that gives one answer to everything; what it was sent is in the list."""
    asked: list[Any] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers.get("Content-Length", 0))
            asked.append((self.path, json.loads(self.rfile.read(length) or b"null")))
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", asked
        finally:
            server.shutdown()
        thread.join()


def join(panel: str, path: Path, *more: str, token: str = "the-token") -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.stdin", io.StringIO(token))
        output_of("join", "--panel", panel, "--token", "-", "--file", str(path), *more)


ANSWERS: dict[str, tuple[int, dict[str, str], bytes, str]] = {
    "a redirect": (
        302,
        {"Location": "http://127.0.0.1:9/x"},
        b"",
        "The panel sends us to http://127.0.0.1:9/x",
    ),
    "a page": (200, {}, b"<html>", "is no Holdfast panel"),
    "other JSON": (200, {}, b"[1]", "is no Holdfast panel"),
    "foreign variables": (
        200,
        {},
        json.dumps(
            {
                "settings": {"LD_PRELOAD": "/x"},
                "node": {"name": "x", "allowed_roots": []},
                "credential": "x",
            }
        ).encode(),
        "is no Holdfast panel",
    ),
    "a missing page": (404, {}, b"<html>", r"No Holdfast panel answers .*404"),
    "a refusal": (401, {}, b'{"detail": "This token is not good."}', "refused: This token is not"),
    "too many": (429, {}, b'{"detail": "Wait."}', "The panel refused: Wait."),
}


@pytest.mark.parametrize("answer", ANSWERS)
def test_nothing_is_written_when_the_panel_answers_with(answer: str, tmp_path: Path) -> None:
    status, headers, body, expected = ANSWERS[answer]
    with (
        answering(status, headers, body) as (url, asked),
        pytest.raises(CommandError, match=expected),
    ):
        join(f"{url}/", tmp_path / "node.env")
    assert [path for path, _ in asked] == ["/api/v1/nodes/join"]
    assert asked[0][1]["token"] == "the-token"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("url", ["http://backups.example.com", "http://10.0.0.1:8000"])
def test_plain_http_is_refused_before_the_token_travels(url: str, tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="over http:// anybody on the way can read them"):
        join(url, tmp_path / "node.env")


def test_plain_http_is_used_when_it_is_asked_for(tmp_path: Path) -> None:
    # A name of this host that is no loopback address to whoever reads it.
    with answering(418, {}, b"{}") as (url, _), pytest.raises(CommandError, match="418"):
        join(url.replace("127.0.0.1", "0.0.0.0"), tmp_path / "node.env", "--allow-http")


@pytest.mark.parametrize("url", ["backups.example.com", "ftp://x", "https://", "http://[x"])
def test_address_that_is_none_is_refused(url: str, tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="must be like https://"):
        join(url, tmp_path / "node.env")


@pytest.mark.parametrize("url", ["https://a..b", "https://127.0.0.1:x"])
def test_address_that_nothing_can_have_is_told(url: str, tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="cannot be reached"):
        join(url, tmp_path / "node.env")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("source", ["file", "input"])
def test_token_is_read_from_elsewhere_than_the_arguments(
    source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "token").write_text("  secret-token\n")
    monkeypatch.setattr("sys.stdin", io.StringIO("secret-token\n"))
    given = ("--token-file", str(tmp_path / "token")) if source == "file" else ("--token", "-")
    with answering(401, {}, b"{}") as (url, asked), pytest.raises(CommandError):
        output_of("join", "--panel", url, *given, "--file", str(tmp_path / "node.env"))
    assert asked[0][1]["token"] == "secret-token"


def test_token_among_the_arguments_is_refused_without_repeating_it(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="Every user of this host can read") as refusal:
        output_of("join", "--panel", "https://backups.example.com", "--token", "the-token")
    assert "the-token" not in str(refusal.value)


def test_token_is_not_used_up_when_the_file_could_not_be_written(tmp_path: Path) -> None:
    (tmp_path / "etc").write_text("a file in the folder's place")
    with answering(200, {}, b"") as (url, asked):
        with pytest.raises(CommandError, match="cannot be written"):
            join(url, tmp_path / "etc" / "node.env")
        # What cannot even be looked at, as behind a folder that this user may not enter.
        with pytest.raises(CommandError, match="cannot be written"):
            join(url, tmp_path / ("x" * 300) / "node.env")
        open_file = tmp_path / "node.env"
        open_file.write_text("HOLDFAST_NODE=x")
        open_file.chmod(0o644)
        with pytest.raises(ImproperlyConfigured, match="chmod 600"):
            join(url, open_file)
        with pytest.raises(CommandError, match="token is empty"):
            join(url, tmp_path / "other.env", token=" ")
    assert asked == []


def test_refresh_says_how_to_join_when_the_host_has_not(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="This host has not joined"):
        output_of("refresh", "--file", str(tmp_path / "node.env"))


def test_refresh_uses_the_file_that_is_named(tmp_path: Path) -> None:
    path = tmp_path / "node.env"
    with answering(401, {}, b'{"detail": "Not yours."}') as (url, asked):
        with replacing_private(path) as replace:
            replace({"HOLDFAST_PANEL_URL": url, "HOLDFAST_NODE_CREDENTIAL": "the-credential"})
        with pytest.raises(CommandError, match="The panel refused: Not yours"):
            output_of("refresh", "--file", str(path))
    assert [path for path, _ in asked] == ["/api/v1/nodes/self"]


def test_file_is_replaced_whole_and_for_the_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "new" / "node.env"
    values = {
        "A": "plain://:p%40w@host/0",
        "Q": "mysql://h/x?a=b&c=(d);#e",
        "B": "with 'double\" no",
        "C": '$x \\ "y"',
        "D": "",
    }
    with (
        pytest.raises(ImproperlyConfigured, match="B holds a quote"),
        replacing_private(path) as replace,
    ):
        replace(values)
    assert list(path.parent.iterdir()) == []
    del values["B"]
    for _ in range(2):
        with replacing_private(path) as replace:
            replace(values)
        assert read_private(path) == values
    shell = ["env", "-i", "sh", "-c", 'set -a; . "$1"; env -0', "sh", str(path)]
    seen = subprocess.run(shell, capture_output=True, text=True, check=True).stdout
    assert values.items() <= dict(line.split("=", 1) for line in seen.split("\0") if line).items()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert os.listdir(path.parent) == ["node.env"]


PROBLEMS = """
import json
from backups.management.node.checks import problems_with
print(json.dumps(problems_with({variables!r}, {node!r}, {roots!r})))
"""


@pytest.fixture(scope="module")
def cluster(redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Cluster:
    """A panel's database and broker; nothing of it runs."""
    directory = tmp_path_factory.mktemp("panel")
    cluster = Cluster(directory, f"sqlite:///{directory / 'panel.sqlite3'}", redis_server.url)
    cluster.set_up(directory)
    return cluster


def problems(
    cluster: Cluster, *, node: str = "web-01", roots: tuple[Path, ...] = (), **others: object
) -> list[str]:
    """Return what a process without settings finds wrong with the cluster's, or with these."""
    variables = {**cluster.environment, **{f"HOLDFAST_{k}": str(v) for k, v in others.items()}}
    code = PROBLEMS.format(variables=variables, node=node, roots=list(map(str, roots)))
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("HOLDFAST_")}
    done = subprocess.run(
        [sys.executable, "manage.py", "shell", "--verbosity", "0", "-c", code],
        cwd=ROOT,
        env={**inherited, "HOLDFAST_NODE_FILE": ""},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    found: list[str] = json.loads(done.stdout)
    return found


def test_nothing_is_wrong_when_everything_is_there(cluster: Cluster, tmp_path: Path) -> None:
    spool = tmp_path / "deep" / "spool"
    assert problems(cluster, roots=(tmp_path,), SPOOL_DIRECTORY=spool) == []
    # The worker may be another user, who makes it.
    assert not spool.parent.exists()


def test_each_problem_is_told_at_once(
    cluster: Cluster, tmp_path: Path, mariadb_server: MariaDBServer
) -> None:
    (tmp_path / "file").touch()
    found = problems(
        cluster,
        roots=(tmp_path / "file", tmp_path),
        DATABASE_URL=f"mysql://root:do-not-show@127.0.0.1:{mariadb_server.port}/x",
        BROKER_URL=f"redis://:do-not-show@127.0.0.1:{free_port()}/0",
        SPOOL_DIRECTORY=tmp_path / "file" / "spool",
    )
    assert len(found) == 4, found
    assert "Access denied for user 'root'" in found[0]
    assert found[1].startswith("The broker cannot be used from here: ")
    assert "file is no folder of this host" in found[2]
    assert "set HOLDFAST_SPOOL_DIRECTORY" in found[3]
    assert "do-not-show" not in "".join(found)


def test_driver_that_is_not_installed_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What Python does for a module that is not there; Django may have loaded its backend before.
    monkeypatch.setitem(sys.modules, "MySQLdb", None)
    monkeypatch.delitem(sys.modules, "django.db.backends.mysql.base", raising=False)
    variables = {
        "HOLDFAST_DATABASE_URL": "mysql://root:do-not-show@127.0.0.1/x",
        "HOLDFAST_BROKER_URL": f"redis://127.0.0.1:{free_port()}/0",
        "HOLDFAST_SPOOL_DIRECTORY": str(tmp_path),
    }
    found = problems_with(variables, "web-01", [str(tmp_path)])
    assert "not installed here" in found[0]
    assert "requirements/mysql.txt" in found[0]
    assert len(found) == 2


def test_database_of_another_panel_or_version_is_refused(cluster: Cluster, tmp_path: Path) -> None:
    assert "knows no node web-99" in problems(cluster, node="web-99")[0]
    empty = problems(cluster, DATABASE_URL=f"sqlite:///{tmp_path / 'empty.sqlite3'}")
    assert "older than this host's Holdfast" in empty[0]
    newer = tmp_path / "newer.sqlite3"
    shutil.copy(cluster.directory / "panel.sqlite3", newer)
    with sqlite3.connect(newer) as database:
        row = ("backups", "9999_from_the_future", "2030-01-01")
        database.execute("INSERT INTO django_migrations (app, name, applied) VALUES (?,?,?)", row)
    database.close()
    found = problems(cluster, DATABASE_URL=f"sqlite:///{newer}")
    assert "newer than this host's Holdfast" in found[0]


def test_settings_that_no_process_would_start_with_are_refused() -> None:
    with pytest.raises(ImproperlyConfigured, match="HOLDFAST_ENCRYPTION_KEYS"):
        problems_with({"HOLDFAST_ENCRYPTION_KEYS": "x"}, "web-01", ())
