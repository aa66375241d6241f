"""POST /api/v1/daemon/backup/reset/{id}."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connection
from rest_framework.test import APIClient

from backups.actions import attempts, leftovers
from backups.actions.attempts import Progress
from backups.actions.leftovers import CleanupReport
from backups.models import Backup, Job, Site, Worker
from panel.accounts.models import User
from tests.backups.conftest import claimed, ended_job

pytestmark = pytest.mark.usefixtures("closed_broker")
ClientOf = Callable[[User], APIClient]
NOTHING = {
    "done": True,
    "dirs_removed": 0,
    "space_freed_mb": 0.0,
    "processes_killed": 0,
    "uploads_aborted": 0,
    "objects_deleted": 0,
    "note": None,
}


def url(site: Site) -> str:
    return f"/api/v1/daemon/backup/reset/{site.pk}"


def status(api: APIClient, site: Site) -> str:
    return str(api.get(f"/api/v1/sites/{site.pk}/backup/status").json()["status"])


def test_nothing_to_reset_is_no_error(api: APIClient, site: Site) -> None:
    for _ in range(2):
        answer = api.post(url(site))
        assert answer.status_code == 200
        assert answer.json() == {
            "success": True,
            "message": "Backup status reset to idle for example.com",
            "status": "idle",
            "site_id": site.pk,
            "job_id": None,
            "revoked": [],
            "cleanup": NOTHING,
        }


def test_running_job_is_given_up_and_can_change_nothing_any_more(
    api: APIClient, site: Site
) -> None:
    attempt = claimed(site)
    waiting = {str(stage.task_id) for stage in Job.objects.get().stages.all()}
    answer = api.post(url(site)).json()
    assert (answer["job_id"], set(answer["revoked"])) == (str(attempt.job_id), waiting)
    # No worker has been seen: nobody waits, and the answer says when the rest will go.
    assert (answer["cleanup"]["done"], answer["cleanup"]["dirs_removed"]) == (False, 0)
    assert "web-01" in answer["cleanup"]["note"]
    done = {"outputs": {}, "detail": "", "warnings": [], "progress": Progress(1, 1)}
    assert not attempts.finish_stage(attempt, **done)
    assert status(api, site) == "idle"
    again = api.post(f"/api/v1/sites/{site.pk}/backup/start")
    assert again.status_code == 202
    assert status(api, site) == "running"


def test_second_reset_finds_nothing_and_is_no_error(api: APIClient, site: Site) -> None:
    claimed(site)
    first = api.post(url(site)).json()
    second = api.post(url(site)).json()
    assert (second["job_id"], second["revoked"], second["status"]) == (None, [], "idle")
    # What the first one left to the node is still to be removed.
    assert second["cleanup"] == first["cleanup"]
    assert not second["cleanup"]["done"]
    [leftover] = leftovers.leftovers_of(site.node_id)
    leftovers.record_cleanup(leftover, CleanupReport(folders_removed=1))
    assert api.post(url(site)).json()["cleanup"] == NOTHING
    assert Job.objects.get().epoch == 2


def test_site_reads_idle_and_its_job_keeps_its_story_when_a_failed_one_is_reset(
    api: APIClient, site: Site
) -> None:
    job = ended_job(site, "failed", error_code="no_room", error_message="No room.", progress=40)
    assert api.post(url(site)).json()["status"] == "idle"
    assert status(api, site) == "idle"
    assert api.get(f"/api/v1/sites/{site.pk}").json()["status"] == "idle"
    kept = api.get(f"/api/v1/jobs/{job.pk}").json()
    assert (kept["status"], kept["error"], kept["progress"]) == ("failed", "No room.", 40)
    assert len(kept["stages"]) == 5


def test_reset_is_for_admins_of_the_node_alone(
    site: Site,
    other_site: Site,
    node_admin: User,
    site_admin: User,
    anonymous: APIClient,
    client_of: ClientOf,
) -> None:
    claimed(site)
    refused = client_of(site_admin).post(url(site))
    assert (refused.status_code, refused.json()["code"]) == (403, "permission_denied")
    assert "stop" in refused.json()["detail"]
    assert anonymous.post(url(site)).status_code == 401
    # Somebody else's node, though the site itself is the user's own.
    other_site.admins.add(node_admin)
    assert client_of(node_admin).post(url(other_site)).status_code == 403
    assert Job.objects.get().state == "running"
    assert client_of(node_admin).post("/api/v1/daemon/backup/reset/999").status_code == 404
    assert client_of(node_admin).post(url(site)).status_code == 200
    assert Job.objects.get().state == "reset"


@pytest.fixture
def janitor(node: object, live_worker: Worker) -> Iterator[None]:
    """What a node's agent tells, without the agent: it notes one clean-up as soon as there is one.

    The real one is in test_control_with_workers.py.
    """
    ended = threading.Event()

    def clean() -> None:
        # What was removed once is not there when a second look comes.
        found = CleanupReport(1, 12_897_485, 3, 1, 0)
        while not ended.wait(0.05):
            for leftover in leftovers.leftovers_of(live_worker.node_id):
                leftovers.record_cleanup(leftover, found)
                found = CleanupReport(0, 0, 0, 0, 0)
        connection.close()

    thread = threading.Thread(target=clean)
    thread.start()
    yield
    ended.set()
    thread.join()


@pytest.mark.django_db(transaction=True)
def test_evidence_is_in_the_answer_when_the_node_cleans_up(
    api: APIClient, site: Site, settled_dispatch: None, janitor: None
) -> None:
    claimed(site)
    assert api.post(url(site)).json()["cleanup"] == {
        "done": True,
        "dirs_removed": 1,
        "space_freed_mb": 12.3,
        "processes_killed": 3,
        "uploads_aborted": 1,
        "objects_deleted": 0,
        "note": None,
    }


def test_answer_does_not_wait_for_ever_when_the_node_says_nothing(
    api: APIClient, site: Site, live_worker: Worker, settings: Any
) -> None:
    settings.HOLDFAST_NODE_ANSWER_SECONDS = 0.3
    claimed(site)
    cleanup = api.post(url(site)).json()["cleanup"]
    assert (cleanup["done"], bool(cleanup["note"])) == (False, True)
    assert Job.objects.get().cleanup_pending


@pytest.mark.django_db(transaction=True)
def test_one_of_two_wins_when_both_reset_at_once(
    super_admin: User, site: Site, client_of: ClientOf, settled_dispatch: None
) -> None:
    claimed(site)
    clients = [client_of(super_admin) for _ in range(4)]

    def reset(client: APIClient) -> dict[str, object]:
        try:
            answer = client.post(url(site))
            assert answer.status_code == 200, answer.content
            body: dict[str, object] = answer.json()
            return body
        finally:
            connection.close()

    with ThreadPoolExecutor(len(clients)) as pool:
        bodies = list(pool.map(reset, clients))
    assert sum(body["job_id"] is not None for body in bodies) == 1
    assert {body["status"] for body in bodies} == {"idle"}
    job = Job.objects.get()
    assert (job.state, job.epoch, Backup.objects.count()) == ("reset", 2, 0)
