"""The seven routes of /api/{user_id}/tasks."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from rest_framework.test import APIClient

from backups.actions import followups
from backups.errors import TaskGoneError
from backups.models import FollowUpTask, Site
from panel.accounts.models import User
from tests.backups.conftest import claimed, ended_job
from tests.backups.test_follow_ups import fail

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("settled_dispatch")]

ClientOf = Callable[[User], APIClient]
FIELDS = {
    *("id", "user_id", "title", "description", "completed", "completed_at", "due_at", "job_id"),
    *("site_id", "is_automatic", "created_at", "updated_at"),
}


@pytest.fixture
def own(site_admin: User, client_of: ClientOf) -> APIClient:
    """The client of a site's admin, with the address of their list."""
    client = client_of(site_admin)
    client.tasks = tasks(site_admin)
    return client


def tasks(user: User, rest: str = "") -> str:
    return f"/api/{user.pk}/tasks{rest}"


def add(user: User, title: str, hours: float | None = None, **fields: Any) -> FollowUpTask:
    due = None if hours is None else datetime.now(UTC) + timedelta(hours=hours)
    return followups.add_task(user=user, title=title, due_at=due, **fields)


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def titles(client: APIClient, query: str = "") -> list[str]:
    answer = client.get(f"{client.tasks}{query}")
    assert answer.status_code == 200, answer.content
    return [row["title"] for row in answer.json()["results"]]


@pytest.mark.parametrize("slash", ["", "/"])
def test_task_lives_through_all_routes(slash: str, own: APIClient, site_admin: User) -> None:
    made = own.post(f"{own.tasks}{slash}", {"title": "Call the host"})
    assert made.status_code == 201, made.content
    body = made.json()
    assert body.keys() == FIELDS
    assert body == {
        **body, "user_id": site_admin.pk, "title": "Call the host", "description": "",
        "completed": False, "completed_at": None, "due_at": None, "job_id": None, "site_id": None,
        "is_automatic": False,
    }  # fmt: skip
    assert body["created_at"].endswith("Z")
    url = f"{own.tasks}/{body['id']}"
    assert own.get(f"{url}{slash}").json() == body
    changed = own.put(f"{url}{slash}", {"title": "Call them", "due_at": "2030-01-02T03:04:05Z"})
    assert changed.status_code == 200
    assert changed.json()["due_at"] == "2030-01-02T03:04:05Z"
    assert moment(changed.json()["updated_at"]) > moment(body["updated_at"])
    done = own.patch(f"{url}/complete{slash}").json()
    assert (done["completed"], done["completed_at"][-1]) == (True, "Z")
    assert own.get(f"{own.tasks}/stats{slash}").json()["completed"] == 1
    undone = own.patch(f"{url}/complete{slash}").json()
    assert (undone["completed"], undone["completed_at"]) == (False, None)
    gone = own.delete(f"{url}{slash}")
    assert (gone.status_code, gone.content) == (204, b"")
    assert own.get(f"{url}{slash}").status_code == 404
    assert own.delete(f"{url}{slash}").status_code == 404


def test_put_replaces_what_it_leaves_out_but_not_whether_it_is_done(
    own: APIClient, site: Site, site_admin: User
) -> None:
    task = add(site_admin, "a", 1, description="text", job=ended_job(site), completed=True)
    body = own.put(f"{own.tasks}/{task.pk}", {"title": "b"}).json()
    assert (body["title"], body["description"], body["due_at"]) == ("b", "", None)
    assert (body["job_id"], body["site_id"], body["completed"]) == (None, None, True)
    since = body["completed_at"]
    body = own.put(f"{own.tasks}/{task.pk}", {"title": "b", "completed": True}).json()
    assert body["completed_at"] == since
    body = own.put(f"{own.tasks}/{task.pk}", {"title": "b", "completed": False}).json()
    assert (body["completed"], body["completed_at"]) == (False, None)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "title"),
        ({"title": ""}, "title"),
        ({"title": " "}, "title"),
        ({"title": "x" * 201}, "title"),
        ({"title": None}, "title"),
        ({"title": "x\0"}, "title"),
        ({"title": "x", "description": "x" * 2001}, "description"),
        ({"title": "x", "due_at": "tomorrow"}, "due_at"),
        ({"title": "x", "job_id": "1"}, "job_id"),
        ({"title": "x", "job_id": str(uuid.UUID(int=1))}, "job_id"),
        ({"title": "x", "completed": "perhaps"}, "completed"),
    ],
)
def test_reason_is_told_when_a_field_cannot_be(
    body: dict[str, Any], field: str, own: APIClient, site_admin: User
) -> None:
    task = add(site_admin, "before")
    for answer in (own.post(own.tasks, body), own.put(f"{own.tasks}/{task.pk}", body)):
        assert (answer.status_code, list(answer.json()["errors"])) == (400, [field])
    assert [row.title for row in FollowUpTask.objects.all()] == ["before"]


