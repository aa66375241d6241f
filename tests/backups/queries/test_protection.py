"""Which sites are protected, at risk and failing, and which failures still stand."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db.models.functions import Now

from backups.actions import nodes, schedules
from backups.models import Job, Site
from backups.protection import GRACE, LONGEST_AGE
from backups.queries.protection import (
    protection_counts,
    sites_with_protection,
    standing_failures,
)
from backups.schedule import ScheduleFrequency

pytestmark = pytest.mark.django_db
MARGIN = timedelta(minutes=5)


def protection(site: Site) -> str:
    shown = sites_with_protection(Site.objects.filter(pk=site.pk)).get()
    assert protection_counts(Site.objects.filter(pk=site.pk))[shown.protection] == 1
    return str(shown.protection)


def backed_up(site: Site, age: timedelta, **fields: object) -> None:
    """Let the site's newest good backup be that old."""
    Site.objects.filter(pk=site.pk).update(last_backup=Now() - age, **fields)


def ended(site: Site, state: str, minutes_ago: int, *, is_reset: bool = False) -> Job:
    """A job of the site that was queued so long ago."""
    queued = Now() - timedelta(minutes=minutes_ago)
    job = Job.objects.create(
        site=site, node=site.node, storage=site.storage, state=state, queued_at=queued
    )
    if is_reset:
        Job.objects.filter(pk=job.pk).update(reset_at=Now())
    return job


def standing(site: Site) -> list[Job]:
    return list(standing_failures(Job.objects.filter(site=site)))


def test_every_schedule_has_a_longest_age() -> None:
    assert set(LONGEST_AGE) == set(ScheduleFrequency)


@pytest.mark.parametrize("frequency", list(ScheduleFrequency))
def test_site_is_protected_until_its_backup_is_older_than_the_schedule_promises(
    site: Site, frequency: ScheduleFrequency
) -> None:
    longest = LONGEST_AGE[frequency]
    backed_up(site, longest - MARGIN, schedule_frequency=frequency)
    assert protection(site) == "protected"
    backed_up(site, longest + MARGIN)
    assert protection(site) == "at_risk"


@pytest.mark.parametrize(
    ("cron", "longest"),
    [("0 */6 * * *", timedelta(hours=6)), ("0 0 1 */3 *", timedelta(days=92)),
     ("30 2 * * 1-5", timedelta(days=3))],
)  # fmt: skip
def test_site_with_a_cron_expression_is_protected_as_long_as_its_own_gap_says(
    site: Site, cron: str, longest: timedelta
) -> None:
    schedules.set_schedule(site=site, frequency="cron", schedule_cron=cron)
    backed_up(site, longest + GRACE - MARGIN)
    assert protection(site) == "protected"
    backed_up(site, longest + GRACE + MARGIN)
    assert protection(site) == "at_risk"


def test_blackouts_of_the_node_are_no_risk_of_its_sites(site: Site) -> None:
    schedules.set_schedule(site=site, frequency="daily")
    backed_up(site, timedelta(days=3))
    assert protection(site) == "at_risk"
    weekend = [{"days": [5, 6], "start": "00:00", "end": "00:00"}]
    nodes.change_node(node=site.node, blackouts=weekend)
    assert protection(site) == "protected"
    backed_up(site, timedelta(days=4) + MARGIN)
    assert protection(site) == "at_risk"
    backed_up(site, timedelta(days=3))
    nodes.change_node(node=site.node, blackouts=[])
    assert protection(site) == "at_risk"


@pytest.mark.parametrize("frequency", list(ScheduleFrequency))
def test_site_that_was_never_backed_up_is_at_risk(site: Site, frequency: ScheduleFrequency) -> None:
    Site.objects.filter(pk=site.pk).update(schedule_frequency=frequency)
    assert protection(site) == "at_risk"


def test_failure_counts_until_a_later_backup_completes(site: Site) -> None:
    backed_up(site, timedelta(hours=1))
    failed = ended(site, "failed", 30)
    assert protection(site) == "failing"
    assert standing(site) == [failed]
    ended(site, "completed", 20)
    assert protection(site) == "protected"
    assert standing(site) == []
    again = ended(site, "failed", 10)
    assert protection(site) == "failing"
    assert standing(site) == [again]


def test_only_the_newest_of_several_failures_stands(site: Site) -> None:
    ended(site, "failed", 30)
    newest = ended(site, "failed", 20)
    assert standing(site) == [newest]


@pytest.mark.parametrize("state", ["stopped", "running", "queued", "reset"])
def test_what_says_nothing_about_the_site_changes_nothing(site: Site, state: str) -> None:
    backed_up(site, timedelta(hours=1))
    ended(site, state, 5)
    assert protection(site) == "protected"
    failed = ended(site, "failed", 30)
    assert protection(site) == "failing"
    assert standing(site) == [failed]


def test_reset_takes_a_failure_away(site: Site) -> None:
    ended(site, "failed", 30, is_reset=True)
    assert protection(site) == "at_risk"
    assert standing(site) == []
    backed_up(site, timedelta(hours=1))
    assert protection(site) == "protected"


def test_older_failure_stays_away_when_a_newer_one_is_reset(site: Site) -> None:
    ended(site, "failed", 30)
    ended(site, "failed", 20, is_reset=True)
    assert protection(site) == "at_risk"
    assert standing(site) == []


def test_failure_says_whether_it_is_tried_again(site: Site, other_site: Site) -> None:
    ended(site, "failed", 30)
    assert [job.is_tried_again for job in standing(site)] == [False]
    active = ended(site, "running", 5)
    Job.objects.filter(pk=active.pk).update(active_site=site)
    assert [job.is_tried_again for job in standing(site)] == [True]


def test_sites_are_counted_in_each_state_and_nobody_elses(site: Site, other_site: Site) -> None:
    assert protection_counts(Site.objects.none()) == {
        "protected": 0,
        "at_risk": 0,
        "failing": 0,
    }
    backed_up(site, timedelta(hours=1))
    Job.objects.create(
        site=other_site, node=other_site.node, storage=site.storage, state="failed", queued_at=Now()
    )
    assert protection_counts(Site.objects.all()) == {"protected": 1, "at_risk": 0, "failing": 1}
    assert protection_counts(Site.objects.filter(pk=site.pk))["failing"] == 0
    ordered = Site.objects.order_by("name")
    assert protection_counts(ordered) == {"protected": 1, "at_risk": 0, "failing": 1}
