"""Runs that cannot start at their time: they are made up for once, as soon as it is possible."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from django.core.management import call_command
from django.db.models.functions import Now

from backups.actions import jobs, nodes, pausing
from backups.actions.room import MEBIBYTE
from backups.models import Backup, Job, Node, Site, Worker
from tests.backups.conftest import claimed
from tests.backups.management.test_coordinator_schedules import due, next_run_of

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("settled_dispatch")]

DAY = timedelta(days=1)


def round_of_the_coordinator() -> None:
    """One round, at a time when what was put off may be tried again."""
    Site.objects.filter(schedule_retry_at__isnull=False).update(schedule_retry_at=Now())
    call_command("coordinator", "--once")


def scheduled(site: Site) -> int:
    return Job.objects.filter(site=site, kind="backup", trigger="schedule").count()


def end_jobs() -> None:
    Job.objects.update(state="completed", active_site=None, finished_at=Now())


def disabled(node: Node) -> Callable[[], object]:
    nodes.change_node(node=node, is_enabled=False)
    return lambda: nodes.change_node(node=node, is_enabled=True)


def drained(node: Node) -> Callable[[], object]:
    nodes.drain_node(node=node)
    return lambda: nodes.resume_node(node=node)


def paused_node(node: Node) -> Callable[[], object]:
    pausing.pause(row=node, by="ada", reason="disks are replaced")
    return lambda: pausing.resume(row=node)


def paused_sites(node: Node) -> Callable[[], object]:
    for site in node.sites.all():
        pausing.pause(row=site, by="ada")
    return lambda: [pausing.resume(row=site) for site in node.sites.all()]


def paused_for_a_while(node: Node) -> Callable[[], object]:
    pausing.pause(row=node, by="ada", until=datetime.now(UTC) + timedelta(hours=1))
    return lambda: Node.objects.update(paused_until=Now())


def in_a_blackout(node: Node) -> Callable[[], object]:
    now = datetime.now(UTC)
    hours = [(now + timedelta(hours=number)).strftime("%H:%M") for number in (-2, 2)]
    rows = [{"start": hours[0], "end": hours[1]}]
    Node.objects.filter(pk=node.pk).update(blackouts=rows)
    return lambda: Node.objects.filter(pk=node.pk).update(blackouts=[])


HINDRANCES = [disabled, drained, paused_node, paused_sites, paused_for_a_while, in_a_blackout]


@pytest.mark.parametrize("hinder", HINDRANCES)
@pytest.mark.parametrize("late", [timedelta(minutes=2), timedelta(days=9)])
def test_run_starts_once_when_what_held_it_up_is_over(
    hinder: Callable[[Node], Callable[[], object]],
    late: timedelta,
    site: Site,
    other_site: Site,
) -> None:
    free = hinder(site.node)
    moment = due(site, late)
    due(other_site)
    for _ in range(3):
        round_of_the_coordinator()
    assert (scheduled(site), next_run_of(site)) == (0, moment)
    assert scheduled(other_site) == 1, "nobody else waits for it"
    free()
    for _ in range(3):
        round_of_the_coordinator()
        end_jobs()
    assert scheduled(site) == 1
    following = next_run_of(site)
    assert following is not None and timedelta() < following - datetime.now(UTC) <= DAY


def test_run_waits_for_the_backup_that_runs_and_starts_once_after_it(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    claimed(site)
    moment = due(site)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            round_of_the_coordinator()
    assert (Job.objects.count(), next_run_of(site)) == (1, moment)
    assert caplog.text.count("waits: A backup of example.com is already running") == 1
    row = Site.objects.get(pk=site.pk)
    assert row.schedule_note.startswith(f"The run of {moment:%Y-%m-%d %H:%M} UTC waits: ")
    end_jobs()
    for _ in range(3):
        round_of_the_coordinator()
        end_jobs()
    assert scheduled(site) == 1
    row.refresh_from_db()
    assert (row.schedule_note, row.schedule_retry_at) == ("", None)
    assert row.next_run_at == moment + DAY


def test_run_that_was_refused_is_not_tried_again_at_once(site: Site) -> None:
    claimed(site)
    due(site)
    call_command("coordinator", "--once")
    end_jobs()
    call_command("coordinator", "--once")
    assert scheduled(site) == 0, "a minute has to pass"
    round_of_the_coordinator()
    assert scheduled(site) == 1


def test_run_is_covered_by_a_backup_that_has_not_begun(site: Site) -> None:
    """As after a night in which the node was away: one job waits for it, not one each night."""
    jobs.start_backup(site=site)
    moment = due(site)
    round_of_the_coordinator()
    end_jobs()
    round_of_the_coordinator()
    assert Job.objects.count() == 1
    assert next_run_of(site) == moment + DAY


def test_run_waits_for_room_in_the_spool(
    site: Site, live_worker: Worker, make_backup: Callable[..., Backup]
) -> None:
    make_backup(site)
    Backup.objects.update(size_bytes=100 * MEBIBYTE)
    Node.objects.update(disk_free_bytes=MEBIBYTE)
    due(site)
    round_of_the_coordinator()
    assert scheduled(site) == 0
    assert "has no room" in Site.objects.get(pk=site.pk).schedule_note
    Node.objects.update(disk_free_bytes=1 << 40)
    round_of_the_coordinator()
    assert scheduled(site) == 1


def test_backup_by_hand_starts_in_a_pause_and_in_a_blackout(site: Site) -> None:
    paused_node(site.node)
    in_a_blackout(site.node)
    assert jobs.start_backup(site=site).trigger == "manual"


def test_pause_that_came_between_seeing_and_claiming_holds(site: Site) -> None:
    from backups.actions import schedules
    from backups.queries import sites_due

    due(site)
    [seen] = sites_due()
    pausing.pause(row=site, by="ada")
    assert not schedules._start_if_due(seen)
    assert Job.objects.count() == 0


def test_next_run_moves_with_the_nodes_blackouts_and_none_is_lost(site: Site, node: Node) -> None:
    from backups.actions import schedules

    tomorrow = datetime.now(UTC) + DAY
    at = tomorrow.replace(hour=3, minute=0, second=0, microsecond=0)
    schedules.set_schedule(
        site=site, frequency="daily", schedule_time="03:00", schedule_window_minutes=0
    )
    first = next_run_of(site)
    assert first is not None and f"{first:%H:%M}" == "03:00"
    nodes.change_node(node=node, blackouts=[{"start": "02:00", "end": "05:30"}])
    assert next_run_of(site) == first.replace(hour=5, minute=30)
    nodes.change_node(node=node, time_zone="Asia/Kolkata")
    assert next_run_of(site) == first, "02:00 there is 20:30 UTC"
    nodes.change_node(node=node, time_zone="UTC", blackouts=[])
    assert next_run_of(site) == first
    # Named before the blackout was lifted in its midst: it starts now, and not once more at night.
    Site.objects.update(next_named_at=at - 9 * DAY, next_run_at=Now() + timedelta(hours=1))
    nodes.change_node(node=node, blackouts=[])
    for _ in range(3):
        round_of_the_coordinator()
        end_jobs()
    assert scheduled(site) == 1


def test_run_that_was_moved_by_hand_starts_and_the_next_one_is_as_named(site: Site) -> None:
    from backups.actions import schedules

    schedules.set_schedule(
        site=site, frequency="weekly", schedule_days="3", schedule_window_minutes=0
    )
    named = next_run_of(site)
    Site.objects.update(next_run_at=Now() - timedelta(seconds=1))
    round_of_the_coordinator()
    assert (scheduled(site), next_run_of(site)) == (1, named)


def test_run_of_before_the_spread_has_no_second_one_in_its_night(site: Site) -> None:
    """The rows of an older version have no moment that was named, and started on time."""
    moment = due(site, schedule_window_minutes=1440, next_named_at=None)
    round_of_the_coordinator()
    following = next_run_of(site)
    assert following is not None and following >= moment + DAY


def test_due_run_stays_due_when_the_node_changes(site: Site, node: Node) -> None:
    moment = due(site)
    nodes.change_node(node=node, blackouts=[{"start": "02:00", "end": "02:01"}])
    assert next_run_of(site) == moment