def test_longest_texts_are_kept(own: APIClient) -> None:
    body = {"title": "😀" * 200, "description": "ä" * 2000}
    made = own.post(own.tasks, body)
    assert made.status_code == 201
    assert own.get(f"{own.tasks}/{made.json()['id']}").json().items() >= body.items()


def test_job_must_be_one_that_the_owner_may_see(
    own: APIClient, api: APIClient, site: Site, other_site: Site, site_admin: User
) -> None:
    mine, others = ended_job(site), ended_job(other_site)
    made = own.post(own.tasks, {"title": "x", "job_id": str(mine.pk)})
    assert (made.status_code, made.json()["job_id"]) == (201, str(mine.pk))
    assert made.json()["site_id"] == site.pk
    # A super admin may see it, but it is not their list.
    for client in (own, api):
        body = {"title": "x", "job_id": str(others.pk)}
        assert client.post(own.tasks, body).status_code == 403
        assert client.put(f"{own.tasks}/{made.json()['id']}", body).status_code == 403
    assert FollowUpTask.objects.get().job_id == mine.pk
    # What is there may stay when the site is taken away from the owner.
    site.admins.clear()
    body = {"title": "y", "job_id": str(mine.pk)}
    assert own.put(f"{own.tasks}/{made.json()['id']}", body).status_code == 200
    assert own.post(own.tasks, body).status_code == 403


def test_what_is_not_asked_of_a_person_is_not_taken_from_them(
    own: APIClient, site: Site, site_admin: User, super_admin: User
) -> None:
    """Owner, origin and times are the panel's; refused or left out, they change nothing."""
    own.post(
        own.tasks,
        {
            "title": "x", "id": 77, "user_id": super_admin.pk, "user": super_admin.pk,
            "is_automatic": True, "failed_job": str(uuid.uuid4()), "site_id": site.pk,
            "site": site.pk, "created_at": "2000-01-01T00:00:00Z",
            "completed_at": "2000-01-01T00:00:00Z",
        },
    )  # fmt: skip
    for task in FollowUpTask.objects.all():
        assert (task.user_id, task.failed_job, task.site_id) == (site_admin.pk, None, None)
        assert (task.created_at.year > 2000, task.completed_at) == (True, None)


def test_list_of_another_is_forbidden_and_of_nobody_not_found(
    own: APIClient, super_admin: User, node_admin: User
) -> None:
    theirs = add(super_admin, "theirs")
    for user_id, status in ((super_admin.pk, 403), (node_admin.pk, 403), (987654, 404),
                            (10**30, 404), (0, 404)):  # fmt: skip
        url = f"/api/{user_id}/tasks"
        answers = [
            own.get(url), own.post(url, {"title": "x"}), own.get(f"{url}/stats"),
            own.get(f"{url}/{theirs.pk}"), own.put(f"{url}/{theirs.pk}", {"title": "x"}),
            own.patch(f"{url}/{theirs.pk}/complete"), own.delete(f"{url}/{theirs.pk}"),
        ]  # fmt: skip
        assert [answer.status_code for answer in answers] == [status] * 7
        assert all("code" in answer.json() for answer in answers)
    assert list(FollowUpTask.objects.all()) == [theirs]


