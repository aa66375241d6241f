"""The dashboard's charts: from the domain's figures to what is drawn, once a minute at most."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date
from typing import Any

from django.core.cache import cache
from django.template.defaultfilters import filesizeformat

from backups.queries import trends, usage_by_storage
from panel.dashboard.charts import Chart, Column, line, stacked_bars
from panel.dashboard.filters import Scope
from panel.dashboard.words import count_of, duration

# Months of jobs are summed up for it: too much to do for each look of each person.
KEPT_SECONDS = 60


def charts_of(scope: Scope) -> list[Chart]:
    """Return the charts of what is chosen, as they were within the last minute."""
    key = f"dashboard-charts:{scope.cache_key}"
    found: list[Chart] | None = cache.get(key)
    if found is None:
        found = _draw(scope)
        cache.set(key, found, KEPT_SECONDS)
    return found


def _draw(scope: Scope) -> list[Chart]:
    days = trends.days_until_today(scope.days)
    jobs = trends.jobs_by_day(scope.jobs, days)
    return [
        _ends(jobs),
        _trend(
            "Average duration",
            "How long good backups took",
            days,
            [day.seconds for day in jobs],
            duration,
        ),
        _trend(
            "Average size",
            "How large good backups are",
            days,
            trends.sizes_by_day(scope.backups, days),
            filesizeformat,
        ),
        _ages(trends.ages_of_newest(scope.sites)),
        _stored(usage_by_storage(scope.backups)),
    ]


def _ends(days: Sequence[trends.DayOfJobs]) -> Chart:
    completed, failed = sum(day.completed for day in days), sum(day.failed for day in days)
    columns = [
        Column(
            (("good", day.completed), ("bad", day.failed)),
            f"{day.day}: {day.completed} completed, {day.failed} failed",
        )
        for day in days
    ]
    return Chart(
        title="Backups per day",
        summary=f"{completed} completed and {failed} failed in {len(days)} days",
        headings=("Day", "Completed", "Failed"),
        rows=tuple((str(day.day), str(day.completed), str(day.failed)) for day in days),
        bars=stacked_bars(columns),
        first_label=_short(days[0].day),
        last_label="today",
        top_label=str(max((day.completed + day.failed for day in days), default=0)),
    )


def _trend(
    title: str,
    meaning: str,
    days: Sequence[date],
    values: Sequence[float | None],
    say: Callable[[Any], str],
) -> Chart:
    known = [value for value in values if value is not None]
    lines, dots = line(values)
    newest = f", most recently {say(known[-1])}" if known else ": none in this time"
    return Chart(
        title=title,
        summary=f"{meaning}{newest}",
        headings=("Day", title),
        rows=tuple(
            (str(day), "-" if value is None else say(value))
            for day, value in zip(days, values, strict=True)
        ),
        lines=lines,
        dots=dots,
        first_label=_short(days[0]),
        last_label="today",
        top_label=say(max(known)) if known else "",
    )


def _ages(groups: Sequence[tuple[str, int]]) -> Chart:
    kinds = {"1 day": "good", "2 days": "good", "1 week": "fair", "1 month": "fair"}
    columns = [
        Column(((kinds.get(label, "bad"), number),), f"{label}: {count_of(number, 'site')}")
        for label, number in groups
    ]
    fresh = groups[0][1]
    return Chart(
        title="Age of the newest good backup",
        summary=f"{fresh} of {count_of(sum(number for _, number in groups), 'site')} within a day",
        headings=("Up to", "Sites"),
        rows=tuple((label, str(number)) for label, number in groups),
        bars=stacked_bars(columns),
        first_label="up to 1 day",
        last_label="never",
        top_label=str(max((number for _, number in groups), default=0)),
    )


def _stored(storages: Sequence[dict[str, Any]]) -> Chart:
    total = sum(one["used_bytes"] for one in storages)
    columns = [
        Column(
            (("neutral", one["used_bytes"]),),
            f"{one['name']}: {filesizeformat(one['used_bytes'])}",
        )
        for one in storages
    ]
    return Chart(
        title="Stored in each storage",
        summary=f"{filesizeformat(total)} in {count_of(len(storages), 'storage')}",
        headings=("Storage", "Stored", "Backups"),
        rows=tuple(
            (one["name"], filesizeformat(one["used_bytes"]), str(one["backup_count"]))
            for one in storages
        ),
        bars=stacked_bars(columns),
        first_label=", ".join(one["name"] for one in storages),
        top_label=filesizeformat(max((one["used_bytes"] for one in storages), default=0)),
    )


def _short(day: date) -> str:
    return f"{day:%b} {day.day}"
