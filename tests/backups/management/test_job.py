"""`manage.py job`."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from backups.models import Backup, Job, Site
from tests.backups.conftest import claimed, ended_job

pytestmark = pytest.mark.usefixtures("closed_broker")


def job(*arguments: object) -> str:
    out = io.StringIO()
    call_command("job", *map(str, arguments), stdout=out)
    return out.getvalue()


@pytest.mark.django_db
def test_list_says_how_to_begin_when_there_is_no_job() -> None:
    assert "manage.py backup" in job("list")


def test_list_chooses_by_site_node_and_status(site: Site, other_site: Site) -> None:
    failed, running = ended_job(site, "failed"), claimed(other_site)
    both = job("list").splitlines()
    assert both[0].split() == ["JOB", "SITE", "NODE", "STATE", "PROGRESS", "QUEUED", "FINISHED"]
    assert [line.split()[0] for line in both[1:]] == [str(running.job_id), str(failed.pk)]
    assert both[2].split()[1:5] == ["example.com", "web-01", "failed", "0%"]
    for choice in (("--site", "example.com"), ("--node", "web-01"), ("--status", "failed")):
        assert [line.split()[0] for line in job("list", *choice).splitlines()[1:]] == [
            str(failed.pk)
        ]
    assert len(job("list", "--limit", "1").splitlines()) == 2


def test_job_is_shown_with_its_error_its_stages_and_its_log(site: Site) -> None:
    old = ended_job(site, "failed", error_message="No room", error_hint="Make some.")
    said = job("show", old.pk)
    assert "No room. Make some." in said
    assert "upload_remote  pending" in said
    assert "Backup of example.com is queued" in said
    new = job("retry", old.pk).partition("(job ")[2].strip(")\n")
    assert f"Goes on with the work of job {old.pk}" in job("show", new)


@pytest.mark.parametrize(
    "name", [lambda job: job.pk, lambda job: str(job.pk)[:8], lambda job: job.site.name]
)
def test_job_is_found_by_its_id_its_beginning_and_as_the_newest_of_a_site(
    name: Callable[[Job], Any], site: Site
) -> None:
    ended_job(site)
    newest = ended_job(site)
    assert f"job {newest.pk}" in job("show", name(newest))


def test_error_says_what_to_give_when_no_one_job_is_meant(site: Site) -> None:
    first, second = ended_job(site), ended_job(site)
    Job.objects.filter(pk=first.pk).delete()
    twin = Job.objects.get(pk=second.pk)
    twin.pk, twin.active_site = (
        f"{str(second.pk)[:-1]}{'0' if str(second.pk)[-1] > '0' else '1'}",
        None,
    )
    twin.save(force_insert=True)
    with pytest.raises(CommandError, match="give more of the id"):
        job("show", str(second.pk)[:8])
    for wrong in ("nonsense", "abc", "12345678-1234-1234-1234-123456789abc"):
        with pytest.raises(CommandError, match=f"There is no job {wrong}"):
            job("show", wrong)


def test_site_without_a_job_is_said_to_have_none(site: Site) -> None:
    with pytest.raises(CommandError, match=r"example\.com has no job yet"):
        job("stop", "example.com")


def test_job_that_waits_is_stopped_and_one_that_runs_is_asked_to(
    site: Site, other_site: Site
) -> None:
    attempt = claimed(site)
    assert "the running stage ends itself" in job("stop", attempt.job_id)
    assert Job.objects.get().state == "stopping"
    ended_job(other_site)
    Job.objects.filter(site=other_site).update(state="queued", active_site=other_site)
    assert "Backup of other.org stopped" in job("stop", "other.org")
    with pytest.raises(CommandError, match="has ended already"):
        job("stop", "other.org")


def test_job_is_reset_and_its_evidence_told(site: Site) -> None:
    claimed(site)
    said = job("reset", "example.com")
    assert "reset to idle for example.com" in said
    assert "5 tasks revoked" in said
    assert "removed when it answers" in said
    assert Job.objects.get().state == "reset"
    assert "0 tasks revoked\nWhat is left on web-01" in job("reset", "example.com")
    Job.objects.update(cleanup_pending=False)
    assert "Nothing was running" in job("reset", "example.com")


def test_reset_does_not_hit_a_newer_job(site: Site) -> None:
    old = ended_job(site)
    claimed(site)
    with pytest.raises(CommandError, match="a newer one began since"):
        job("reset", old.pk)
    assert Job.objects.exclude(pk=old.pk).get().state == "running"


def test_retry_says_where_it_goes_on_and_refuses_what_ended_well(site: Site) -> None:
    old = ended_job(site, "stopped")
    assert "begins again from the beginning" in job("retry", old.pk)
    assert Job.objects.get(retry_of=old).state == "queued"
    with pytest.raises(CommandError, match="already running"):
        job("retry", old.pk)
    with pytest.raises(CommandError, match="failed or was stopped"):
        job("retry", Job.objects.get(retry_of=old).pk)
    assert not Backup.objects.exists()
