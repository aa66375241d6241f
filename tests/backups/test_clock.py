"""A clock that was far ahead and is right again leaves nothing that is due in years."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from django.core.management import call_command

from backups.actions import clock, schedules
from backups.models import Backup, Errand, Site

pytestmark = [pytest.mark.django_db(transaction=True)]

AHEAD = timedelta(days=3650)


def next_run(site: Site) -> datetime:
    moment = Site.objects.get(pk=site.pk).next_run_at
    assert moment is not None
    return moment


@pytest.mark.parametrize(
    "plan",
    [
        {"frequency": "daily"},
        {"frequency": "weekly", "schedule_days": "2"},
        {"frequency": "monthly", "schedule_days": "31"},
        {"frequency": "cron", "schedule_cron": "0 2 29 2 *"},
    ],
)
def test_next_run_is_as_named_again(plan: dict[str, str], site: Site) -> None:
    schedules.set_schedule(site=site, **plan)
    right = next_run(site)
    assert clock.mend_what_is_due_too_late() == 0
    assert next_run(site) == right
    Site.objects.update(next_run_at=right + AHEAD, next_named_at=right + AHEAD)
    assert clock.mend_what_is_due_too_late() == 1
    assert next_run(site) == right


def test_looks_and_removals_are_due_again(site: Site, make_backup: Callable[..., Backup]) -> None:
    later = datetime.now(UTC) + AHEAD
    make_backup(site, checked_at=later)
    Site.objects.update(retention_due_at=later, schedule_retry_at=later)
    Errand.objects.create(key="rest:1", kind="check", node=site.node, not_before=later)
    call_command("coordinator", "--once")
    row = Site.objects.get()
    assert row.retention_due_at is not None and row.retention_due_at < datetime.now(UTC)
    assert row.schedule_retry_at is None
    assert Errand.objects.get(key="rest:1").not_before is None
    assert Backup.objects.get().checked_at is None


def test_what_is_put_off_for_a_good_reason_stays_so(
    site: Site, make_backup: Callable[..., Backup]
) -> None:
    soon = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=23)
    make_backup(site, checked_at=datetime.now(UTC))
    Site.objects.update(retention_due_at=soon)
    Errand.objects.create(key="prune:1", kind="prune", node=site.node, not_before=soon)
    before = [list(model.objects.values()) for model in (Site, Errand, Backup)]
    clock.mend_what_is_due_too_late()
    assert [list(model.objects.values()) for model in (Site, Errand, Backup)] == before
