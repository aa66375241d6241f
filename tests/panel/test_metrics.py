"""GET /metrics."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.db.models.functions import Now
from django.test.utils import CaptureQueriesContext
from prometheus_client.parser import text_string_to_metric_families
from rest_framework.test import APIClient

from backups.actions.usage import count_usage
from backups.models import (
    Backup,
    BackupStatus,
    Errand,
    Job,
    Leadership,
    Node,
    Site,
    Stage,
    Storage,
    Worker,
)
from backups.roles import Role
from panel.accounts import tokens
from panel.accounts.models import User

TOKEN = "a-token-of-prometheus-that-is-long-enough"
BEARER = {"authorization": f"Bearer {TOKEN}"}
NAMES = {
    *("build_info", "database_up", "coordinator_up", "jobs", "node_jobs", "jobs_without_worker"),
    *("stage_day_count", "stage_day_seconds_sum", "stage_day_seconds_max"),
    *("stage_day_bytes_sum", "stage_day_bytes_max", "site_backup_age_seconds"),
    *("site_never_backed_up", "node_heartbeat_age_seconds", "node_slots", "node_disk_percent"),
    *("node_open", "worker_heartbeat_age_seconds", "worker_processes", "storage_test_passed"),
    *("storage_test_age_seconds", "site_proof_age_seconds", "site_restore_seconds"),
    *("site_backups_amiss", "backups_unchecked", "site_retention_failures"),
}


@pytest.fixture(autouse=True)
def token(settings: Any) -> None:
    settings.HOLDFAST_METRICS_TOKEN = TOKEN


@pytest.fixture
def node(db: None) -> Node:
    node = Node.objects.create(name="web-01", slots=3, disk_percent=41.5)
    Node.objects.filter(pk=node.pk).update(last_seen_at=Now() - timedelta(seconds=100))
    return node


@pytest.fixture
def storage(db: None) -> Storage:
    return Storage.objects.create(name="folder", type="local", config={"path": "/srv/b"})


@pytest.fixture
def make_site(node: Node, storage: Storage) -> Callable[..., Site]:
    return lambda name: Site.objects.create(name=name, node=node, storage=storage, wp_path="/srv/e")


def make_job(site: Site, state: str, **fields: Any) -> Job:
    values = {"queued_at": Now(), "node": site.node, "storage": site.storage, **fields}
    return Job.objects.create(site=site, state=state, **values)


def scrape(client: APIClient) -> dict[str, dict[tuple[str, ...], float]]:
    """Every figure: name without its prefix → values of its labels, by their names → value."""
    answer = client.get("/metrics", headers=BEARER)
    assert answer.status_code == 200, answer.content
    return {
        family.name.removeprefix("holdfast_"): {
            tuple(value for _, value in sorted(sample.labels.items())): sample.value
            for sample in family.samples
        }
        for family in text_string_to_metric_families(answer.content.decode())
    }


def test_answer_is_prometheus_text(client: APIClient, db: None) -> None:
    accepts = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"
    for accept in (accepts, "text/plain", "*/*", "text/html"):
        answer = client.get("/metrics", headers={**BEARER, "accept": accept})
        assert answer.status_code == 200
        assert answer["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert scrape(client).keys() == NAMES


def test_jobs_are_counted_by_state_and_by_node(
    client: APIClient, make_site: Callable[..., Site]
) -> None:
    for number, state in enumerate(("queued", "queued", "running", "stopping", "failed")):
        make_job(make_site(f"site-{number}"), state)
    found = scrape(client)
    assert found["jobs"]["queued",] == 2
    assert found["jobs"]["failed",] == 1
    assert found["jobs"]["completed",] == 0
    assert found["node_jobs"] == {("web-01", "queued"): 2, ("web-01", "active"): 2}
    assert found["jobs_without_worker"][()] == 4


def test_jobs_are_not_stranded_when_a_worker_is_alive(
    client: APIClient, node: Node, make_site: Callable[..., Site]
) -> None:
    make_job(make_site("one"), "queued")
    Worker.objects.create(
        name="w1", node=node, hostname="h", process_id=1, started_at=Now(), concurrency=4,
        last_seen_at=Now() - timedelta(seconds=5),
    )  # fmt: skip
    found = scrape(client)
    assert found["jobs_without_worker"][()] == 0
    assert 5 <= found["worker_heartbeat_age_seconds"]["web-01", "w1"] < 60
    assert found["worker_processes"]["web-01", "w1"] == 4


def add_stage(job: Job, position: int, seconds: float, size: int, **fields: Any) -> None:
    values = {"name": "backup_db", "state": "completed", **fields}
    stage = Stage.objects.create(job=job, position=position, bytes_processed=size, **values)
    Stage.objects.filter(pk=stage.pk).update(
        started_at=Now() - timedelta(seconds=seconds), finished_at=Now()
    )


def test_stages_of_the_last_day_are_summed_up(
    client: APIClient, make_site: Callable[..., Site]
) -> None:
    job = make_job(make_site("one"), "completed", queued_at=Now() - timedelta(hours=23))
    add_stage(job, 0, 10, 1000)
    add_stage(job, 1, 30, 5_000_000_000)
    add_stage(job, 2, 99, 7, state="failed")
    old = make_job(make_site("two"), "completed", queued_at=Now() - timedelta(hours=25))
    add_stage(old, 0, 500, 9000)
    found = scrape(client)
    label = ("backup_db",)
    assert found["stage_day_count"] == {label: 2}
    assert found["stage_day_seconds_sum"][label] == pytest.approx(40, abs=1)
    assert found["stage_day_seconds_max"][label] == pytest.approx(30, abs=1)
    assert found["stage_day_bytes_sum"] == {label: 5_000_001_000}
    assert found["stage_day_bytes_max"] == {label: 5_000_000_000}


def test_sites_tell_the_age_of_their_newest_good_backup(
    client: APIClient, storage: Storage, make_site: Callable[..., Site]
) -> None:
    hostile = 'a"b\\c\nd{e}="f"'
    good, failed, none = make_site("good"), make_site("failed"), make_site(hostile)
    for site, status, hours in (
        (good, BackupStatus.SUCCESS, 50),
        (good, BackupStatus.SUCCESS, 2),
        (good, BackupStatus.FAILED, 1),
        (failed, BackupStatus.FAILED, 1),
    ):
        at = Now() - timedelta(hours=hours)
        Backup.objects.create(site=site, storage=storage, status=status, created_at=at)
    count_usage(Site.objects.all())
    proven = {"proven_at": Now() - timedelta(hours=3), "proven_seconds": 250.5}
    Site.objects.filter(pk=good.pk).update(**proven)
    found = scrape(client)
    assert found["site_restore_seconds"] == {("web-01", "good", str(good.pk)): 250.5}
    [proof] = found["site_proof_age_seconds"].values()
    assert proof == pytest.approx(10_800, abs=60)
    assert found["site_backup_age_seconds"].keys() == {("web-01", "good", str(good.pk))}
    [age] = found["site_backup_age_seconds"].values()
    assert age == pytest.approx(7200, abs=60)
    # The library's parser gives a name back as it was.
    never = {("web-01", "failed", str(failed.pk)): 1, ("web-01", hostile, str(none.pk)): 1}
    assert found["site_never_backed_up"] == never


def test_what_is_amiss_with_stored_backups_is_told(
    client: APIClient, storage: Storage, make_site: Callable[..., Site]
) -> None:
    site, other = make_site("amiss"), make_site("fine")
    values = {"storage": storage, "status": BackupStatus.SUCCESS, "object_key": "a/b/c"}
    for hours, problem in ((1, "The object is not there."), (30, ""), (50, ""), (None, "")):
        at = None if hours is None else Now() - timedelta(hours=hours)
        Backup.objects.create(
            site=site, created_at=Now() - timedelta(hours=hours or 60), checked_at=at,
            check_problem=problem, **values,
        )  # fmt: skip
    count_usage(Site.objects.all())
    Errand.objects.create(key="prune:1", kind="prune", site=site, node=site.node, failures=3)
    Errand.objects.create(key="prune:2", kind="prune", site=other, node=site.node)
    Errand.objects.create(key="check:1:1", kind="check", node=site.node, failures=2)
    found = scrape(client)
    labels = ("web-01", "amiss", str(site.pk))
    assert found["site_backups_amiss"] == {labels: 1}
    assert found["backups_unchecked"] == {(): 2}
    assert found["site_retention_failures"] == {labels: 3}
    [age] = found["site_backup_age_seconds"].values()
    assert age == pytest.approx(30 * 3600, abs=60), "the newest one is none"


def test_nodes_tell_their_heartbeat_slots_and_disk(client: APIClient, node: Node) -> None:
    Node.objects.create(name="new", is_draining=True)
    found = scrape(client)
    assert found["node_heartbeat_age_seconds"].keys() == {("web-01",)}
    assert found["node_heartbeat_age_seconds"]["web-01",] == pytest.approx(100, abs=30)
    assert found["node_slots"] == {("web-01",): 3, ("new",): 2}
    assert found["node_disk_percent"] == {("web-01",): 41.5}
    assert found["node_open"] == {("web-01",): 1, ("new",): 0}


def test_storages_tell_their_newest_test(client: APIClient, storage: Storage) -> None:
    Storage.objects.create(name="untested", type="local")
    Storage.objects.filter(pk=storage.pk).update(
        tested_at=Now() - timedelta(seconds=60), test_error="key AKEXAMPLE was refused"
    )
    found = scrape(client)
    assert found["storage_test_passed"] == {("folder", "local"): 0}
    assert found["storage_test_age_seconds"]["folder", "local"] == pytest.approx(60, abs=30)
    assert b"AKEXAMPLE" not in client.get("/metrics", headers=BEARER).content


def test_coordinator_is_told_when_it_leads(client: APIClient, db: None) -> None:
    assert scrape(client)["coordinator_up"][()] == 0
    Leadership.objects.create(
        name="coordinator", holder="a-host-of-ours", expires_at=Now() + timedelta(seconds=30)
    )
    assert scrape(client)["coordinator_up"][()] == 1
    assert b"a-host-of-ours" not in client.get("/metrics", headers=BEARER).content


def test_queries_stay_as_few_when_there_are_many_rows(
    client: APIClient, node: Node, storage: Storage, make_site: Callable[..., Site]
) -> None:
    def queries() -> int:
        with CaptureQueriesContext(
            connection,
        ) as captured:
            scrape(client)
        return len(captured)

    few = queries()
    for number in range(20):
        site = make_site(f"site-{number}")
        add_stage(make_job(site, "running" if number % 2 else "completed"), 0, 1, 1)
        Node.objects.create(name=f"n-{number}")
        Storage.objects.create(name=f"s-{number}", type="local")
    assert queries() == few <= 11


# Who may.


def test_token_is_needed(client: APIClient, db: None) -> None:
    for headers in (
        {},
        {"authorization": f"Bearer {TOKEN}x"},
        {"authorization": f"Bearer {TOKEN[:-1]}"},
        {"authorization": "Bearer"},
        {"authorization": f"Token {TOKEN}"},
        {"authorization": "Bearer ü"},
    ):
        answer = client.get("/metrics", headers=headers)
        assert answer.status_code == 401, headers
        assert {"detail", "code"} <= answer.json().keys()
        assert answer["WWW-Authenticate"].startswith("Bearer")


def test_no_token_fits_when_none_is_set(client: APIClient, settings: Any, db: None) -> None:
    settings.HOLDFAST_METRICS_TOKEN = ""
    for shown in ("Bearer ", "Bearer", f"Bearer {TOKEN}"):
        assert client.get("/metrics", headers={"authorization": shown}).status_code == 401


@pytest.mark.parametrize(
    ("role", "status"), [("super_admin", 200), ("node_admin", 403), ("site_admin", 403)]
)
def test_only_super_admins_may_by_their_own_credentials(
    role: str, status: int, client: APIClient, db: None
) -> None:
    user = User.objects.create_user(f"{role}@example.com", "a-fine-password", role=Role(role))
    shown = {"authorization": f"Bearer {tokens.issue(user)['access_token']}"}
    answer = client.get("/metrics", headers=shown)
    assert answer.status_code == status
    if status == 403:
        assert answer.json()["code"] == "permission_denied"
    client.force_login(user)
    assert client.get("/metrics").status_code == status


def test_token_opens_nothing_else(client: APIClient, db: None) -> None:
    assert client.get("/api/v1/sites/", headers=BEARER).status_code == 401


def test_answer_is_503_in_json_when_the_database_is_away(
    client: APIClient, transactional_db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection.close()
    with monkeypatch.context() as away:
        away.setitem(connection.settings_dict, "NAME", "/")
        answer = client.get("/metrics", headers=BEARER)
    assert (answer.status_code, answer.json()["code"]) == (503, "database_unavailable")
    assert answer["Retry-After"] == "5"
