"""The dashboard's list of running jobs: one connection for all of them."""

from __future__ import annotations

import http.client
import http.cookiejar
import json
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlencode

import pytest
from django.db.models.functions import Now
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from backups.actions import jobs
from backups.models import Job, Node, Site, Storage
from backups.queries.watched import JOBS_SHOWN, Running, running_for, watched_statuses
from backups.roles import Role
from panel.accounts.models import User
from panel.accounts.stream_access import StreamRight
from panel.dashboard.rights import Viewer, still_allowed
from panel.dashboard.snapshots import take_snapshots
from tests.servers.cluster import EMAIL, PASSWORD, Cluster

BASE = "/admin/backup-maintenance"
EMPTY = {"jobs": [], "total": 0}


def _site(node: Node, name: str) -> Site:
    storage, _ = Storage.objects.get_or_create(
        name="s", defaults={"type": "local", "config": {"path": "/srv"}}
    )
    return Site.objects.create(name=name, node=node, storage=storage, wp_path=f"/srv/{name}")


def _started(site: Site, state: str = "running", **fields: object) -> Job:
    job = jobs.start_backup(site=site)
    Job.objects.filter(pk=job.pk).update(state=state, **fields)
    return job


@pytest.fixture
def nodes(db: None) -> list[Node]:
    return [Node.objects.create(name=f"web-{n}", allowed_roots=["/srv"]) for n in range(2)]


@pytest.fixture
def browser_of() -> Callable[..., Client]:
    def make(role: Role, *, nodes: tuple[Node, ...] = (), sites: tuple[Site, ...] = ()) -> Client:
        user = User.objects.create_user(f"{uuid.uuid4().hex}@example.com", role=role, is_staff=True)
        user.assigned_sites.set(sites)
        for node in nodes:
            node.admins.add(user)
        client = Client()
        client.force_login(user)
        return client

    return make


def _listed(client: Client, query: str = "") -> list[str]:
    answer = client.get(f"{BASE}/running{query}")
    assert answer.status_code == 200, answer.content
    assert answer.json().keys() == {"jobs", "total"}
    return [status["site_name"] for status in answer.json()["jobs"]]


def test_everybody_sees_the_jobs_of_their_sites_alone(
    nodes: list[Node], browser_of: Callable[..., Client]
) -> None:
    sites = [_site(nodes[n % 2], f"s{n}") for n in range(4)]
    for number, site in enumerate(sites):
        _started(site, progress=50 - number)
    superuser = browser_of(Role.SUPER_ADMIN)
    assert _listed(superuser) == ["s0", "s1", "s2", "s3"]
    assert _listed(superuser, f"?node={nodes[1].pk}") == ["s1", "s3"]
    keeper = browser_of(Role.NODE_ADMIN, nodes=(nodes[0],), sites=(sites[1],))
    assert _listed(keeper) == ["s0", "s1", "s2"]
    assert _listed(keeper, f"?node={nodes[1].pk}") == ["s1"]
    assert _listed(browser_of(Role.SITE_ADMIN, sites=(sites[3],))) == ["s3"]
    assert _listed(browser_of(Role.SITE_ADMIN)) == []
    for path in ("running", "running-sse"):
        assert superuser.get(f"{BASE}/{path}?node=x").json()["code"] == "invalid"


def test_furthest_along_stand_first_and_ended_ones_nowhere(
    nodes: list[Node], browser_of: Callable[..., Client]
) -> None:
    wanted = [
        ("second", "running", {"stages_done": 1, "progress": 30}),
        ("waits", "queued", {}),
        ("urgent", "queued", {"priority": 5}),
        ("ended", "completed", {"active_site": None, "finished_at": Now()}),
        ("first", "stopping", {"stages_done": 3, "progress": 61}),
        ("third", "dispatched", {}),
    ]
    for name, state, fields in wanted:
        _started(_site(nodes[0], name), state, **fields)
    shown = ["first", "second", "third", "urgent", "waits"]
    assert _listed(browser_of(Role.SUPER_ADMIN)) == shown


def test_each_job_is_the_status_object_that_its_own_route_gives(
    nodes: list[Node], browser_of: Callable[..., Client]
) -> None:
    job = _started(_site(nodes[0], "a"))
    client = browser_of(Role.SUPER_ADMIN)
    listed = client.get(f"{BASE}/running").json()
    alone = client.get(f"{BASE}/backup-progress/{job.pk}").json()
    assert listed == {"jobs": [alone], "total": 1}
    key = Running(None)
    assert json.loads(take_snapshots([key])[key].data) == listed


