"""GET /api/v1/daemon/backup/stream/{id}, against a running panel with a worker."""

from __future__ import annotations

import http.client
import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.servers.cluster import EMAIL, PASSWORD, Cluster

pytestmark = pytest.mark.slow
Event = dict[str, str]


@pytest.fixture(scope="module")
def site_id(sqlite_cluster: Cluster) -> int:
    sqlite_cluster.ensure_worker()
    store = sqlite_cluster.directory / "streams-store"
    root = sqlite_cluster.directory / "streams.example"
    (root / "wp-content").mkdir(parents=True)
    (root / "wp-content" / "file").write_bytes(b"x" * 1000)
    store.mkdir()
    answer = sqlite_cluster.post(
        "/api/v1/storage/providers",
        {"name": "streams", "type": "local", "config": {"path": str(store)}},
    )
    assert answer.status == 201, answer
    body = {
        "name": "streams.example",
        "node_id": 1,
        "wp_path": str(root),
        "db_engine": "none",
        "storage_id": answer.body["id"],
    }
    answer = sqlite_cluster.post("/api/v1/sites/", body)
    assert answer.status == 201, answer
    return int(answer.body["id"])


@pytest.fixture
def url(site_id: int) -> str:
    return f"/api/v1/daemon/backup/stream/{site_id}"


@contextmanager
def opened(
    cluster: Cluster, path: str, headers: dict[str, str] | None = None
) -> Iterator[http.client.HTTPResponse]:
    connection = http.client.HTTPConnection("127.0.0.1", cluster.port, timeout=60)
    wanted = {"Accept": "text/event-stream", **(headers or {})}
    connection.request("GET", path, headers=wanted)
    try:
        yield connection.getresponse()
    finally:
        connection.close()


def events(response: http.client.HTTPResponse) -> Iterator[Event]:
    """Yield the events as a browser reads them, until the stream ends."""
    event: Event = {}
    while line := response.readline().decode():
        if line == "\n":
            if event:
                yield event
            event = {}
        elif not line.startswith(":"):
            name, _, value = line.rstrip("\n").partition(": ")
            event[name] = value


def ticket(cluster: Cluster) -> str:
    answer = cluster.post("/api/v1/auth/stream-ticket")
    assert (answer.status, answer.body["expires_in"]) == (200, 60)
    return str(answer.body["ticket"])


def refused(cluster: Cluster, path: str, **headers: str) -> tuple[int, str, str]:
    with opened(cluster, path, headers) as response:
        body = json.loads(response.read())
        assert body.keys() >= {"detail", "code", "request_id"}
        return response.status, body["code"], response.headers["Content-Type"]


def test_each_change_is_told_until_the_backup_has_ended(
    sqlite_cluster: Cluster, site_id: int, url: str
) -> None:
    with opened(sqlite_cluster, f"{url}?token={ticket(sqlite_cluster)}&interval=60") as response:
        assert response.headers["Content-Type"] == "text/event-stream"
        assert response.headers["X-Accel-Buffering"] == "no"
        stream = events(response)
        first = next(stream)
        before = json.loads(first["data"])
        started = sqlite_cluster.post(f"/api/v1/sites/{site_id}/backup/start")
        assert started.status == 202, started
        told = list(stream)
    shown = [json.loads(event["data"]) for event in told]
    assert before["status"] == "idle"
    assert {"id", "retry", "data"} == set(first)
    assert [status["status"] for status in shown][-1] == "completed"
    assert {status["status"] for status in shown[:-1]} <= {"running"}
    progress = [status["progress"] for status in shown]
    assert progress == sorted(progress)
    assert progress[-1] == 100
    ids = [event["id"] for event in told]
    assert len(set(ids)) == len(ids)
    same = sqlite_cluster.get(f"/api/v1/sites/{site_id}/backup/status").body
    assert shown[-1] == same
    # Who saw the end is told to come no more; who did not gets it.
    again = f"{url}?token={sqlite_cluster.token}"
    with opened(sqlite_cluster, again, {"Last-Event-ID": ids[-1]}) as response:
        assert (response.status, response.read()) == (204, b"")
    with opened(sqlite_cluster, again, {"Last-Event-ID": first["id"]}) as response:
        assert [event["id"] for event in events(response)] == [ids[-1]]


