"""`/sites/{id}/retention`: the policy, where it comes from, what it keeps and what goes."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from rest_framework.test import APIClient

from backups.models import Backup, Job, Node, Site
from panel.accounts.models import User
from tests.backups.conftest import ended_job

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("settled_dispatch")]


@pytest.fixture
def history(site: Site, make_backup: Callable[..., Backup]) -> list[Backup]:
    """Ten daily backups, the newest first."""
    now = datetime.now(UTC)
    return [
        make_backup(site, number=n, created_at=now - n * timedelta(days=1)) for n in range(1, 11)
    ]


def preview(api: APIClient, site: Site, query: str = "") -> Any:
    answer = api.get(f"/api/v1/sites/{site.pk}/retention{query}")
    assert answer.status_code == 200, answer.content
    return answer.json()


def test_preview_says_what_stays_and_what_goes_and_why(
    api: APIClient, site: Site, history: list[Backup]
) -> None:
    body = preview(api, site)
    assert body["policy"] == {
        "keep_last": 7, "daily": 0, "weekly": 0, "monthly": 0, "yearly": 0,
    }  # fmt: skip
    assert set(body["origins"].values()) == {"default"}
    assert [one["backup_id"] for one in body["keep"]] == [one.pk for one in history[:7]]
    assert [one["backup_id"] for one in body["remove"]] == [one.pk for one in history[7:]]
    assert body["keep"][0]["reasons"] == ["the newest good one", "number 1 of the last 7"]
    assert body["remove"][0]["reasons"] == ["enough newer ones are kept, and no rule asks for it"]
    assert body["remove_bytes"] == 3 * len(b"bundle")
    assert (body["time_zone"], body["last_run"], body["is_applied"]) == ("UTC", None, True)


def test_rules_come_from_the_site_then_the_node_then_the_settings(
    api: APIClient, site: Site, settings: Any
) -> None:
    settings.HOLDFAST_RETENTION_POLICY = {**settings.HOLDFAST_RETENTION_POLICY, "yearly": 2}
    Node.objects.filter(pk=site.node_id).update(retention_copies=5, retention_weekly=4)
    body = api.put(f"/api/v1/sites/{site.pk}/retention", {"weekly": 0, "daily": 6}).json()
    assert body["policy"] == {
        "keep_last": 5, "daily": 6, "weekly": 0, "monthly": 0, "yearly": 2,
    }  # fmt: skip
    assert body["origins"] == {
        "keep_last": "node", "daily": "site", "weekly": "site", "monthly": "default",
        "yearly": "default",
    }  # fmt: skip
    assert body["own"]["keep_last"] is None
    assert api.get(f"/api/v1/sites/{site.pk}").json()["retention_copies"] == 5


def test_a_rule_of_null_is_left_to_the_node_again(api: APIClient, site: Site) -> None:
    address = f"/api/v1/sites/{site.pk}/retention"
    assert api.put(address, {"keep_last": 3}, format="json").json()["policy"]["keep_last"] == 3
    body = api.put(address, {"keep_last": None}, format="json").json()
    assert (body["policy"]["keep_last"], body["origins"]["keep_last"]) == (7, "default")


def test_rules_in_the_query_only_ask(api: APIClient, site: Site, history: list[Backup]) -> None:
    assert len(preview(api, site, "?keep_last=2")["remove"]) == 8
    assert len(preview(api, site)["remove"]) == 3


@pytest.mark.parametrize(
    ("body", "field"),
    [({"keep_last": 0}, "keep_last"), ({"daily": -1}, "daily"), ({"weekly": 10_001}, "weekly"),
     ({"hourly": 1}, "hourly")],
)  # fmt: skip
def test_rules_that_cannot_be_are_refused(
    api: APIClient, site: Site, body: dict[str, int], field: str
) -> None:
    answer = api.put(f"/api/v1/sites/{site.pk}/retention", body, format="json")
    assert (answer.status_code, list(answer.json()["errors"])) == (400, [field])


def test_a_backup_that_a_job_uses_stays(
    api: APIClient, site: Site, other_site: Site, history: list[Backup]
) -> None:
    restored, checkpoint = history[8], history[9]
    ended_job(other_site, state="running")
    Job.objects.update(source=restored)
    made = ended_job(site)
    Backup.objects.filter(pk=checkpoint.pk).update(job=made)
    waiting = ended_job(site, state="queued")
    Job.objects.filter(pk=waiting.pk).update(waits_for=made)
    body = preview(api, site)
    assert [one["backup_id"] for one in body["remove"]] == [history[7].pk]
    assert body["keep"][-1]["reasons"] == ["a job is working with it"]


def test_a_pin_keeps_a_backup_until_it_is_taken_away(
    api: APIClient, site: Site, history: list[Backup], super_admin: User
) -> None:
    address = f"/api/v1/backups/{history[9].pk}/pin"
    body = api.post(address, {"note": "before the relaunch"}, format="json").json()
    assert (body["pin_note"], body["pinned_by"]) == ("before the relaunch", super_admin.email)
    assert preview(api, site)["keep"][-1]["reasons"] == ["pinned"]
    pinned_at = body["pinned_at"]
    again = api.post(address, {"note": "still"}, format="json").json()
    assert (again["pinned_at"], again["pin_note"]) == (pinned_at, "still")
    refused = api.delete(f"/api/v1/backups/{history[9].pk}")
    assert (refused.status_code, refused.json()["code"]) == (409, "deletion_refused")
    gone = api.delete(address).json()
    assert (gone["pinned_at"], gone["pinned_by"], gone["pin_note"]) == (None, None, "")
    assert len(preview(api, site)["remove"]) == 3


def test_a_pin_comes_too_late_when_the_backup_is_being_removed(
    api: APIClient, history: list[Backup]
) -> None:
    Backup.objects.update(removing_since=datetime.now(UTC))
    answer = api.post(f"/api/v1/backups/{history[9].pk}/pin")
    assert (answer.status_code, answer.json()["code"]) == (409, "backup_going")


def test_a_failure_cannot_be_pinned(api: APIClient, history: list[Backup]) -> None:
    Backup.objects.update(status="FAILED")
    answer = api.post(f"/api/v1/backups/{history[0].pk}/pin")
    assert (answer.status_code, answer.json()["code"]) == (409, "pin_refused")


def test_a_sites_own_admin_takes_only_their_own_pins_away(
    api: APIClient,
    client_of: Callable[[User], APIClient],
    site_admin: User,
    history: list[Backup],
) -> None:
    theirs = client_of(site_admin)
    mine, others = (f"/api/v1/backups/{history[n].pk}/pin" for n in (0, 1))
    assert theirs.post(mine).status_code == 200
    assert api.post(others).status_code == 200
    assert theirs.delete(mine).status_code == 200
    refused = theirs.delete(others)
    assert (refused.status_code, refused.json()["code"]) == (409, "pin_refused")
    assert api.delete(others).status_code == 200


def test_a_sites_own_admin_gives_up_the_checkpoint_of_a_restore_unless_somebody_pinned_it(
    site: Site,
    client_of: Callable[[User], APIClient],
    site_admin: User,
    super_admin: User,
    make_backup: Callable[..., Backup],
) -> None:
    theirs, before = client_of(site_admin), ended_job(site)
    note = {"pinned_at": datetime.now(UTC), "pin_note": "Checkpoint before a restore"}
    checkpoint = make_backup(site, job=before, **note)
    job = ended_job(site, kind="restore", waits_for=before)
    address = f"/api/v1/jobs/{job.pk}/confirm"
    assert theirs.post(address).json()["backup_id"] == checkpoint.pk
    assert Backup.objects.get().pinned_at is None
    Backup.objects.update(**note, pinned_by=super_admin)
    refused = theirs.post(address)
    assert (refused.status_code, refused.json()["code"]) == (409, "pin_refused")
