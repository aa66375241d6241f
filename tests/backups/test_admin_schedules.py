"""Schedules in Django's admin: set on a site, blackouts on a node, pauses from the lists."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.test import Client

from backups.actions import pausing, schedules
from backups.models import AuditEntry, Node, Site
from panel.accounts.models import User
from tests.backups.test_admin import page, site_form
from tests.backups.test_admin_control import run, staff_client

pytestmark = pytest.mark.usefixtures("closed_broker")
SCHEDULE = {
    "schedule_frequency": "cron", "schedule_cron": "15 3 * * 1-5", "time_zone": "Europe/Berlin",
    "schedule_window_minutes": "0", "schedule_time": "02:00", "retention_copies": "9",
}  # fmt: skip


def send(client: Client, site: Site, **values: Any) -> Any:
    form = {**site_form(site.node), "name": site.name, "wp_path": site.wp_path, **values}
    return client.post(page(Site, "change", site.pk), form)


def test_schedule_is_set_with_the_site_and_its_next_run_is_known(staff: Client, site: Site) -> None:
    answer = send(staff, site, **SCHEDULE)
    assert answer.status_code == 302, answer.content.decode()[-3000:]
    row = Site.objects.get()
    assert (row.schedule_cron, row.time_zone, row.retention_copies) == (
        "15 3 * * 1-5", "Europe/Berlin", 9,
    )  # fmt: skip
    assert row.next_run_at is not None and row.next_run_at.minute == 15
    assert row.schedule_longest_gap == timedelta(days=3)
    text = staff.get(page(Site, "change", site.pk)).content.decode()
    assert f"{row.next_run_at:%Y-%m-%d %H:%M} UTC" in text


def test_schedule_stays_when_the_form_leaves_it_out(staff: Client, site: Site) -> None:
    send(staff, site, **SCHEDULE)
    before = Site.objects.values().get()
    kept = {name: SCHEDULE[name] for name in ("schedule_cron", "schedule_window_minutes")}
    assert send(staff, site, **kept).status_code == 302
    assert Site.objects.values().get() == before


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"schedule_cron": "nightly"}, "five fields"),
        ({"time_zone": "Berlin"}, "IANA"),
        ({"schedule_frequency": "weekly"}, "0 (Monday) to 6 (Sunday)"),
        ({"schedule_time": "25:00"}, "HH:MM"),
        ({"schedule_window_minutes": "9999"}, "1440"),
    ],
)
def test_schedule_is_refused_beside_its_field(
    values: dict[str, str], words: str, staff: Client, site: Site
) -> None:
    answer = send(staff, site, **{**SCHEDULE, **values})
    assert answer.status_code == 200
    assert words in answer.content.decode()
    assert Site.objects.get().schedule_frequency == "manual"


def test_site_admin_sets_the_schedule_of_their_site(site: Site, site_admin: User) -> None:
    client = staff_client(site_admin)
    assert send(client, site, **SCHEDULE).status_code == 302
    assert Site.objects.get().schedule_cron == "15 3 * * 1-5"


def test_node_takes_blackouts_and_its_sites_follow(staff: Client, site: Site, node: Node) -> None:
    send(staff, site, schedule_frequency="daily", schedule_time="02:00",
         schedule_window_minutes="0")  # fmt: skip
    form = {
        "name": node.name, "slots": "2", "allowed_roots": f'["{node.allowed_roots[0]}"]',
        "is_enabled": "on", "nice": "10", "io_class": "low", "time_zone": "UTC",
        "blackouts": '[{"start": "01:00", "end": "04:30"}]', "workers-TOTAL_FORMS": "0",
        "workers-INITIAL_FORMS": "0",
    }  # fmt: skip
    answer = staff.post(page(Node, "change", node.pk), form)
    assert answer.status_code == 302, answer.content.decode()[-3000:]
    next_run_at = Site.objects.get().next_run_at
    assert next_run_at is not None and f"{next_run_at:%H:%M}" == "04:30"
    wrong = {**form, "blackouts": '[{"start": "00:00", "end": "00:00"}]'}
    answer = staff.post(page(Node, "change", node.pk), wrong)
    assert "no minute of the week" in answer.content.decode()


@pytest.mark.parametrize("model", [Site, Node])
def test_schedules_are_paused_and_resumed_from_the_list(
    model: type[Site | Node], staff: Client, site: Site, node: Node
) -> None:
    row: Any = site if model is Site else node
    asked = run(staff, model, "pause_schedules", row)
    assert 'name="until"' in asked and "No backup of these starts by itself" in asked
    assert not model.objects.get(pk=row.pk).is_paused
    until = datetime.now(UTC) + timedelta(days=2)
    said = run(
        staff, model, "pause_schedules", row, confirmed="yes", reason="Moving",
        until=f"{until:%Y-%m-%dT%H:%M}",
    )  # fmt: skip
    assert f"paused until {until:%Y-%m-%d %H:%M} UTC by super@example.com: Moving" in said
    paused: Any = model.objects.get(pk=row.pk)
    assert (paused.is_paused, paused.pause_reason) == (True, "Moving")
    shown = staff.get(page(model, "change", row.pk)).content.decode()
    assert "by super@example.com: Moving" in shown
    assert "made up for once" in run(staff, model, "resume_schedules", row)
    assert not model.objects.get(pk=row.pk).is_paused
    words = set(AuditEntry.objects.values_list("action", flat=True))
    kind = model.__name__.lower()
    assert {f"admin.{kind}.pause_schedules", f"admin.{kind}.resume_schedules"} <= words


def test_pause_that_cannot_be_is_asked_for_again(staff: Client, site: Site) -> None:
    again = run(staff, Site, "pause_schedules", site, confirmed="yes", until="soon")
    assert 'class="errorlist"' in again
    said = run(staff, Site, "pause_schedules", site, confirmed="yes", until="2020-01-01T00:00")
    assert "Give a moment in the future" in said
    assert not Site.objects.get().is_paused


def test_page_of_a_node_shows_what_starts_next_and_what_holds_it_up(
    staff: Client, site: Site, node: Node
) -> None:
    assert "next backups" in staff.get(page(Node, "change", node.pk)).content.decode().lower()
    schedules.set_schedule(site=site, frequency="daily", schedule_window_minutes=0)
    text = staff.get(page(Node, "change", node.pk)).content.decode()
    next_run_at = Site.objects.get().next_run_at
    assert f"{next_run_at:%Y-%m-%d %H:%M} UTC <a href=" in text
    pausing.pause(row=node, by="ada", reason="<i>Moving</i>")
    text = staff.get(page(Node, "change", node.pk)).content.decode()
    assert "are paused until resumed by ada: &lt;i&gt;Moving&lt;/i&gt;." in text
    assert staff.get(page(Node, "add")).status_code == 200


def test_sites_with_something_amiss_are_found_in_their_list(
    staff: Client, site: Site, other_site: Site
) -> None:
    Site.objects.filter(pk=site.pk).update(backups_amiss=2)
    text = staff.get(page(Site, "changelist") + "?amiss=1").content.decode()
    assert site.name in text and other_site.name not in text


def test_page_of_a_row_offers_what_its_list_does(staff: Client, node: Node) -> None:
    shown = staff.get(page(Node, "change", node.pk)).content.decode()
    offered = shown[shown.index('class="row-actions"') :].partition("</div>")[0]
    words = ["Scale", "Drain", "Resume", "Pause schedules", "Resume schedules"]
    assert re.findall(r">([^<]+)</button>", offered) == words
    assert offered.count(f'name="_selected_action" value="{node.pk}"') == len(words)
    assert f'action="{page(Node)}"' in offered
    run(staff, Node, "pause_schedules", node, confirmed="yes")
    assert "schedules paused" in staff.get(page(Node)).content.decode()
    assert "row-actions" not in staff.get(page(Node, "add")).content.decode()
