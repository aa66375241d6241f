"""GET /sites/{id}/schedule, pauses of sites and nodes, and GET /nodes/{id}/upcoming."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from rest_framework.test import APIClient

from backups.models import Node, Site
from panel.accounts.models import User

ClientOf = Callable[[User], APIClient]


def put(client: APIClient, site: Site, **body: Any) -> dict[str, Any]:
    answer = client.put(f"/api/v1/sites/{site.pk}/schedule", body)
    assert answer.status_code == 200, answer.content
    return dict(answer.json())


def shown(client: APIClient, site: Site) -> dict[str, Any]:
    answer = client.get(f"/api/v1/sites/{site.pk}/schedule")
    assert answer.status_code == 200, answer.content
    return dict(answer.json())


def moments(texts: list[str]) -> list[datetime]:
    return [datetime.fromisoformat(text) for text in texts]


def test_five_runs_are_shown_as_the_sites_own_clock_reads_them(api: APIClient, site: Site) -> None:
    put(api, site, schedule_frequency="cron", schedule_cron="30 2 * * 1-5",
        time_zone="Asia/Kolkata", schedule_window_minutes=0)  # fmt: skip
    body = shown(api, site)
    assert (body["schedule_cron"], body["time_zone"]) == ("30 2 * * 1-5", "Asia/Kolkata")
    assert body["words"] == "By the cron expression 30 2 * * 1-5, Asia/Kolkata"
    runs = moments(body["next_runs"])
    assert len(runs) == 5 and body["next_runs"][0] == body["next_run_at"]
    # 02:30 there is 21:00 UTC of the day before.
    assert {f"{run:%H:%M}" for run in runs} == {"21:00"}
    assert all(run.weekday() in (6, 0, 1, 2, 3) for run in runs)
    assert runs == sorted(set(runs))
    assert body["not_running_because"] is None and not body["is_due"]


def test_spread_is_in_what_is_shown_and_follows_site_node_and_installation(
    api: APIClient, site: Site, node: Node
) -> None:
    body = put(api, site, schedule_frequency="daily", schedule_time="02:00")
    default = shown(api, site)
    assert default["window_minutes"] == 60 and 0 <= default["spread_seconds"] < 3600
    run = datetime.fromisoformat(body["next_run_at"])
    named = run - timedelta(seconds=default["spread_seconds"])
    assert f"{named:%H:%M:%S}" == "02:00:00"
    answer = api.patch(f"/api/v1/nodes/{node.pk}", {"schedule_window_minutes": 5})
    assert answer.json()["schedule_window_minutes"] == 5
    of_node = shown(api, site)
    assert of_node["window_minutes"] == 5 and of_node["spread_seconds"] < 300
    moved = datetime.fromisoformat(of_node["next_run_at"])
    assert moved == named + timedelta(seconds=of_node["spread_seconds"])
    put(api, site, schedule_frequency="daily", schedule_window_minutes=0)
    assert shown(api, site)["spread_seconds"] == 0
    put(api, site, schedule_frequency="daily", schedule_window_minutes=None)
    assert shown(api, site)["window_minutes"] == 5


def test_blackouts_are_in_what_is_shown(api: APIClient, site: Site, node: Node) -> None:
    put(api, site, schedule_frequency="daily", schedule_time="02:00", schedule_window_minutes=0)
    rows = [{"start": "22:00", "end": "06:00"}]
    answer = api.patch(f"/api/v1/nodes/{node.pk}", {"blackouts": rows, "time_zone": "Asia/Kolkata"})
    assert answer.status_code == 200, answer.content
    assert answer.json()["blackouts"] == rows
    body = shown(api, site)
    assert (body["blackouts"], body["blackout_time_zone"]) == (rows, "Asia/Kolkata")
    # 02:00 UTC is 07:30 there; at 20:00 UTC it is 01:30.
    assert f"{datetime.fromisoformat(body['next_run_at']):%H:%M}" == "02:00"
    put(api, site, schedule_frequency="daily", schedule_time="20:00")
    runs = moments(shown(api, site)["next_runs"])
    assert {f"{run:%H:%M}" for run in runs} == {"00:30"}


@pytest.mark.parametrize(
    ("body", "field", "words"),
    [
        ({"blackouts": [{"start": "08:00"}]}, "blackouts", "a start and an end"),
        ({"blackouts": [{"start": "08:00", "end": "08:00"}]}, "blackouts", "no minute"),
        ({"blackouts": None}, "blackouts", "null"),
        ({"time_zone": "Mars/Olympus"}, "time_zone", "IANA"),
        ({"schedule_window_minutes": 2000}, "schedule_window_minutes", "1440"),
    ],
)
def test_node_takes_no_blackouts_that_cannot_be(
    body: dict[str, Any], field: str, words: str, api: APIClient, node: Node
) -> None:
    before = Node.objects.values().get(pk=node.pk)
    answer = api.patch(f"/api/v1/nodes/{node.pk}", body)
    assert answer.status_code == 400, answer.content
    assert words in answer.json()["errors"][field][0]
    assert Node.objects.values().get(pk=node.pk) == before


def test_pause_is_shown_with_who_and_why_and_ends(
    site: Site, site_admin: User, client_of: ClientOf
) -> None:
    client = client_of(site_admin)
    put(client, site, schedule_frequency="daily")
    until = datetime.now(UTC).replace(microsecond=0) + timedelta(days=1)
    url = f"/api/v1/sites/{site.pk}/schedule"
    answer = client.post(f"{url}/pause", {"until": until.isoformat(), "reason": "It moves"})
    assert answer.status_code == 200, answer.content
    body = answer.json()
    assert body == shown(client, site)
    assert body["is_paused"] and body["paused_by"] == "site@example.com"
    assert datetime.fromisoformat(body["paused_until"]) == until
    assert body["not_running_because"] == (
        f"The schedule is paused until {until:%Y-%m-%d %H:%M} UTC by site@example.com: It moves."
    )
    assert client.get(f"/api/v1/sites/{site.pk}").json()["is_paused"]
    answer = client.post(f"{url}/resume")
    assert not answer.json()["is_paused"] and answer.json()["not_running_because"] is None
    # Past its end a pause is none, though nobody resumed it.
    client.post(f"{url}/pause", {"until": until.isoformat()})
    Site.objects.update(paused_until=datetime.now(UTC))
    assert not shown(client, site)["is_paused"]
    assert not client.get(f"/api/v1/sites/{site.pk}").json()["is_paused"]


def test_pause_of_the_node_is_shown_on_its_sites(
    api: APIClient, site: Site, other_site: Site, node: Node
) -> None:
    for one in (site, other_site):
        put(api, one, schedule_frequency="daily")
    answer = api.post(f"/api/v1/nodes/{node.pk}/schedule/pause", {"reason": "New disks"})
    assert answer.status_code == 200, answer.content
    assert (answer.json()["node_id"], answer.json()["is_paused"]) == (node.pk, True)
    assert api.get(f"/api/v1/nodes/{node.pk}").json()["is_paused"]
    body = shown(api, site)
    assert (body["is_paused"], body["node_is_paused"]) == (False, True)
    assert body["not_running_because"] == (
        "The schedules on web-01 are paused until resumed by super@example.com: New disks."
    )
    assert shown(api, other_site)["not_running_because"] is None
    answer = api.post(f"/api/v1/nodes/{node.pk}/schedule/resume")
    assert not answer.json()["is_paused"]
    assert shown(api, site)["not_running_because"] is None


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"until": "2020-01-01T00:00:00Z"}, "paused_until"),
        ({"until": "soon"}, "until"),
        ({"reason": "x" * 201}, "reason"),
        ({"why": "x"}, "why"),
    ],
)
def test_pause_is_refused_when_it_cannot_be(
    body: dict[str, Any], field: str, api: APIClient, site: Site
) -> None:
    answer = api.post(f"/api/v1/sites/{site.pk}/schedule/pause", body)
    assert (answer.status_code, list(answer.json()["errors"])) == (400, [field])
    assert not Site.objects.get(pk=site.pk).is_paused


def test_reason_is_told_when_a_due_run_is_held_up(api: APIClient, site: Site, node: Node) -> None:
    put(api, site, schedule_frequency="daily")
    Site.objects.update(next_run_at=datetime.now(UTC) - timedelta(minutes=1))
    assert shown(api, site)["is_due"]
    for change, words in (({"is_draining": True}, "drains"), ({"is_enabled": False}, "disabled")):
        Node.objects.filter(pk=node.pk).update(**change)
        assert words in shown(api, site)["not_running_because"]
    assert len(shown(api, site)["next_runs"]) == 5


def test_manual_schedule_and_one_that_cannot_be_read_have_no_runs(
    api: APIClient, site: Site
) -> None:
    body = shown(api, site)
    assert (body["next_runs"], body["next_run_at"]) == ([], None)
    assert body["not_running_because"] == "The site is backed up by hand only."
    Site.objects.update(schedule_frequency="daily", schedule_time="late")
    assert "HH:MM" in shown(api, site)["not_running_because"]


def test_upcoming_runs_of_a_node_come_in_order_and_in_pages(
    api: APIClient, site: Site, other_site: Site, node: Node
) -> None:
    for number in range(5):
        Site.objects.create(
            name=f"s{number}.example", node=node, wp_path=f"{node.allowed_roots[0]}/s{number}",
            schedule_frequency="daily",
            next_run_at=datetime.now(UTC) + timedelta(hours=(number * 3) % 5 - 1),
        )  # fmt: skip
    put(api, other_site, schedule_frequency="daily")
    body = api.get(f"/api/v1/nodes/{node.pk}/upcoming").json()
    assert body["count"] == 5, "neither manual sites nor those of other nodes"
    rows = body["results"]
    assert [row["next_run_at"] for row in rows] == sorted(row["next_run_at"] for row in rows)
    assert [row["is_due"] for row in rows] == [True, *[False] * 4][:5] or rows[0]["is_due"]
    page = api.get(f"/api/v1/nodes/{node.pk}/upcoming", {"limit": 2, "offset": 2}).json()
    assert (page["count"], page["results"]) == (5, rows[2:4])


def test_upcoming_runs_cost_as_many_queries_for_many_sites_as_for_one(
    api: APIClient, site: Site, node: Node, django_assert_num_queries: Any
) -> None:
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    put(api, site, schedule_frequency="daily")

    def number() -> int:
        with CaptureQueriesContext(connection) as captured:
            assert api.get(f"/api/v1/nodes/{node.pk}/upcoming").status_code == 200
        return len(captured)

    one = number()
    for index in range(20):
        Site.objects.create(
            name=f"s{index}.example", node=node, wp_path=f"{node.allowed_roots[0]}/s{index}",
            schedule_frequency="daily", next_run_at=datetime.now(UTC),
        )  # fmt: skip
    assert number() == one