def test_queries_stay_when_there_are_more_jobs_than_are_shown(
    nodes: list[Node], django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    user = User.objects.create_user("keeper@example.com", role=Role.NODE_ADMIN)
    nodes[0].admins.add(user)
    for number in range(JOBS_SHOWN + 5):
        _started(_site(nodes[number % 2], f"s{number}"))
        if number not in (1, JOBS_SHOWN + 4):
            continue
        keys = [Running(None), running_for(user), running_for(user, nodes[0].pk)]
        # Users, twice who sees what, for each key its jobs; then jobs, sites, nodes, stages.
        with django_assert_num_queries(12):
            shown = watched_statuses(keys)
    assert [shown[key]["total"] for key in keys] == [JOBS_SHOWN + 5, 28, 28]
    assert [len(shown[key]["jobs"]) for key in keys] == [JOBS_SHOWN, 28, 28]


def test_list_is_news_when_a_job_in_it_is_and_never_the_last(nodes: list[Node]) -> None:
    key = Running(None)
    empty = take_snapshots([key])[key]
    assert json.loads(empty.data) == {"jobs": [], "total": 0}
    job = _started(_site(nodes[0], "a"))
    begun = take_snapshots([key])[key]
    assert begun.event_id == take_snapshots([key])[key].event_id != empty.event_id
    Job.objects.filter(pk=job.pk).update(progress=7)
    assert take_snapshots([key])[key].event_id != begun.event_id
    assert not begun.is_last
    assert not empty.is_last
    gone = Running(10**9)
    assert take_snapshots([gone]) == {}


@pytest.mark.parametrize(
    "change", [{"is_active": False}, {"is_staff": False}, {"role": Role.SITE_ADMIN}]
)
def test_viewer_may_not_go_on_when_they_are_no_longer_who_they_were(
    change: dict[str, object], db: None
) -> None:
    user = User.objects.create_superuser("super@example.com", "x")
    right = StreamRight(user, None, user.get_session_auth_hash())
    viewer = Viewer(right, None, "", Role.SUPER_ADMIN, must_be_staff=True)
    assert still_allowed({viewer}) == {viewer}
    User.objects.filter(pk=user.pk).update(**change)
    assert still_allowed({viewer}) == set()


@pytest.fixture
def browser(sqlite_cluster: Cluster) -> urllib.request.OpenerDirector:
    """A browser that is signed in to the admin."""
    cookies = http.cookiejar.CookieJar()
    opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(cookies))
    url = f"http://127.0.0.1:{sqlite_cluster.port}/admin/login/?next=/health/live"
    opener.open(url).read()
    token = next(cookie.value for cookie in cookies if cookie.name == "csrftoken")
    form = {"username": EMAIL, "password": PASSWORD, "csrfmiddlewaretoken": token}
    assert opener.open(url, urlencode(form).encode()).status == 200
    return opener


def _events(response: http.client.HTTPResponse) -> Iterator[dict[str, Any]]:
    event: dict[str, Any] = {}
    while line := response.readline().decode():
        name, _, value = line.rstrip("\n").partition(": ")
        if line == "\n" and "data" in event:
            yield event | {"data": json.loads(event["data"])}
            event = {}
        elif name:
            event[name] = value


@pytest.mark.slow
def test_jobs_come_and_go_on_one_stream_until_the_session_ends(
    sqlite_cluster: Cluster, browser: urllib.request.OpenerDirector
) -> None:
    base = f"http://127.0.0.1:{sqlite_cluster.port}{BASE}"
    body = {"name": "running.example", "node_id": 1, "wp_path": str(sqlite_cluster.directory)}
    store = {"name": "running", "type": "local", "config": {"path": str(sqlite_cluster.spool)}}
    storage = sqlite_cluster.post("/api/v1/storage/providers", store).body["id"]
    site = sqlite_cluster.post("/api/v1/sites/", {**body, "storage_id": storage}).body["id"]
    assert sqlite_cluster.post("/api/v1/nodes/1/drain").status == 202
    try:
        with browser.open(f"{base}/running-sse?interval=1", timeout=60) as response:
            assert response.headers["Content-Type"] == "text/event-stream"
            stream = _events(response)
            first = next(stream)
            assert (first["data"], "id" in first, "retry" in first) == (EMPTY, True, True)
            # Nothing happens, and it is said again all the same.
            assert next(stream)["data"] == EMPTY
            assert sqlite_cluster.post(f"/api/v1/sites/{site}/backup/start").status == 202
            begun = next(event["data"] for event in stream if event["data"]["total"])
            assert [job["site_name"] for job in begun["jobs"]] == ["running.example"]
            assert json.loads(browser.open(f"{base}/running").read()) == begun
            assert sqlite_cluster.post(f"/api/v1/sites/{site}/backup/stop").status == 202
            assert next(event["data"] for event in stream if not event["data"]["total"]) == EMPTY
            code = (
                "from django.contrib.sessions.models import Session; Session.objects.all().delete()"
            )
            sqlite_cluster.manage("shell", "-c", code)
            last = list(stream)[-1]
        assert (last["event"], last["data"]["code"]) == ("end", "not_authenticated")
    finally:
        assert sqlite_cluster.post("/api/v1/nodes/1/resume").status == 202
