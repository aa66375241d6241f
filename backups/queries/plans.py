"""A site's schedule as people see it: what is set, what comes next, and what holds it up."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.utils import timezone

from backups.models import Site
from backups.queries.retention import effective_policy
from backups.queries.schedules import is_paused, plan_of, why_waiting, window_of
from backups.schedule import schedule_words

RUNS_SHOWN = 5
_AS_STORED = ("schedule_frequency", "schedule_time", "schedule_days", "schedule_cron", "time_zone",
              "schedule_window_minutes")  # fmt: skip


def schedule_of(site: Site, *, count: int = RUNS_SHOWN) -> dict[str, Any]:
    """Return all that there is to say of the site's schedule.

    `next_runs` are the starts to come, spread and blackouts counted in, the waiting one first. A
    schedule that the row cannot be read as has none, and `not_running_because` says so.
    """
    now = timezone.now()
    stored = {name: getattr(site, name) for name in _AS_STORED}
    stored["retention_copies"] = effective_policy(site)[0].keep_last or 0
    waits = why_waiting(site, now)
    spread, runs, words = 0, [], ""
    window = window_of(site)
    try:
        plan = plan_of(site)
        spread = int(plan.spread.total_seconds())
        words = schedule_words(
            plan.frequency, site.schedule_time, plan.days, plan.cron, site.time_zone, window
        )
        first = site.next_run_at
        if first is not None:
            runs = [first, *plan.next_runs(after=max(first, now), count=count - 1)]
    except ValueError as error:
        waits = f"The schedule cannot be used: {error}"
    return {
        "site_id": site.pk,
        "site_name": site.name,
        **stored,
        "words": words,
        "window_minutes": window,
        "spread_seconds": spread,
        "next_run_at": site.next_run_at,
        "next_runs": runs,
        "is_due": site.next_run_at is not None and site.next_run_at <= now,
        **_pause_of(site, now),
        "node_is_paused": is_paused(site.node, now),
        "not_running_because": waits,
        "note": site.schedule_note or None,
        "blackouts": site.node.blackouts,
        "blackout_time_zone": site.node.time_zone,
    }


def _pause_of(site: Site, now: datetime) -> dict[str, Any]:
    paused = is_paused(site, now)
    return {
        "is_paused": paused,
        "paused_until": site.paused_until if paused else None,
        "paused_at": site.paused_at if paused else None,
        "paused_by": site.paused_by if paused else "",
        "pause_reason": site.pause_reason if paused else "",
    }
