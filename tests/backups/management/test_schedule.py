"""`manage.py schedule`: show, set, pause, resume."""

from __future__ import annotations

from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from backups.models import AuditEntry, Node, Site

pytestmark = pytest.mark.django_db


def said(*words: str) -> str:
    out = StringIO()
    call_command("schedule", *words, stdout=out)
    return out.getvalue()


def test_schedule_is_set_and_its_runs_are_shown(site: Site) -> None:
    text = said("set", "example.com", "weekly", "--days", "0,3", "--time", "23:15", "--zone",
                "Europe/Berlin", "--window", "0", "--keep", "9")  # fmt: skip
    lines = text.splitlines()
    assert lines[0] == "example.com: Weekly on Monday and Thursday at 23:15, Europe/Berlin"
    assert len(lines) == 6 and all(line.endswith(":15:00Z") for line in lines[1:])
    site.refresh_from_db()
    assert (site.schedule_days, site.time_zone, site.retention_copies) == (
        "0,3",
        "Europe/Berlin",
        9,
    )
    assert said("show", "example.com") == text
    entry = AuditEntry.objects.get(action="site.schedule")
    assert (entry.source, entry.site_id, entry.outcome) == ("command", site.pk, "success")
    assert said("set", str(site.pk), "cron", "--cron", "0 4 1 * *").startswith(
        "example.com: By the cron expression 0 4 1 * *, Europe/Berlin"
    )
    said("set", "example.com", "monthly", "--days", "1,31", "--window", "node")
    site.refresh_from_db()
    assert site.schedule_window_minutes is None
    assert "Monthly on the 1. and the 31. at 23:15" in said("show", "example.com")
    assert "within 60 minutes" in said("show", "example.com")


def test_upcoming_runs_are_listed_with_what_holds_them_up(site: Site, other_site: Site) -> None:
    said("set", "example.com", "daily")
    said("set", "other.org", "daily")
    said("pause", "--node", "web-02", "--reason", "New disks")
    lines = said("show").splitlines()
    assert lines[0].split()[:4] == ["SITE", "NODE", "SCHEDULE", "NEXT"]
    assert {line.split()[0] for line in lines[1:]} == {"example.com", "other.org"}
    assert sum("New disks" in line for line in lines) == 1
    assert len(said("show", "--node", "web-01").splitlines()) == 2


def test_site_and_node_are_paused_and_resumed(site: Site) -> None:
    text = said("pause", "example.com", "--until", "2099-01-01T08:00", "--reason", "It moves")
    assert text.startswith("example.com is paused until 2099-01-01 08:00 UTC by command:")
    site.refresh_from_db()
    assert site.is_paused and site.pause_reason == "It moves"
    assert "made up for once" in said("resume", "example.com")
    site.refresh_from_db()
    assert (site.is_paused, site.paused_until, site.paused_by) == (False, None, "")
    said("pause", "--node", "web-01")
    assert Node.objects.get().is_paused
    said("resume", "--node", "web-01")
    assert not Node.objects.get().is_paused
    words = AuditEntry.objects.order_by("pk").values_list("action", flat=True)
    assert list(words) == ["site.pause", "site.unpause", "node.pause", "node.unpause"]


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("set", "example.com", "cron", "--cron", "* *"), "five fields"),
        (("set", "example.com", "daily", "--zone", "Berlin"), "IANA"),
        (("set", "example.com", "daily", "--window", "9999"), "1440"),
        (("set", "example.com", "daily", "--window", "wide"), "no number"),
        (("set", "example.com", "daily", "--keep", "0"), "no number"),
        (("set", "nowhere", "daily"), "There is no site"),
        (("pause", "example.com", "--until", "soon"), "no moment"),
        (("pause", "example.com", "--until", "2026-13-01T00:00"), "no moment"),
        (("pause", "example.com", "--until", "2020-01-01T00:00"), "in the future"),
        (("pause",), "Name a site"),
        (("pause", "example.com", "--node", "web-01"), "Name a site"),
        (("resume", "--node", "web-77"), "There is no node"),
    ],
)
def test_reason_is_told_when_it_cannot_be(words: tuple[str, ...], reason: str, site: Site) -> None:
    before = Site.objects.values().get()
    with pytest.raises(CommandError, match=reason):
        said(*words)
    assert Site.objects.values().get() == before
