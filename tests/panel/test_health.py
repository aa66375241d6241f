"""/health and /health/live."""

from __future__ import annotations

import re
import socket
import threading
import time
from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.db import connection
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder
from django.db.models.functions import Now
from rest_framework.test import APIClient

from backups.models import Job, Leadership, Node, Site, Storage, Worker
from panel import health
from tests.servers.redis import RedisServer

pytestmark = pytest.mark.django_db(transaction=True)
PARTS = {"database", "schema", "broker", "workers", "coordinator", "storage"}


@pytest.fixture
def everything(redis_server: RedisServer, settings: pytest.FixtureRequest) -> None:
    settings.CELERY_BROKER_URL = redis_server.url
    node = Node.objects.create(name="web-01", allowed_roots=["/srv"])
    Worker.objects.create(
        name="w", node=node, hostname="h", process_id=1, started_at=Now(), last_seen_at=Now()
    )
    Storage.objects.create(name="folder", type="local", config={"path": "/srv"})
    Leadership.objects.create(
        name="coordinator", holder="a-host-of-ours", expires_at=Now() + timedelta(minutes=5)
    )


@pytest.fixture(autouse=True)
def nothing_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Begin without the check that another test let hang."""
    monkeypatch.setattr(health, "_running", {})


def failed(body: dict) -> set[str]:
    return {name for name in PARTS if body[name]["status"] != "ok"}


def test_all_is_healthy_when_every_part_answers(client: APIClient, everything: None) -> None:
    answer = client.get("/health")
    assert answer.status_code == 200
    body = answer.json()
    assert body.keys() == {"status", "timestamp", *PARTS}
    assert (body["status"], failed(body)) == ("healthy", set())
    assert all(0 <= body[name]["duration_ms"] < 10_000 for name in PARTS)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", body["timestamp"])
    # It is public: neither hosts nor paths are anybody's business.
    for private in ("a-host-of-ours", "web-01", "/srv", "folder"):
        assert private not in answer.content.decode()


def test_broker_behind_a_socket_is_asked_there(
    client: APIClient,
    everything: None,
    redis_server: RedisServer,
    settings: pytest.FixtureRequest,
) -> None:
    settings.CELERY_BROKER_URL = redis_server.socket_url
    assert failed(client.get("/health").json()) == set()


def test_panel_works_on_when_broker_workers_and_storages_are_away(
    client: APIClient, settings: pytest.FixtureRequest
) -> None:
    settings.CELERY_BROKER_URL = "redis://:a-secret@127.0.0.1:9/0"
    answer = client.get("/health")
    assert (answer.status_code, answer.json()["status"]) == (200, "degraded")
    assert failed(answer.json()) == {"broker", "workers", "coordinator", "storage"}
    assert "a-secret" not in answer.content.decode()


def test_panel_is_degraded_when_jobs_wait_for_a_worker(client: APIClient, everything: None) -> None:
    node = Node.objects.create(name="web-02")
    storage = Storage.objects.get()
    site = Site.objects.create(name="example.com", node=node, storage=storage, wp_path="/srv/e")
    for state in ("queued", "dispatched", "completed"):
        Job.objects.create(site=site, node=node, storage=storage, state=state, queued_at=Now())
    body = client.get("/health").json()
    assert (body["status"], failed(body)) == ("degraded", {"workers"})
    assert (body["workers"]["nodes_online"], body["workers"]["jobs_waiting"]) == (1, 2)


def test_panel_is_degraded_when_no_coordinator_leads(client: APIClient, everything: None) -> None:
    Leadership.objects.update(expires_at=Now() - timedelta(seconds=1))
    answer = client.get("/health")
    assert (answer.status_code, answer.json()["status"]) == (200, "degraded")
    assert failed(answer.json()) == {"coordinator"}


def test_storage_is_told_when_its_test_failed(client: APIClient, everything: None) -> None:
    Storage.objects.update(test_error="The bucket is gone, key AKEXAMPLE.")
    answer = client.get("/health")
    assert failed(answer.json()) == {"storage"}
    assert "AKEXAMPLE" not in answer.content.decode()


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port that takes connections and never answers, as a hung Redis does."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_hung_broker_holds_nothing_up(
    client: APIClient, everything: None, silent_port: int, settings: pytest.FixtureRequest
) -> None:
    settings.CELERY_BROKER_URL = f"redis://127.0.0.1:{silent_port}/0"
    assert failed(client.get("/health").json()) == {"broker"}


def test_panel_is_unhealthy_when_migrations_are_missing(
    client: APIClient, everything: None
) -> None:
    recorder = MigrationRecorder(connection)
    [newest] = MigrationLoader(connection).graph.leaf_nodes("backups")
    recorder.record_unapplied(*newest)
    try:
        answer = client.get("/health")
    finally:
        recorder.record_applied(*newest)
    assert (answer.status_code, answer.json()["status"]) == (503, "unhealthy")
    assert failed(answer.json()) == {"schema"}


def test_panel_is_unhealthy_when_the_database_is_broken(
    client: APIClient, everything: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A folder is no database file: the connection of every check's thread fails for real.
    monkeypatch.setitem(connection.settings_dict, "NAME", "/")
    answer = client.get("/health")
    assert (answer.status_code, answer.json()["status"]) == (503, "unhealthy")
    assert failed(answer.json()) == PARTS - {"broker"}


def test_part_has_failed_when_it_takes_too_long(
    client: APIClient, everything: None, silent_port: int, monkeypatch: pytest.MonkeyPatch,
    settings: pytest.FixtureRequest,
) -> None:  # fmt: skip
    settings.CELERY_BROKER_URL = f"redis://127.0.0.1:{silent_port}/0"
    monkeypatch.setattr(health, "PART_SECONDS", 0.2)
    body = client.get("/health").json()
    assert body["broker"]["detail"] == "No answer within 0.2 s."


def test_whole_takes_no_longer_than_one_part_when_all_hang(
    client: APIClient, everything: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, release = [], threading.Event()

    def hang() -> dict:
        begun.append(1)
        release.wait(30)
        return {"status": "ok"}

    monkeypatch.setattr(health, "CHECKS", dict.fromkeys(PARTS, hang))
    monkeypatch.setattr(health, "PART_SECONDS", 0.3)
    try:
        for _ in range(4):
            began = time.monotonic()
            answer = client.get("/health")
            assert time.monotonic() - began < 0.3 + 1
            assert (answer.status_code, failed(answer.json())) == (503, PARTS)
            assert answer.json()["broker"]["duration_ms"] >= 300
        # Who asks again waits for what hangs, and lets nothing more hang.
        assert len(begun) == len(PARTS)
    finally:
        release.set()


def test_process_is_alive_whatever_the_rest_does(
    client: APIClient, settings: pytest.FixtureRequest
) -> None:
    answer = client.get("/health/live")
    assert (answer.status_code, answer.json()) == (200, {"status": "alive"})
