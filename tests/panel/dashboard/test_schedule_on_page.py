"""What a site's page says of its schedule."""

from __future__ import annotations

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
