"""What the page of a site says of its schedule and of retention, and what their forms offer."""

from __future__ import annotations

from calendar import day_name
from datetime import UTC, tzinfo
from typing import Any

from backups.actions.pausing import LONGEST_REASON
from backups.models import Node, Site
from backups.models.node import MAX_WINDOW_MINUTES
from backups.models.rules import MOST_COPIES
from backups.queries import schedule_of
from backups.retention import RULES
from backups.schedule import ScheduleFrequency, blackout_words, read_blackouts, read_zone

_RULE_LABELS = {
    "keep_last": "The newest ones",
    "daily": "One of each day, for so many days",
    "weekly": "One of each week, for so many weeks",
    "monthly": "One of each month, for so many months",
    "yearly": "One of each year, for so many years",
}


def schedule_shown(site: Site) -> dict[str, Any]:
    """Return the site's schedule with its runs as its own clocks show them, and as UTC."""
    found = schedule_of(site)
    zone = _zone(site.time_zone)
    runs = [
        {
            "moment": run,
            "local": f"{run.astimezone(zone):%a %Y-%m-%d %H:%M}",
            "utc": f"{run.astimezone(UTC):%Y-%m-%d %H:%M} UTC",
        }
        for run in found["next_runs"]
    ]
    return {**found, "runs": runs, "blackout_words": _blackouts(site.node)}


def schedule_choices() -> dict[str, Any]:
    """Return what the forms for a schedule and a pause offer and allow."""
    return {
        "frequencies": ScheduleFrequency.choices,
        "weekdays": list(day_name),
        "most_window_minutes": MAX_WINDOW_MINUTES,
        "longest_reason": LONGEST_REASON,
    }


def retention_choices() -> dict[str, Any]:
    """Return the rules that the form for retention offers, and what they allow."""
    rules = [(rule, _RULE_LABELS[rule]) for rule in RULES]
    return {"retention_rules": rules, "most_copies": MOST_COPIES}


def _blackouts(node: Node) -> str:
    try:
        return blackout_words(read_blackouts(node.blackouts), node.time_zone)
    except ValueError:
        # That the row cannot be used is said where a run would start.
        return ""


def _zone(name: str) -> tzinfo:
    try:
        return read_zone(name)
    except ValueError:
        return UTC
