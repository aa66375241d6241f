"""When sites come next, worked out anew because what decides it has changed."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from typing import Any

from django.db.models import QuerySet
from django.db.models.functions import Now

from backups import queries
from backups.models import Site
from backups.schedule import Plan, Run

logger = logging.getLogger(__name__)

# What of a node decides when its sites come next.
FIELDS_OF_NODE = frozenset({"time_zone", "blackouts", "schedule_window_minutes"})


def replan(sites: QuerySet[Site]) -> None:
    """Work out anew when the next runs of the sites start; none is lost, and none comes twice.

    A run that is due stays due: it was missed, or waits, and is made up for.
    """
    scheduled = sites.exclude(next_run_at=None).select_related("node").defer("db_password")
    planned: list[Any] = list(scheduled.annotate(now=Now()))
    for site in planned:
        try:
            plan = queries.plan_of(site)
        except ValueError as error:
            logger.error("the schedule of %s cannot be used: %s", site.name, error)
            continue
        values: dict[str, Any] = {"schedule_longest_gap": longest_gap_kept(plan)}
        if site.next_run_at > site.now:
            values["next_run_at"] = plan.start_of(site.next_named_at or site.next_run_at)
        # Whoever moved the run meanwhile knew the node as it is now.
        Site.objects.filter(pk=site.pk, next_run_at=site.next_run_at).update(**values)


def next_run_columns(run: Run | None) -> dict[str, datetime | None]:
    """Return what a site's row says of its next run."""
    return {
        "next_run_at": run.start if run else None,
        "next_named_at": run.named if run else None,
    }


def longest_gap_kept(plan: Plan) -> timedelta | None:
    """Return what the site's row keeps: nothing where the frequency alone says it."""
    return plan.longest_gap() if plan.cron or plan.blackouts else None
