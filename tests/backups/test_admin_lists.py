"""What the admin's lists show to people, and by what they are filtered."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from django.db.models.functions import Now
from django.test import Client

from backups.actions.usage import usage_kept
from backups.admin import shown
from backups.models import Backup, EnrolmentToken, Job, JobEvent, Node, Site, Storage, Worker
from backups.roles import Role
from panel.accounts.models import User
from tests.backups.conftest import claimed, ended_job
from tests.backups.test_admin import page

MakeBackup = Callable[..., Backup]
BEGAN = datetime(2026, 1, 1, tzinfo=UTC)


def said(client: Client, model: type, **query: str) -> str:
    return client.get(page(model), query).content.decode()


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "under 1 s"), (59, "59 s"), (83, "1 m 23 s"), (3600, "1 h"), (93_600, "1 d 2 h")],
)
def test_time_is_in_its_two_largest_units(seconds: int, words: str) -> None:
    assert shown.duration(BEGAN, BEGAN + timedelta(seconds=seconds)) == words


def test_time_of_what_has_not_begun_is_unknown() -> None:
    assert shown.duration(None) == "-"
    assert shown.duration(datetime.now(UTC) - timedelta(minutes=5)).startswith("5 m")


def test_moments_are_in_the_order_in_which_they_sort(staff: Client, site: Site) -> None:
    job = ended_job(site)
    Job.objects.filter(pk=job.pk).update(queued_at=BEGAN)
    assert ">2026-01-01 00:00:00</a>" in said(staff, Job)


def test_words_on_a_badge_are_escaped() -> None:
    assert str(shown.badge("<b>")) == '<span class="badge badge-idle">&lt;b&gt;</span>'
    assert 'badge-failed">FAILED<' in shown.badge("FAILED")


def test_site_is_filtered_by_how_it_stands(
    staff: Client, site: Site, other_site: Site, make_backup: MakeBackup
) -> None:
    make_backup(site, job=ended_job(site))
    ended_job(other_site, "failed")
    assert 'badge-protected">Protected' in said(staff, Site, protection="protected")
    for query, wanted, other in (
        ({"protection": "protected"}, site, other_site),
        ({"protection": "failing"}, other_site, site),
        ({"status": "completed"}, site, other_site),
        ({"status": "failed"}, other_site, site),
    ):
        names = said(staff, Site, **query)
        assert f">{wanted.name}</a>" in names
        assert f">{other.name}</a>" not in names
    Job.objects.update(reset_at=Now())
    with usage_kept(site.pk):
        Backup.objects.update(created_at=datetime.now(UTC) - timedelta(days=40))
    assert f">{site.name}</a>" in said(staff, Site, protection="at_risk")
    assert f">{other_site.name}</a>" in said(staff, Site, status="idle")
    claimed(site)
    running = said(staff, Site, status="running")
    assert f">{site.name}</a>" in running
    assert f">{other_site.name}</a>" not in running


def test_rows_lead_to_one_another(staff: Client, site: Site, make_backup: MakeBackup) -> None:
    job = ended_job(site)
    backup = make_backup(site, content=b"x" * 2048, job=job)
    sites, jobs = said(staff, Site), said(staff, Job)
    assert f"/admin/backups/job/?site__id__exact={site.pk}" in sites
    assert f"/admin/backups/backup/?site__id__exact={site.pk}" in sites
    assert page(Site, "change", site.pk) in jobs
    listed = said(staff, Backup)
    assert page(Job, "change", job.pk) in listed
    assert "2.0\xa0KB" in listed
    shown_job = staff.get(page(Job, "change", job.pk)).content.decode()
    assert page(Backup, "change", backup.pk) in shown_job
    assert f"/admin/backups/jobevent/?job__id__exact={job.pk}" in shown_job
    for model in (Job, Backup):
        assert "</a>" in said(staff, model, site__id__exact=str(site.pk))


def test_job_says_what_failed_and_what_to_do(staff: Client, site: Site) -> None:
    words = {"error_message": "No such folder <x>.", "error_hint": "Mount it."}
    job = ended_job(site, "failed", **words)
    shown_job = staff.get(page(Job, "change", job.pk)).content.decode()
    assert "<strong>No such folder &lt;x&gt;.</strong>" in shown_job
    assert '<span class="hint">Mount it.</span>' in shown_job
    assert "No such folder &lt;x&gt;." in said(staff, Job)


def test_site_admin_gets_no_link_to_a_node_or_a_storage(
    site: Site, site_admin: User, make_backup: MakeBackup
) -> None:
    job = ended_job(site)
    make_backup(site, job=job)
    User.objects.filter(pk=site_admin.pk).update(is_staff=True)
    client = Client()
    client.force_login(site_admin)
    for address in (page(Site), page(Job), page(Backup), page(Site, "change", site.pk),
                    page(Job, "change", job.pk)):  # fmt: skip
        content = client.get(address).content.decode()
        assert site.node.name in content or address == page(Backup)
        assert "/admin/backups/node/" not in content
        assert "/admin/backups/storage/" not in content


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (Node, "manage.py node token web-01"),
        (EnrolmentToken, "manage.py node add web-01 --root /var/www"),
        (Worker, "manage.py worker --node web-01"),
        (Site, "No site yet"),
        (Storage, "No storage yet"),
        (Job, "No backup has run yet"),
        (Backup, "No backup has been made yet"),
    ],
)
def test_empty_list_says_what_to_do_first(model: type, words: str, staff: Client) -> None:
    assert words in said(staff, model)
    if model not in (EnrolmentToken, Worker):
        assert words not in said(staff, model, q="x")


def test_commands_for_a_first_node_are_those_that_there_are(node: Node) -> None:
    from django.core.management import CommandError, call_command

    # Understood, and refused for what there is already and for a database that is a file.
    with pytest.raises(CommandError, match="already exists"):
        call_command("node", "add", "web-01", "--root", "/var/www")
    with pytest.raises(CommandError, match="Another host cannot reach"):
        call_command("node", "token", "web-01")


def test_site_with_a_history_can_be_deleted_and_its_log_is_not_read(
    staff: Client, site: Site, node_admin: User
) -> None:
    job = ended_job(site, "failed")
    JobEvent.objects.create(job=job, epoch=1, kind="x", message="a-line", created_at=Now())
    User.objects.filter(pk=node_admin.pk).update(is_staff=True, role=Role.NODE_ADMIN)
    client = Client()
    client.force_login(node_admin)
    asked = client.get(page(Site, "delete", site.pk)).content.decode()
    assert "its jobs and their logs" in asked
    assert "a-line" not in asked
    assert client.post(page(Site, "delete", site.pk), {"post": "yes"}).status_code == 302
    assert not Site.objects.exists()
    assert not Job.objects.exists()


def test_site_with_backups_stays_and_it_is_said_why(
    staff: Client, site: Site, make_backup: MakeBackup
) -> None:
    make_backup(site, job=ended_job(site))
    answer = staff.post(page(Site, "delete", site.pk), {"post": "yes"}, follow=True)
    assert "xample.com has 1 backups; delete them first." in answer.content.decode()
    assert Site.objects.exists()
