"""`manage.py coordinator` starts what is due: each run once, whoever else leads."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from django.core.management import call_command
from django.db import connection

from backups.actions import jobs, schedules
from backups.models import Backup, Job, Site, Storage
from backups.queries import sites_due

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("settled_dispatch")]

COORDINATORS = 6


def due(site: Site, late: timedelta = timedelta(minutes=1), **fields: object) -> datetime:
    """Let a daily run of the site be due since `late`; return when it is."""
    moment = datetime.now(UTC).replace(second=0, microsecond=0) - late
    values = {
        "schedule_frequency": "daily",
        "schedule_time": f"{moment:%H:%M}",
        "schedule_window_minutes": 0,
        "next_named_at": moment,
        **fields,
    }
    Site.objects.filter(pk=site.pk).update(next_run_at=moment, **values)
    return moment


def next_run_of(site: Site) -> datetime | None:
    return Site.objects.get(pk=site.pk).next_run_at


def test_backup_starts_when_it_is_due_and_the_next_one_is_known(site: Site) -> None:
    moment = due(site)
    call_command("coordinator", "--once")
    job = Job.objects.get()
    assert (job.site, job.trigger, job.requested_by) == (site, "schedule", None)
    assert next_run_of(site) == moment + timedelta(days=1)
    call_command("coordinator", "--once")
    assert Job.objects.count() == 1


def test_nothing_starts_when_nothing_is_due(site: Site, other_site: Site) -> None:
    schedules.set_schedule(site=site, frequency="daily")
    due(other_site, timedelta(minutes=-5))
    call_command("coordinator", "--once")
    assert not Job.objects.exists()


def test_missed_runs_are_made_up_for_once_when_nobody_was_there(site: Site) -> None:
    due(site, timedelta(days=10, minutes=5))
    for _ in range(3):
        call_command("coordinator", "--once")
    job = Job.objects.get()
    following = next_run_of(site)
    assert following is not None
    assert timedelta() < following - datetime.now(UTC) < timedelta(days=1)
    assert job.trigger == "schedule"


def fill_quota(site: Site, make_backup: Callable[..., Backup]) -> None:
    make_backup(site)
    Site.objects.filter(pk=site.pk).update(storage_quota_gb=1e-9)


def lose_storage(site: Site, make_backup: Callable[..., Backup]) -> None:
    Site.objects.filter(pk=site.pk).update(storage=None)
    # Another site's default storage would do.
    Site.objects.exclude(pk=site.pk).update(storage=site.storage)
    Storage.objects.update(is_default=False)


@pytest.mark.parametrize(
    ("hinder", "words"), [(fill_quota, "of its quota"), (lose_storage, "has no storage")]
)
def test_run_is_left_out_with_the_reason_when_a_person_is_needed(
    hinder: Callable[..., None],
    words: str,
    site: Site,
    other_site: Site,
    make_backup: Callable[..., Backup],
    caplog: pytest.LogCaptureFixture,
) -> None:
    hinder(site, make_backup)
    before = Job.objects.count()
    moment = due(site, timedelta(minutes=2))
    due(other_site)
    with caplog.at_level(logging.WARNING):
        call_command("coordinator", "--once")
    assert f"the scheduled backup of {site.name} is left out" in caplog.text
    assert words in caplog.text
    assert next_run_of(site) == moment + timedelta(days=1)
    note = Site.objects.get(pk=site.pk).schedule_note
    assert "was left out" in note and words in note
    assert Job.objects.filter(site=site).count() == before
    assert Job.objects.filter(site=other_site, trigger="schedule").count() == 1


def test_others_start_when_one_cannot(
    site: Site, other_site: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As with a bug that only one site meets."""
    moment, start = due(site, timedelta(minutes=2)), jobs.start_backup
    due(other_site)

    def broken(*, site: Site, trigger: str) -> Job:
        if site.name == "example.com":
            raise ZeroDivisionError
        return start(site=site, trigger=trigger)

    monkeypatch.setattr(schedules, "start_backup", broken)
    call_command("coordinator", "--once")
    assert [job.site for job in Job.objects.all()] == [other_site]
    assert "the scheduled backup of example.com could not be started" in caplog.text
    # Neither the claim nor the job: its turn is still to come.
    assert next_run_of(site) == moment
    row = Site.objects.get(pk=site.pk)
    assert row.schedule_retry_at is not None and "waits: internal error" in row.schedule_note
    assert not sites_due().exists(), "it keeps no others from their turn meanwhile"


def test_schedule_ends_with_a_line_in_the_log_when_it_cannot_be_read(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    due(site, schedule_time="late")
    call_command("coordinator", "--once")
    assert "the schedule of example.com cannot be used" in caplog.text
    assert (Job.objects.count(), next_run_of(site)) == (1, None)


@pytest.mark.parametrize(
    "change", [{"schedule_time": "03:33"}, {"schedule_frequency": "weekly", "schedule_days": "1"}]
)
def test_run_is_not_claimed_by_a_schedule_that_changed_meanwhile(
    change: dict[str, str], site: Site
) -> None:
    moment = due(site)
    [seen] = sites_due()
    Site.objects.filter(pk=site.pk).update(**change)
    assert not schedules._start_if_due(seen)
    assert (Job.objects.count(), next_run_of(site)) == (0, moment)


def test_only_so_many_start_in_one_round(
    site: Site, other_site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schedules, "SITES_AT_ONCE", 1)
    due(site)
    due(other_site, timedelta(minutes=5))
    assert schedules.start_due_backups() == 1
    assert Job.objects.get().site == other_site, "who waits longest goes first"
    assert schedules.start_due_backups() == 1


def test_run_starts_no_second_time_when_another_coordinator_was_late(site: Site) -> None:
    due(site)
    [seen] = sites_due()
    assert schedules._start_if_due(seen)
    # Short as that backup was, it is over by now.
    Job.objects.update(state="completed", active_site=None)
    assert not schedules._start_if_due(seen)
    assert Job.objects.count() == 1


def test_run_is_not_claimed_by_one_that_stood_still_until_the_next_was_due(site: Site) -> None:
    """Another one has started what this one saw; the following run is not this one's to start."""
    moment = due(site, timedelta(minutes=5))
    [seen] = sites_due()
    Site.objects.filter(pk=site.pk).update(next_run_at=moment + timedelta(minutes=4))
    assert not schedules._start_if_due(seen)
    assert not Job.objects.exists()


def test_each_run_starts_once_when_several_coordinators_see_it(
    site: Site, other_site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    for one in (site, other_site):
        due(one)
    together = threading.Barrier(COORDINATORS)
    started: list[int] = []

    def coordinate() -> None:
        try:
            seen = list(sites_due())
            together.wait()
            started.append(sum(schedules._start_if_due(one) for one in seen))
        finally:
            connection.close()

    threads = [threading.Thread(target=coordinate) for _ in range(COORDINATORS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(started) == COORDINATORS
    assert (sum(started), Job.objects.count()) == (2, 2)
    assert "left out" not in caplog.text, "who came late claimed nothing"
