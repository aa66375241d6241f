"""What the page of a site says of its schedule."""

from __future__ import annotations

from datetime import UTC, tzinfo
from typing import Any

from backups.models import Site
from backups.queries import schedule_of
from backups.schedule import read_zone


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
    return {**found, "runs": runs}


def _zone(name: str) -> tzinfo:
    try:
        return read_zone(name)
    except ValueError:
        return UTC