def test_task_of_another_is_not_found_below_ones_own_id(own: APIClient, super_admin: User) -> None:
    theirs = add(super_admin, "theirs")
    url = f"{own.tasks}/{theirs.pk}"
    answers = [own.get(url), own.put(url, {"title": "x"}), own.delete(url),
               own.patch(f"{url}/complete"), own.get(f"{own.tasks}/{10**30}")]  # fmt: skip
    assert [answer.status_code for answer in answers] == [404] * 5
    assert not FollowUpTask.objects.get().is_completed


def test_task_is_not_found_when_it_goes_while_it_is_changed(site_admin: User) -> None:
    """As when two browsers have the same list open."""
    task = add(site_admin, "x")
    followups.delete_task(task=task)
    for change in (lambda: followups.toggle_task(task=task),
                   lambda: followups.change_task(task=task, title="y")):  # fmt: skip
        with pytest.raises(TaskGoneError) as caught:
            change()
        assert (caught.value.status, caught.value.code) == (404, "not_found")
    followups.delete_task(task=task)
    assert not FollowUpTask.objects.exists()


def test_super_admin_reaches_everybodys_list(
    api: APIClient, own: APIClient, site_admin: User, super_admin: User
) -> None:
    mine = add(super_admin, "not for you")
    assert api.get(f"{own.tasks}/{mine.pk}").status_code == 404
    assert api.get(own.tasks).json()["count"] == api.get(f"{own.tasks}/stats").json()["total"] == 0
    made = api.post(own.tasks, {"title": "for you"})
    assert (made.status_code, made.json()["user_id"]) == (201, site_admin.pk)
    assert titles(own) == ["for you"]
    assert api.patch(f"{own.tasks}/{made.json()['id']}/complete").json()["completed"] is True
    assert api.delete(f"{own.tasks}/{made.json()['id']}").status_code == 204


def test_pages_meet_without_overlap_when_all_are_equal(own: APIClient, site_admin: User) -> None:
    now = datetime.now(UTC)
    for _ in range(7):
        add(site_admin, "same")
    FollowUpTask.objects.update(created_at=now)
    for ordering in ("", "&ordering=title", "&ordering=-due_at", "&ordering=completed"):
        seen, url = [], f"{own.tasks}?limit=3{ordering}"
        while url:
            body = own.get(url).json()
            assert body.keys() == {"count", "next", "previous", "results"}
            assert body["count"] == 7
            seen += [row["id"] for row in body["results"]]
            url = body["next"]
        assert (len(seen), len(set(seen))) == (7, 7)


def test_tasks_are_ordered_as_asked(own: APIClient, site_admin: User) -> None:
    add(site_admin, "b", 2)
    add(site_admin, "c", completed=True)
    add(site_admin, "a", 1)
    for hours, title in enumerate("bca"):
        made = datetime.now(UTC) + timedelta(hours=hours)
        FollowUpTask.objects.filter(title=title).update(created_at=made)
    assert titles(own) == ["a", "c", "b"]
    assert titles(own, "?ordering=created_at") == ["b", "c", "a"]
    assert titles(own, "?ordering=title") == ["a", "b", "c"]
    assert titles(own, "?ordering=-title") == ["c", "b", "a"]
    # Without a due date is last, whichever way.
    assert titles(own, "?ordering=due_at") == ["a", "b", "c"]
    assert titles(own, "?ordering=-due_at") == ["b", "a", "c"]
    assert titles(own, "?ordering=completed,title") == ["a", "b", "c"]
    assert titles(own, "?ordering=-completed,title") == ["c", "a", "b"]


def test_tasks_are_chosen_as_asked(
    own: APIClient, site: Site, site_admin: User, node_admin: User
) -> None:
    job = ended_job(site)
    add(node_admin, "not mine", -1)
    add(site_admin, "late", -1, description="the disk of web-01")
    add(site_admin, "soon", 1, job=job)
    add(site_admin, "whenever")
    add(site_admin, "done late", -1, completed=True)
    chosen = {
        "": {"late", "soon", "whenever", "done late"},
        "?completed=true": {"done late"},
        "?completed=false": {"late", "soon", "whenever"},
        "?overdue=true": {"late"},
        "?overdue=false": {"soon", "whenever", "done late"},
        "?overdue=false&completed=false": {"soon", "whenever"},
        f"?job_id={job.pk}": {"soon"},
        f"?job_id={uuid.UUID(int=1)}": set(),
        f"?site_id={site.pk}": {"soon"},
        "?site_id=99": set(),
        "?search=LATE": {"late", "done late"},
        "?search=web-01": {"late"},
    }
    for query, expected in chosen.items():
        assert set(titles(own, query)) == expected, query


