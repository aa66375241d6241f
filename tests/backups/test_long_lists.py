"""Pages of long lists, and how the admin finds rows in them."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.test import Client

from backups.admin import base, long_lists
from backups.models import Job, JobEvent, Node, Site, Stage, Storage
from backups.queries import page_of
from panel.accounts.models import User

Browser = Callable[[User], Client]


@pytest.fixture
def browser_of() -> Browser:
    """Return what signs somebody in to the admin, where their role decides what they see."""

    def make(user: User) -> Client:
        User.objects.filter(pk=user.pk).update(is_staff=True)
        client = Client()
        client.force_login(user)
        return client

    return make


@pytest.fixture
def make_jobs(storage: Storage) -> Callable[[Site, int], list[Job]]:
    """Return what makes ended jobs of a site, each with a stage and two lines of a log."""

    def make(site: Site, number: int) -> list[Job]:
        begin = datetime(2026, 1, 1, tzinfo=UTC)
        jobs = [
            Job(site=site, node=site.node, storage=storage, state="completed",
                queued_at=begin + timedelta(minutes=minute // 2))
            for minute in range(number)
        ]  # fmt: skip
        Job.objects.bulk_create(jobs)
        Stage.objects.bulk_create(Stage(job=job, name="backup_db", position=0) for job in jobs)
        JobEvent.objects.bulk_create(
            JobEvent(job=job, epoch=1, kind="x", message=f"{word} {job.pk}", created_at=begin)
            for job in jobs
            for word in ("first", "then")
        )
        return jobs

    return make


def rows_of(client: Client, path: str) -> list[Any]:
    """What an admin's list shows."""
    answer = client.get(f"/admin/backups/{path}")
    assert answer.status_code == 200, answer
    return list(answer.context["cl"].result_list)


def test_pages_are_those_of_slices_when_read_from_either_end(
    site: Site, make_jobs: Callable[..., list[Job]]
) -> None:
    make_jobs(site, 11)
    for order in (("-queued_at", "-pk"), ("queued_at", "pk"), ("pk",)):
        jobs = Job.objects.filter(state="completed").order_by(*order)
        everything = list(jobs)
        for skip in range(13):
            for limit in (1, 4, 20):
                assert page_of(jobs, skip, limit, 11) == everything[skip : skip + limit]


def test_jobs_are_found_by_id_and_by_site(
    staff: Client, site: Site, other_site: Site, make_jobs: Callable[..., list[Job]]
) -> None:
    own, others = make_jobs(site, 2), make_jobs(other_site, 2)
    assert rows_of(staff, f"job/?q={own[0].pk}") == [own[0]]
    assert set(rows_of(staff, "job/?q=EXAMPLE")) == set(own)
    assert set(rows_of(staff, "job/?q=other+org")) == set(others)
    assert set(rows_of(staff, "job/?q=other.org_20260101_000000.tar.zst")) == set(others)
    assert rows_of(staff, f"job/?q={uuid.uuid4()}") == rows_of(staff, "job/?q=nowhere") == []
    assert [event.message.split()[0] for event in rows_of(staff, f"jobevent/?q={own[1].pk}")] == [
        "then",
        "first",
    ]


def test_search_says_when_it_looked_at_some_sites_only(
    staff: Client,
    site: Site,
    other_site: Site,
    make_jobs: Callable[..., list[Job]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(long_lists, "MOST_SITES", 1)
    own, _ = make_jobs(site, 2), make_jobs(other_site, 2)
    answer = staff.get("/admin/backups/job/?q=o")
    assert set(answer.context["cl"].result_list) == set(own)
    assert "More than 1 sites match" in answer.content.decode()
    assert "sites match" not in staff.get("/admin/backups/job/?q=example").content.decode()


def test_log_of_a_job_begins_at_its_beginning_and_other_lists_with_the_newest(
    staff: Client, site: Site, make_jobs: Callable[..., list[Job]]
) -> None:
    jobs = make_jobs(site, 2)
    words = [f"{word} {job.pk}" for job in jobs for word in ("first", "then")]
    log = rows_of(staff, f"jobevent/?job__id__exact={jobs[0].pk}")
    assert [event.message for event in log] == words[:2]
    assert [event.message for event in rows_of(staff, "jobevent/")] == words[::-1]


def test_parts_of_the_newest_jobs_are_listed_unless_one_is_chosen(
    node_admin: User,
    site: Site,
    other_site: Site,
    browser_of: Browser,
    make_jobs: Callable[..., list[Job]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(long_lists, "MOST_JOBS", 2)
    browser = browser_of(node_admin)
    jobs, others = make_jobs(site, 6), make_jobs(other_site, 3)
    assert {stage.job_id for stage in rows_of(browser, "stage/")} == {job.pk for job in jobs[4:]}
    chosen = rows_of(browser, f"stage/?job__id__exact={jobs[0].pk}")
    assert [stage.job_id for stage in chosen] == [jobs[0].pk]
    assert rows_of(browser, f"stage/?job__id__exact={others[0].pk}") == []
    assert rows_of(browser, f"jobevent/?q={others[0].pk}") == []


def test_endless_lists_are_counted_up_to_a_limit(
    staff: Client,
    site: Site,
    make_jobs: Callable[..., list[Job]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(base, "MOST_COUNTED", 60)
    make_jobs(site, 40)
    answer = staff.get("/admin/backups/jobevent/?p=2")
    assert answer.context["cl"].result_count == 60
    assert len(answer.context["cl"].result_list) == 10
    assert staff.get("/admin/backups/job/").context["cl"].result_count == 40


def test_filters_name_only_nodes_that_the_user_may_see(
    node_admin: User, node: Node, site: Site, other_site: Site, browser_of: Browser
) -> None:
    third = Node.objects.create(name="web-03")
    third.admins.add(node_admin)
    page = browser_of(node_admin).get("/admin/backups/site/").content.decode()
    assert "web-01" in page
    assert "web-03" in page
    assert "web-02" not in page
