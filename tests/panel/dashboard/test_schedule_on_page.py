"""What a site's page says of its schedule."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest
from django.test import Client

from backups.actions import pausing, schedules
from backups.models import Node, Site
from panel.accounts.models import User
from tests.panel.dashboard.test_pages import site  # noqa: F401 (a fixture)

pytestmark = pytest.mark.django_db


@pytest.fixture
def browser(site: Site) -> Client:  # noqa: F811
    user = User.objects.create_user("site@example.com", role="site_admin")
    site.admins.add(user)
    client = Client(raise_request_exception=False)
    client.force_login(user)
    return client


def section(browser: Client, site: Site) -> str:  # noqa: F811
    answer = browser.get(f"/sites/{site.pk}/")
    assert answer.status_code == 200, answer.content
    text = answer.content.decode()
    return text[text.index('id="schedule"') :].partition("</section>")[0]


def test_next_runs_are_shown_on_the_sites_clock_and_in_utc(
    browser: Client,
    site: Site,  # noqa: F811
) -> None:
    schedules.set_schedule(
        site=site, frequency="daily", schedule_time="02:00", time_zone="Asia/Kolkata",
        schedule_window_minutes=0,
    )  # fmt: skip
    text = section(browser, site)
    assert "Daily at 02:00, Asia/Kolkata" in text
    assert text.count("<tr><td>") == 5
    assert text.count("02:00</td>") == 5 and text.count("20:30 UTC</td>") == 5
    assert "style=" not in text and "<script" not in text


def test_page_says_why_no_backup_starts(browser: Client, site: Site) -> None:  # noqa: F811
    assert "No backup starts by itself" in section(browser, site)
    schedules.set_schedule(site=site, frequency="daily")
    pausing.pause(row=site, by="<b>ada</b>", reason="<script>")
    text = section(browser, site)
    assert "The schedule is paused until resumed by &lt;b&gt;ada&lt;/b&gt;: &lt;script&gt;." in text
    pausing.resume(row=site)
    note = "The run of 2026-01-01 02:00 UTC was left out: the quota is used up."
    Site.objects.update(schedule_note=note)
    assert note in section(browser, site)
    Site.objects.update(next_run_at=datetime.now(UTC) - timedelta(minutes=1), schedule_note="")
    Node.objects.update(is_enabled=False)
    assert "web-01 is disabled." in section(browser, site)


def test_page_is_there_when_the_schedule_cannot_be_read(
    browser: Client,
    site: Site,  # noqa: F811
) -> None:
    Site.objects.update(schedule_frequency="daily", schedule_time="late", time_zone="Nowhere")
    assert "The schedule cannot be used" in section(browser, site)


def test_page_offers_what_may_be_done_now(browser: Client, site: Site) -> None:  # noqa: F811
    def offered() -> list[str]:
        return re.findall(r'data-schedule="(\w+)"', section(browser, site))

    assert offered() == ["change"]
    schedules.set_schedule(site=site, frequency="daily")
    assert offered() == ["change", "pause"]
    pausing.pause(row=site, by="ada")
    assert offered() == ["change", "resume", "pause"]
    # Who may not manage the node cannot end a pause of it.
    pausing.resume(row=site)
    pausing.pause(row=site.node, by="ben", reason="New disks")
    assert offered() == ["change", "pause"]
    assert "The schedules on web-01 are paused until resumed by ben" in section(browser, site)


def test_page_says_when_the_node_starts_nothing(browser: Client, site: Site) -> None:  # noqa: F811
    Node.objects.update(
        time_zone="Europe/Berlin",
        blackouts=[
            {"days": [0, 1, 2, 3, 4], "start": "08:00", "end": "18:00"},
            {"days": [4, 6], "start": "22:00", "end": "06:00"},
        ],
    )
    assert "Berlin" not in section(browser, site)
    schedules.set_schedule(site=site, frequency="daily")
    words = (
        "On web-01 none starts by itself between 08:00 and 18:00 from Monday to Friday, and "
        "between 22:00 and 06:00 on Friday and Sunday (Europe/Berlin)."
    )
    assert words in section(browser, site)
    Node.objects.update(blackouts=[{"start": "01:00", "end": "02:00"}])
    assert "between 01:00 and 02:00 every day" in section(browser, site)
