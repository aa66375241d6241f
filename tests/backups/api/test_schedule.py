"""PUT /api/v1/sites/{id}/schedule."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from rest_framework.test import APIClient

from backups.models import Site
from panel.accounts.models import User

ClientOf = Callable[[User], APIClient]


def put(client: APIClient, site: Site, **body: Any) -> Any:
    return client.put(f"/api/v1/sites/{site.pk}/schedule", body)


def test_answer_is_the_site_with_its_next_run_when_set(api: APIClient, site: Site) -> None:
    answer = put(
        api, site, schedule_frequency="weekly", schedule_time="03:30", schedule_days="4, 0,2,0",
        retention_copies=14, schedule_window_minutes=0,
    )  # fmt: skip
    assert answer.status_code == 200, answer.content
    body = answer.json()
    assert body == api.get(f"/api/v1/sites/{site.pk}").json()
    wanted = {
        "schedule_frequency": "weekly", "schedule_time": "03:30", "schedule_days": "0,2,4",
        "retention_copies": 14,
    }  # fmt: skip
    assert {name: body[name] for name in wanted} == wanted
    assert body["next_run_at"].endswith("Z")
    run = datetime.fromisoformat(body["next_run_at"])
    assert (run.weekday() in (0, 2, 4), f"{run:%H:%M}") == (True, "03:30")
    assert timedelta() < run - datetime.now(UTC) <= timedelta(days=3)


def test_next_run_goes_when_the_schedule_becomes_manual(api: APIClient, site: Site) -> None:
    assert put(api, site, schedule_frequency="daily").json()["next_run_at"] is not None
    assert put(api, site, schedule_frequency="manual").json()["next_run_at"] is None


def test_what_is_left_out_stays_as_it_is(api: APIClient, site: Site) -> None:
    put(api, site, schedule_frequency="monthly", schedule_time="05:05", schedule_days="31",
        retention_copies=3)  # fmt: skip
    body = put(api, site, schedule_frequency="monthly", retention_copies=4).json()
    assert (body["schedule_time"], body["schedule_days"], body["retention_copies"]) == (
        "05:05", "31", 4,
    )  # fmt: skip


def test_due_run_stays_due_when_the_same_schedule_is_set_again(api: APIClient, site: Site) -> None:
    put(api, site, schedule_frequency="daily", schedule_time="02:00")
    due = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)
    Site.objects.filter(pk=site.pk).update(next_run_at=due)
    body = put(api, site, schedule_frequency="daily", schedule_time="02:00").json()
    assert datetime.fromisoformat(body["next_run_at"]) == due
    body = put(api, site, schedule_frequency="daily", schedule_time="02:01").json()
    assert datetime.fromisoformat(body["next_run_at"]) > datetime.now(UTC)


def test_days_are_stored_empty_when_the_schedule_has_none(api: APIClient, site: Site) -> None:
    body = put(api, site, schedule_frequency="daily", schedule_days="0,2").json()
    assert body["schedule_days"] == ""


@pytest.mark.parametrize(
    ("body", "field", "words"),
    [
        ({}, "schedule_frequency", "required"),
        ({"schedule_frequency": "hourly"}, "schedule_frequency", "not a valid choice"),
        ({"schedule_frequency": "daily", "schedule_time": "25:00"}, "schedule_time", "HH:MM"),
        ({"schedule_frequency": "daily", "schedule_time": None}, "schedule_time", "null"),
        ({"schedule_frequency": "weekly"}, "schedule_days", "0 (Monday) to 6 (Sunday)"),
        ({"schedule_frequency": "weekly", "schedule_days": "7"}, "schedule_days", "7 is none"),
        ({"schedule_frequency": "monthly", "schedule_days": "0"}, "schedule_days", "1 to 31"),
        ({"schedule_frequency": "monthly", "schedule_days": [1]}, "schedule_days", "string"),
        ({"schedule_frequency": "cron"}, "schedule_cron", "five fields"),
        (
            {"schedule_frequency": "cron", "schedule_cron": "0 2 * *"},
            "schedule_cron",
            "five fields",
        ),
        ({"schedule_frequency": "cron", "schedule_cron": "60 2 * * *"}, "schedule_cron", "minute"),
        ({"schedule_frequency": "cron", "schedule_cron": "@daily"}, "schedule_cron", "five fields"),
        ({"schedule_frequency": "cron", "schedule_cron": "0 0 31 2 *"}, "schedule_cron", "read"),
        ({"schedule_frequency": "daily", "time_zone": "Berlin"}, "time_zone", "IANA"),
        ({"schedule_frequency": "daily", "time_zone": ""}, "time_zone", "blank"),
        (
            {"schedule_frequency": "daily", "schedule_window_minutes": -1},
            "schedule_window_minutes",
            "0",
        ),
        (
            {"schedule_frequency": "daily", "schedule_window_minutes": 1441},
            "schedule_window_minutes",
            "1440",
        ),
        ({"schedule_frequency": "daily", "retention_copies": 0}, "retention_copies", "1"),
        ({"schedule_frequency": "daily", "retention_copies": 1 << 40}, "retention_copies", "10000"),
    ],
)
def test_reason_is_told_and_nothing_changes_when_it_cannot_be(
    body: dict[str, Any], field: str, words: str, api: APIClient, site: Site
) -> None:
    before = Site.objects.values().get(pk=site.pk)
    answer = put(api, site, **body)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid")
    assert list(answer.json()["errors"]) == [field]
    assert words in answer.json()["errors"][field][0]
    assert Site.objects.values().get(pk=site.pk) == before


def test_days_of_another_frequency_are_refused_when_none_are_given(
    api: APIClient, site: Site
) -> None:
    put(api, site, schedule_frequency="monthly", schedule_days="15")
    answer = put(api, site, schedule_frequency="weekly")
    assert answer.status_code == 400
    assert "15 is none" in answer.json()["errors"]["schedule_days"][0]


def test_everybody_who_sees_the_site_may_set_it(
    site: Site, other_site: Site, site_admin: User, node_admin: User, client_of: ClientOf
) -> None:
    for user in (site_admin, node_admin):
        client = client_of(user)
        assert put(client, site, schedule_frequency="daily").status_code == 200
        assert put(client, other_site, schedule_frequency="daily").status_code == 403
        missing = client.put("/api/v1/sites/999999/schedule", {"schedule_frequency": "daily"})
        assert missing.status_code == 404
    other_site.refresh_from_db()
    assert other_site.schedule_frequency == "manual"


@pytest.mark.parametrize("method", ["put", "patch"])
def test_site_itself_takes_no_schedule_and_no_quota(
    method: str, api: APIClient, site: Site
) -> None:
    body = {
        "name": site.name, "node_id": site.node_id, "wp_path": site.wp_path,
        "schedule_frequency": "daily", "storage_quota_gb": 5, "retention_copies": 1,
    }  # fmt: skip
    getattr(api, method)(f"/api/v1/sites/{site.pk}", body)
    site.refresh_from_db()
    assert (site.schedule_frequency, site.storage_quota_gb, site.retention_copies) == (
        "manual", None, None,
    )  # fmt: skip
