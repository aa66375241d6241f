"""`manage.py coordinator`: that one thing which cannot be done keeps no other from being done."""

from __future__ import annotations

import logging
import threading
from datetime import timedelta

import pytest
from cryptography.fernet import Fernet
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db.models.functions import Now
from django.utils import timezone
from django_celery_results.models import TaskResult

from backups.actions import admission, jobs, recovery
from backups.models import Job, Node, Site, Stage, Storage, Worker
from backups.queries import newest_job

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("settled_dispatch"),
]


def add_worker(node: Node, silent: timedelta = timedelta()) -> Worker:
    return Worker.objects.create(
        name=f"{node.name}.{silent.total_seconds():.0f}@host",
        node=node,
        hostname="host",
        process_id=1,
        started_at=Now(),
        last_seen_at=Now() - silent,
    )


@pytest.fixture
def queued(site: Site, other_site: Site) -> list[Job]:
    """A queued job on each of two nodes, which get their workers only now."""
    queued = [jobs.start_backup(site=one) for one in (site, other_site)]
    for thread in threading.enumerate():
        if thread.name == "dispatch":
            thread.join()
    for one in (site, other_site):
        add_worker(one.node)
    return queued


def test_coordinator_goes_on_when_a_job_cannot_be_handled(
    queued: list[Job], caplog: pytest.LogCaptureFixture
) -> None:
    """As after a downgrade, with a job that has a stage of the newer version."""
    first, _ = queued
    Stage.objects.filter(job=first, position=0).update(name="of_a_newer_version")
    late = timezone.now() - timedelta(minutes=1)
    with caplog.at_level(logging.ERROR):
        for _ in range(2):
            call_command("coordinator", "--once")
    assert "of_a_newer_version" in caplog.text
    assert set(Job.objects.values_list("state", flat=True)) == {"dispatched"}
    Job.objects.update(claim_deadline=late)
    call_command("coordinator", "--once")
    assert set(Job.objects.values_list("epoch", flat=True)) == {2}


def test_no_other_node_waits_when_the_broker_is_away(queued: list[Job]) -> None:
    """A broker that hangs costs seconds for each message; lost jobs wait for the round's end."""
    assert admission.admit_jobs() == 1
    assert Job.objects.filter(state="queued").count() == 1


def test_workers_that_never_signed_off_are_forgotten_after_a_day(node: Node) -> None:
    alive, silent = add_worker(node), add_worker(node, timedelta(hours=1))
    add_worker(node, timedelta(hours=25))
    call_command("coordinator", "--once")
    assert set(Worker.objects.all()) == {alive, silent}


def test_answers_are_forgotten_after_an_hour() -> None:
    for task_id in ("old", "new"):
        TaskResult.objects.create(task_id=task_id, result="{}")
    old = timezone.now() - timedelta(minutes=61)
    TaskResult.objects.filter(task_id="old").update(date_done=old)
    call_command("coordinator", "--once")
    assert [answer.task_id for answer in TaskResult.objects.all()] == ["new"]


def test_status_is_there_and_backup_refused_when_no_key_opens_a_secret(
    site: Site, settings: pytest.FixtureRequest
) -> None:
    job = jobs.start_backup(site=site)
    Site.objects.filter(pk=site.pk).update(db_password="s3cret")
    Storage.objects.update(secrets={"secret_access_key": "s3cret"})
    settings.HOLDFAST_ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
    assert newest_job(site) == job
    with pytest.raises(CommandError, match="HOLDFAST_ENCRYPTION_KEYS"):
        call_command("backup", site.name, "--no-follow")
    assert recovery.recover_lost_jobs() == 0
