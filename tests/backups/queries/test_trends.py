"""What the charts show, day by day; days are UTC's."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, time, timedelta
from itertools import pairwise
from typing import Any

import pytest
from django.db.models.functions import Now
from django.utils import timezone

from backups.models import Backup, Job, Site
from backups.queries import trends

pytestmark = pytest.mark.django_db
MakeBackup = Callable[..., Backup]


@pytest.fixture(params=["UTC", "Asia/Karachi", "America/Los_Angeles"], autouse=True)
def zone(request: pytest.FixtureRequest) -> Any:
    """Whatever zone the panel's own pages are in."""
    with timezone.override(str(request.param)):
        yield


def at(day: Any, clock: str) -> datetime:
    return datetime.combine(day, time.fromisoformat(clock), tzinfo=UTC)


def job(site: Site, state: str, queued_at: datetime, **fields: Any) -> Job:
    values = {"storage": site.storage, "queued_at": queued_at, **fields}
    return Job.objects.create(site=site, node=site.node, state=state, **values)


def test_days_end_today_in_utc() -> None:
    days = trends.days_until_today(7)
    assert (len(days), days[-1]) == (7, datetime.now(UTC).date())
    assert {after - before for before, after in pairwise(days)} == {timedelta(days=1)}


def test_jobs_are_counted_on_the_day_they_were_queued(site: Site) -> None:
    days = trends.days_until_today(3)
    job(site, "completed", at(days[0], "00:00:00"))
    job(site, "completed", at(days[0], "23:59:59.999999"))
    job(site, "failed", at(days[1], "00:00:00"))
    job(site, "completed", at(days[0], "00:00:00") - timedelta(microseconds=1))
    for state in ("stopped", "reset", "running", "queued"):
        job(site, state, at(days[1], "12:00:00"))
    found = trends.jobs_by_day(Job.objects.all(), days)
    assert [(day.completed, day.failed) for day in found] == [(2, 0), (0, 1), (0, 0)]
    assert [day.day for day in found] == days


def test_good_backups_are_averaged_by_day(site: Site, make_backup: MakeBackup) -> None:
    days = trends.days_until_today(2)
    for number, (clock, seconds, size) in enumerate((("00:00", 10, 100), ("23:59", 30, 300))):
        moment = at(days[0], clock)
        done = job(site, "completed", moment, started_at=moment)
        Job.objects.filter(pk=done.pk).update(finished_at=moment + timedelta(seconds=seconds))
        make_backup(site, number=number, job=done, size_bytes=size, created_at=moment)
    make_backup(site, number=3, status="FAILED", size_bytes=0, created_at=at(days[0], "12:00"))
    assert trends.sizes_by_day(Backup.objects.all(), days) == [200, None]
    assert [day.seconds for day in trends.jobs_by_day(Job.objects.all(), days)] == [20, None]


def test_only_completed_jobs_are_timed(site: Site) -> None:
    days = trends.days_until_today(1)
    moment = at(days[0], "00:00")
    for state, seconds in (("completed", 4), ("failed", 1000)):
        done = job(site, state, moment, started_at=moment)
        Job.objects.filter(pk=done.pk).update(finished_at=moment + timedelta(seconds=seconds))
    assert trends.jobs_by_day(Job.objects.all(), days)[0].seconds == 4


def test_clocks_that_disagree_make_no_time_negative(site: Site) -> None:
    days = trends.days_until_today(1)
    moment = at(days[0], "00:00")
    odd = job(site, "completed", moment, started_at=moment + timedelta(seconds=5))
    Job.objects.filter(pk=odd.pk).update(finished_at=moment)
    assert trends.jobs_by_day(Job.objects.all(), days)[0].seconds == 0


def test_sites_are_grouped_by_the_age_of_their_newest_good_backup(site: Site) -> None:
    labels = [label for _, label in trends.AGE_GROUPS]
    assert trends.ages_of_newest(Site.objects.none()) == [
        (label, 0) for label in (*labels, "older", "never")
    ]
    for age, label in trends.AGE_GROUPS:
        Site.objects.update(last_backup=Now() - age + timedelta(minutes=5))
        assert dict(trends.ages_of_newest(Site.objects.all()))[label] == 1
        Site.objects.update(last_backup=Now() - age - timedelta(minutes=5))
        assert dict(trends.ages_of_newest(Site.objects.all()))[label] == 0
    assert dict(trends.ages_of_newest(Site.objects.order_by("name")))["older"] == 1
    Site.objects.update(last_backup=None)
    assert dict(trends.ages_of_newest(Site.objects.all()))["never"] == 1