def test_two_viewers_are_told_the_same_when_a_backup_is_stopped(
    sqlite_cluster: Cluster, site_id: int, url: str
) -> None:
    assert sqlite_cluster.post("/api/v1/nodes/1/drain").status == 202
    try:
        assert sqlite_cluster.post(f"/api/v1/sites/{site_id}/backup/start").status == 202
        path = f"{url}?token={sqlite_cluster.token}&interval=1"
        with opened(sqlite_cluster, path) as one, opened(sqlite_cluster, path) as other:
            first, second = events(one), events(other)
            assert next(first)["id"] == next(second)["id"]
            # Nothing happens, and it is said again all the same.
            assert next(first)["id"] == next(second)["id"]
            assert sqlite_cluster.post(f"/api/v1/sites/{site_id}/backup/stop").status == 202
            ends = [json.loads(list(stream)[-1]["data"]) for stream in (first, second)]
        assert ends[0] == ends[1]
        assert ends[0]["status"] == "stopped"
    finally:
        assert sqlite_cluster.post("/api/v1/nodes/1/resume").status == 202


def test_stream_ends_when_the_sign_in_that_opened_it_does(
    sqlite_cluster: Cluster, site_id: int, url: str
) -> None:
    assert sqlite_cluster.post(f"/api/v1/daemon/backup/reset/{site_id}").status == 200
    signed_in = sqlite_cluster.post("/api/auth/login", {"email": EMAIL, "password": PASSWORD})
    token = signed_in.body["access_token"]
    with opened(sqlite_cluster, f"{url}?token={token}&interval=60") as response:
        stream = events(response)
        assert json.loads(next(stream)["data"])["status"] == "idle"
        out = http.client.HTTPConnection("127.0.0.1", sqlite_cluster.port)
        out.request("POST", "/api/auth/logout", headers={"Authorization": f"Bearer {token}"})
        assert out.getresponse().status == 200
        last = list(stream)
    assert [event["event"] for event in last] == ["end"]
    assert json.loads(last[0]["data"])["code"] == "not_authenticated"


def test_ticket_opens_one_stream_and_nothing_else(sqlite_cluster: Cluster, url: str) -> None:
    one = ticket(sqlite_cluster)
    with opened(sqlite_cluster, f"{url}?ticket={one}") as response:
        assert response.status == 200
    json_type = "application/json"
    assert refused(sqlite_cluster, f"{url}?ticket={one}") == (401, "ticket_not_valid", json_type)
    bearer = {"Authorization": f"Bearer {ticket(sqlite_cluster)}", "Accept": "application/json"}
    assert refused(sqlite_cluster, "/api/v1/sites/", **bearer)[:2] == (401, "token_not_valid")


def test_answer_is_json_when_the_stream_is_refused(sqlite_cluster: Cluster, url: str) -> None:
    good, json_type = f"token={sqlite_cluster.token}", "application/json"
    assert refused(sqlite_cluster, url) == (401, "not_authenticated", json_type)
    assert refused(sqlite_cluster, f"{url}?token=a.b.c") == (401, "token_not_valid", json_type)
    gone = f"/api/v1/daemon/backup/stream/{2**40}?{good}"
    assert refused(sqlite_cluster, gone) == (404, "not_found", json_type)
    for interval in ("0", "61", "soon"):
        wrong = f"{url}?{good}&interval={interval}"
        assert refused(sqlite_cluster, wrong) == (400, "invalid", json_type)


def test_neither_token_nor_ticket_is_in_any_log(sqlite_cluster: Cluster, url: str) -> None:
    secret = f"tkt_{uuid.uuid4().hex}"
    for credential in (secret, sqlite_cluster.token):
        for name in ("token", "ticket"):
            with opened(sqlite_cluster, f"{url}?{name}={credential}") as response:
                response.read(1)
    said = "".join(path.read_text() for path in Path(sqlite_cluster.directory).glob("*.log"))
    assert "/daemon/backup/stream/" in said
    assert secret not in said
    assert sqlite_cluster.token not in said