@pytest.mark.parametrize(
    "query", ["completed=perhaps", "overdue=2x", "job_id=1", "site_id=x", "site_id=-1",
              f"site_id={10**30}", "limit=0", "limit=501", "limit=x", "offset=-1"],
)  # fmt: skip
def test_filter_is_refused_when_it_is_none(query: str, own: APIClient) -> None:
    answer = own.get(f"{own.tasks}?{query}")
    assert (answer.status_code, list(answer.json()["errors"])) == (400, [query.partition("=")[0]])


def test_numbers_are_those_of_one_person(own: APIClient, site_admin: User, api: APIClient) -> None:
    stats = f"{own.tasks}/stats"
    assert own.get(stats).json() == {
        "total": 0, "completed": 0, "pending": 0, "overdue": 0, "completion_rate": 0.0,
    }  # fmt: skip
    add(site_admin, "late", -1)
    add(site_admin, "soon", 1)
    add(site_admin, "done", -1, completed=True)
    for answer in (own.get(stats), api.get(stats)):
        assert answer.json() == {
            "total": 3, "completed": 1, "pending": 2, "overdue": 1, "completion_rate": 33.3,
        }  # fmt: skip


def test_job_of_an_automatic_task_stays(own: APIClient, site: Site, site_admin: User) -> None:
    fail(claimed(site))
    [body] = own.get(own.tasks).json()["results"]
    assert (body["is_automatic"], body["site_id"]) == (True, site.pk)
    url = f"{own.tasks}/{body['id']}"
    changed = own.put(url, {"title": "Disk of example.com", "due_at": "2030-01-01T00:00:00Z"})
    assert (changed.json()["job_id"], changed.json()["site_id"]) == (body["job_id"], site.pk)
    refused = own.put(url, {"title": "x", "job_id": str(ended_job(site).pk)})
    assert (refused.status_code, list(refused.json()["errors"])) == (400, ["job_id"])
    assert own.put(url, {"title": "x", "job_id": body["job_id"]}).status_code == 200


def test_list_takes_as_many_queries_for_one_task_as_for_many(
    own: APIClient, site: Site, site_admin: User
) -> None:
    add(site_admin, "first", job=ended_job(site))
    with CaptureQueriesContext(connection) as few:
        own.get(own.tasks)
    for number in range(9):
        add(site_admin, f"{number}", job=ended_job(site))
    with CaptureQueriesContext(connection) as many:
        assert own.get(own.tasks).json()["count"] == 10
    assert len(many) == len(few)


def test_nothing_else_below_api_is_hidden(api: APIClient, super_admin: User) -> None:
    assert api.get("/api/auth/me").json()["id"] == super_admin.pk
    assert api.get("/api/schema/").status_code == 200
    assert api.get("/api/v1/jobs").status_code == 200
    for path in ("/api/x/tasks", "/api/-1/tasks", "/api/1/tasks/x", "/api/1/task", "/api/1"):
        answer = api.get(path)
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert api.post(f"/api/{super_admin.pk}/tasks/stats", {}).status_code == 405
    assert api.put(f"/api/{super_admin.pk}/tasks", {}).status_code == 405


def test_page_is_shown_when_a_browser_looks_at_a_list_of_another(
    site_admin: User, super_admin: User
) -> None:
    client = APIClient()
    client.force_login(site_admin)
    html = {"accept": "text/html"}
    answer = client.get(tasks(super_admin), headers=html)
    assert (answer.status_code, "permission" in answer.content.decode()) == (403, True)
    own = client.get(tasks(site_admin), headers=html)
    assert 'name="title"' in own.content.decode()
