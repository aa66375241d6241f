"""Which sites a backup is due of, when the next ones are, and what holds them up."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from django.conf import settings
from django.db.models import Q, QuerySet
from django.db.models.functions import Now

from backups.models import Node, Site
from backups.models.pausing import Pausable
from backups.schedule import (
    Plan,
    ScheduleFrequency,
    blackout_end,
    read_blackouts,
    read_cron,
    read_days,
    read_time,
    read_zone,
    spread_of,
)

_OF_NODES = ("name", "label", "is_enabled", "is_draining", "time_zone", "blackouts", "is_paused",
             "paused_until", "paused_by", "pause_reason")  # fmt: skip
_NOT_PAUSED = Q(is_paused=False) | Q(paused_until__lte=Now())
_NOT_PUT_OFF = Q(schedule_retry_at__isnull=True) | Q(schedule_retry_at__lte=Now())
# What has to hold of a site itself for its run to start.
IS_DUE = _NOT_PAUSED & _NOT_PUT_OFF & Q(next_run_at__lte=Now())


def sites_due() -> QuerySet[Any]:
    """Return the sites whose next run can start now, the most overdue first, with `now`.

    By the database's clock; secrets stay unread. What is paused, or on a node that starts nothing
    now, stays due. Nodes are few and looked at in Python: a blackout is no question for SQL.
    """
    nodes = Node.objects.only(*_OF_NODES).annotate(now=Now())
    closed = [node.pk for node in nodes if why_closed(node, node.now)]
    due = Site.objects.filter(IS_DUE)
    if closed:
        due = due.exclude(node__in=closed)
    ordered = due.order_by("next_run_at", "pk").select_related("node")
    return ordered.defer("db_password").annotate(now=Now())


def upcoming_runs(sites: QuerySet[Site]) -> QuerySet[Site]:
    """Return those of the sites that are backed up by themselves, the next one first."""
    scheduled = sites.filter(next_run_at__isnull=False).select_related("node")
    return scheduled.defer("db_password").order_by("next_run_at", "pk")


def window_of(site: Site) -> int:
    """Return over how many minutes runs are spread: as the site says, or its node, or nobody."""
    own, of_node = site.schedule_window_minutes, site.node.schedule_window_minutes
    given = own if own is not None else of_node
    return int(settings.HOLDFAST_SCHEDULE_WINDOW_MINUTES) if given is None else given


def plan_of(site: Site) -> Plan:
    """Return the site's schedule as it is carried out; raises `ValueError` with a sentence."""
    frequency = site.schedule_frequency
    is_cron = frequency == ScheduleFrequency.CRON
    return Plan(
        frequency=frequency,
        at=read_time(site.schedule_time),
        days=read_days(frequency, site.schedule_days),
        cron=read_cron(site.schedule_cron) if is_cron else "",
        zone=read_zone(site.time_zone),
        spread=spread_of(site.uuid, window_of(site)),
        blackouts=read_blackouts(site.node.blackouts),
        blackout_zone=read_zone(site.node.time_zone),
    )


def is_paused(row: Pausable, now: datetime) -> bool:
    """Return whether a site or node is paused at this moment."""
    return row.is_paused and (row.paused_until is None or row.paused_until > now)


def why_closed(node: Node, now: datetime) -> str | None:
    """Return why no backup starts by itself on the node now; None if one does."""
    if not node.is_enabled:
        return f"{node} is disabled."
    if node.is_draining:
        return f"{node} drains: it takes no new work."
    if is_paused(node, now):
        return f"The schedules on {node} are {pause_words(node)}."
    try:
        end = blackout_end(read_blackouts(node.blackouts), read_zone(node.time_zone), now)
    except ValueError as error:
        return f"The blackouts of {node} cannot be used: {error}"
    return f"{node} is in a blackout until {shown_moment(end)}." if end else None


def why_waiting(site: Site, now: datetime) -> str | None:
    """Return why the site is not backed up by itself at its time; None if it is."""
    if site.schedule_frequency == ScheduleFrequency.MANUAL:
        return "The site is backed up by hand only."
    if is_paused(site, now):
        return f"The schedule is {pause_words(site)}."
    is_due = site.next_run_at is not None and site.next_run_at <= now
    closed = why_closed(site.node, now)
    if closed and (is_due or is_paused(site.node, now) or not site.node.is_enabled):
        return closed
    return (site.schedule_note or None) if is_due else None


def shown_moment(moment: datetime) -> str:
    """Return a moment for a sentence."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def pause_words(row: Pausable) -> str:
    """Return as `paused until 2026-03-01 08:00 UTC by ada@example.com: disks are replaced`."""
    until = f"until {shown_moment(row.paused_until)}" if row.paused_until else "until resumed"
    by = f" by {row.paused_by}" if row.paused_by else ""
    reason = f": {row.pause_reason}" if row.pause_reason else ""
    return f"paused {until}{by}{reason}".rstrip(".")
