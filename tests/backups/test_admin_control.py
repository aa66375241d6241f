"""Jobs and nodes are controlled from Django's admin, by those who may."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from backups.models import Backup, EnrolmentToken, Job, Node, Site, Storage
from panel.accounts.models import User
from tests.backups.conftest import claimed, ended_job
from tests.backups.test_admin import make_token, page, site_form

pytestmark = pytest.mark.usefixtures("closed_broker")


def run(client: Client, model: type, action: str, *rows: Any, **others: Any) -> str:
    form = {"action": action, "_selected_action": [row.pk for row in rows], **others}
    return client.post(page(model), form, follow=True).content.decode()


def staff_client(user: User) -> Client:
    """Return the browser of one who may use the admin, with no right but by the role."""
    User.objects.filter(pk=user.pk).update(is_staff=True)
    client = Client(raise_request_exception=False)
    client.force_login(User.objects.get(pk=user.pk))
    return client


@pytest.mark.parametrize(
    ("action", "words", "state"),
    [("stop", "what they wrote is removed", "stopping"), ("reset", "given up at once", "reset")],
)
def test_page_says_what_happens_before_anything_does(
    action: str, words: str, state: str, staff: Client, site: Site
) -> None:
    claimed(site)
    job = Job.objects.get()
    asked = run(staff, Job, action, job)
    assert words in asked
    assert str(job.pk) in asked
    assert Job.objects.get().state == "running"
    done = run(staff, Job, action, job, confirmed="yes")
    assert site.name in done
    assert Job.objects.get().state == state


def test_job_is_stopped_and_whoever_did_it_is_named(
    staff: Client, site: Site, other_site: Site
) -> None:
    claimed(site)
    ended = ended_job(other_site)
    said = run(staff, Job, "stop", *Job.objects.all(), confirmed="yes")
    assert "Backup stop requested for example.com" in said
    # What is refused is said, and holds back nothing else.
    assert f"Not backup {ended.pk}: This backup of other.org has ended already." in said
    job = Job.objects.exclude(pk=ended.pk).get()
    asked = job.events.get(kind="stop_requested")
    assert asked.message == "Stop requested by super@example.com"


def test_reset_does_not_hit_a_newer_job(staff: Client, site: Site) -> None:
    old = ended_job(site, "failed")
    claimed(site)
    said = run(staff, Job, "reset", old, confirmed="yes")
    assert "a newer one began since" in said
    assert Job.objects.exclude(pk=old.pk).get().state == "running"


def test_failed_job_is_tried_again(staff: Client, site: Site) -> None:
    old = ended_job(site, "failed")
    said = run(staff, Job, "try_again", old)
    assert "begins again from the beginning" in said
    new = Job.objects.exclude(pk=old.pk).get()
    assert (new.retry_of_id, new.requested_by.email) == (old.pk, "super@example.com")
    assert "Only a job that failed or was stopped" in run(staff, Job, "try_again", new)


def test_site_admin_stops_and_does_not_reset(site: Site, site_admin: User) -> None:
    claimed(site)
    client = staff_client(site_admin)
    said = run(client, Job, "reset", Job.objects.get(), confirmed="yes")
    assert "Only an admin of the node may reset: 1 jobs" in said
    assert Job.objects.get().state == "running"
    run(client, Job, "stop", Job.objects.get(), confirmed="yes")
    assert Job.objects.get().state == "stopping"


def test_jobs_of_others_are_out_of_reach(site: Site, other_site: Site, node_admin: User) -> None:
    claimed(other_site)
    client = staff_client(node_admin)
    for action in ("stop", "reset", "try_again"):
        run(client, Job, action, Job.objects.get(), confirmed="yes")
    assert Job.objects.get().state == "running"


def test_number_is_asked_for_and_set_on_each_node(
    staff: Client, node: Node, other_node: Node
) -> None:
    asked = run(staff, Node, "scale", node, other_node)
    assert 'name="slots"' in asked
    for number in ("", "0", "65", "x"):
        again = run(staff, Node, "scale", node, other_node, confirmed="yes", slots=number)
        assert 'class="errorlist"' in again
        assert set(Node.objects.values_list("slots", flat=True)) == {2}
    said = run(staff, Node, "scale", node, other_node, confirmed="yes", slots="6")
    assert "Stages at once on web-02: 6" in said
    assert set(Node.objects.values_list("slots", flat=True)) == {6}


def test_node_drains_and_resumes(staff: Client, node: Node) -> None:
    assert "Draining web-01" in run(staff, Node, "drain", node)
    assert Node.objects.get().is_draining
    assert "Resumed web-01" in run(staff, Node, "resume", node)
    assert not Node.objects.get().is_draining


def test_node_admin_changes_limits_and_not_what_the_node_may_read(
    node: Node, other_node: Node, node_admin: User
) -> None:
    client = staff_client(node_admin)
    inline = {"workers-TOTAL_FORMS": "0", "workers-INITIAL_FORMS": "0"}
    form = {"name": "mine", "allowed_roots": '["/"]', "admins": [], "slots": "9", "nice": "0",
            "io_class": "idle", "is_enabled": "on", **inline}  # fmt: skip
    assert client.post(page(Node, "change", node.pk), form).status_code == 302
    kept = Node.objects.get(pk=node.pk)
    assert (kept.slots, kept.nice, kept.io_class) == (9, 0, "idle")
    assert (kept.name, kept.allowed_roots) == (node.name, node.allowed_roots)
    assert list(kept.admins.all()) == [node_admin]
    assert client.get(page(Node, "add")).status_code == 403
    assert client.post(page(Node, "delete", node.pk), {"post": "yes"}).status_code == 403
    assert client.get(page(Node, "change", other_node.pk)).status_code == 302
    run(client, Node, "drain", other_node)
    assert not Node.objects.get(pk=other_node.pk).is_draining


def test_site_admin_changes_what_leads_nowhere_else(
    site: Site, other_node: Node, site_admin: User, storage: Storage
) -> None:
    client = staff_client(site_admin)
    form = {"name": "renamed", "excludes": "null", "node": other_node.pk, "storage": "",
            "wp_path": "/srv/other/x", "db_host": "elsewhere", "db_password": "mine",
            "db_engine": "mysql", "admins": []}  # fmt: skip
    assert client.post(page(Site, "change", site.pk), form).status_code == 302
    kept = Site.objects.get(pk=site.pk)
    assert (kept.name, kept.node, kept.storage) == ("renamed", site.node, storage)
    assert (kept.wp_path, kept.db_host, kept.db_password) == (site.wp_path, "", None)
    assert list(kept.admins.all()) == [site_admin]
    assert client.get(page(Site, "add")).status_code == 403
    assert client.post(page(Site, "delete", site.pk), {"post": "yes"}).status_code == 403
    run(client, Site, "delete_selected", site, post="yes")
    assert Site.objects.filter(pk=site.pk).exists()
    assert "1 backup started." in run(client, Site, "back_up", site, confirmed="yes")


def test_node_admin_sets_up_sites_on_their_own_nodes(
    site: Site, other_node: Node, node_admin: User
) -> None:
    client = staff_client(node_admin)
    form = site_form(other_node, wp_path="/srv/other/y")
    for url in (page(Site, "add"), page(Site, "change", site.pk)):
        assert "That choice is not one of" in client.post(url, form).content.decode()
    form = {**site_form(site.node, db_host="db"), "admins": [node_admin.pk]}
    assert client.post(page(Site, "add"), form).status_code == 302
    added = Site.objects.get(name="new.example")
    assert (added.db_host, added.admins.count()) == ("db", 0)
    assert client.post(page(Site, "delete", added.pk), {"post": "yes"}).status_code == 302
    assert list(Site.objects.all()) == [site]


def test_password_of_a_site_is_shown_to_nobody(
    site: Site, site_admin: User, node_admin: User, super_admin: User
) -> None:
    site.db_password = "geheim"
    site.save()
    for user in (super_admin, node_admin, site_admin):
        shown = staff_client(user).get(page(Site, "change", site.pk)).content.decode()
        assert site.wp_path in shown
        assert "geheim" not in shown


def test_tokens_are_shown_without_their_hash(staff: Client, node: Node) -> None:
    token = make_token(node, 7)
    for url in (page(EnrolmentToken), page(EnrolmentToken, "change", token.pk)):
        assert token.token_hash not in staff.get(url).content.decode()
    Node.objects.update(credential_hash="c" * 64)
    assert "c" * 64 not in staff.get(page(Node, "change", node.pk)).content.decode()


def test_backups_are_restored_and_proven_from_their_list(
    staff: Client, site: Site, make_backup: Callable[..., Backup], super_admin: User
) -> None:
    backup = make_backup(site)
    assert "is replaced once all is prepared" in run(staff, Backup, "restore", backup)
    assert not Job.objects.filter(kind="restore").exists()
    wanted = {"what": "files", "target": "in_place", "checkpoint": "on", "confirmed": "yes"}
    assert "The restore of" in run(staff, Backup, "restore", backup, **wanted)
    job = Job.objects.get(kind="restore")
    assert (job.source, job.trigger, job.requested_by) == (backup, "admin", super_admin)
    assert job.parameters["what"] == "files"
    assert job.waits_for is not None
    assert "already running" in run(staff, Backup, "restore", backup, **wanted)
    assert "The sites are not touched" in run(staff, Backup, "prove", backup)
    assert "The proof of" in run(staff, Backup, "prove", backup, confirmed="yes")
    assert Job.objects.get(kind="verify").source == backup


def test_backups_are_pinned_and_unpinned_from_their_list(
    staff: Client, site: Site, make_backup: Callable[..., Backup], super_admin: User
) -> None:
    backup = make_backup(site)
    assert "Retention removes none of these" in run(staff, Backup, "pin", backup)
    assert Backup.objects.get().pinned_at is None
    said = run(staff, Backup, "pin", backup, confirmed="yes", note="before the relaunch")
    assert "is pinned" in said
    pinned = Backup.objects.get()
    assert (pinned.pin_note, pinned.pinned_by) == ("before the relaunch", super_admin)
    assert "is no longer pinned" in run(staff, Backup, "unpin", backup, confirmed="yes")
    assert Backup.objects.get().pinned_at is None
