"""Spread and blackouts: where a site's runs start, of what its schedule names."""

from __future__ import annotations

import uuid
from collections import Counter
from datetime import UTC, datetime, time, timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backups.schedule import Plan, Run, blackout_end, read_blackouts, read_zone, spread_of
from backups.schedule.blackouts import longest_blackout

BERLIN = read_zone("Europe/Berlin")
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


def at(text: str) -> datetime:
    return datetime.fromisoformat(f"{text}+00:00")


def test_sites_are_spread_evenly_and_stay_where_they_are() -> None:
    sites = [uuid.UUID(int=number) for number in range(10_000)]
    window = 120
    spreads = [spread_of(site, window) for site in sites]
    assert spreads == [spread_of(site, window) for site in sites]
    assert all(timedelta() <= spread < window * MINUTE for spread in spreads)
    minutes = Counter(spread // MINUTE for spread in spreads)
    # 83 a minute on average: were they drawn, 40 and 130 would be five deviations away.
    assert len(minutes) == window
    assert min(minutes.values()) > 40 and max(minutes.values()) < 130
    chi_squared = (
        sum((found - 10_000 / window) ** 2 for found in minutes.values()) * window / 10_000
    )
    assert chi_squared < 190, "of 119 degrees of freedom, 190 is one in 30,000"
    seconds = Counter(spreads)
    assert max(seconds.values()) <= 12, "no second has many of them"


@given(st.uuids(), st.integers(0, 1440))
def test_spread_is_below_the_window(site: uuid.UUID, window: int) -> None:
    spread = spread_of(site, window)
    assert timedelta() <= spread and (spread < window * MINUTE or spread == timedelta())


OFFICE = [{"days": [0, 1, 2, 3, 4], "start": "08:00", "end": "18:00"}]
NIGHT = [{"days": [4], "start": "22:00", "end": "06:00"}]


@pytest.mark.parametrize(
    ("rows", "moment", "end"),
    [
        (OFFICE, "2026-11-25T07:00", "2026-11-25T17:00"),  # Wednesday, 08:00 in Berlin
        (OFFICE, "2026-11-25T06:59", None),
        (OFFICE, "2026-11-25T16:59", "2026-11-25T17:00"),
        (OFFICE, "2026-11-25T17:00", None),
        (OFFICE, "2026-11-28T10:00", None),  # Saturday
        (NIGHT, "2026-11-27T21:00", "2026-11-28T05:00"),  # over midnight, into Saturday
        (NIGHT, "2026-11-28T04:59", "2026-11-28T05:00"),
        (NIGHT, "2026-11-28T21:30", None),
        (NIGHT, "2026-11-27T04:00", None),  # the night before is none
        # One goes on where the other ends.
        ([*OFFICE, {"start": "18:00", "end": "23:00"}], "2026-11-25T12:00", "2026-11-25T22:00"),
        # A whole day, and the weekend of two.
        ([{"days": [5, 6], "start": "00:00", "end": "00:00"}], "2026-11-28T00:00",
         "2026-11-29T23:00"),
        # The clock leaps from 02:00 to 03:00: an end at 02:30 is then.
        ([{"start": "01:00", "end": "02:30"}], "2026-03-29T00:30", "2026-03-29T01:00"),
        # It shows 02:00 to 03:00 twice: an end at 02:30 is the second one.
        ([{"start": "01:00", "end": "02:30"}], "2026-10-25T00:45", "2026-10-25T01:30"),
        # Eight hours by the clock, seven of time, and nine.
        ([{"start": "22:00", "end": "06:00"}], "2026-03-28T22:00", "2026-03-29T04:00"),
        ([{"start": "22:00", "end": "06:00"}], "2026-10-24T22:00", "2026-10-25T05:00"),
        # All of it is leapt over.
        ([{"start": "02:10", "end": "02:50"}], "2026-03-29T01:00", None),
    ],
)  # fmt: skip
def test_blackout_ends_then(rows: list[Any], moment: str, end: str | None) -> None:
    found = blackout_end(read_blackouts(rows), BERLIN, at(moment))
    assert found == (at(end) if end else None)


WHOLE = {"days": list(range(7)), "start": "00:00", "end": "00:00"}


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ({}, "a list"), ("x", "a list"), (None, "a list"), ([1], "a start and an end"),
        ([{}], "a start and an end"), ([{"start": "08:00"}], "a start and an end"),
        ([{"start": "08:00", "end": "09:00", "x": 1}], "a start and an end"),
        ([{"start": "8", "end": "09:00"}], "HH:MM"), ([{"start": 8, "end": 9}], "HH:MM"),
        ([{"start": "08:00", "end": "24:00"}], "HH:MM"),
        ([{"start": "08:00", "end": "09:00", "days": [7]}], "0 \\(Monday\\)"),
        ([{"start": "08:00", "end": "09:00", "days": []}], "0 \\(Monday\\)"),
        ([{"start": "08:00", "end": "09:00", "days": "0"}], "0 \\(Monday\\)"),
        ([{"start": "08:00", "end": "09:00", "days": [True]}], "0 \\(Monday\\)"),
        ([WHOLE], "no minute"), ([{"start": "08:00", "end": "08:00"}], "no minute"),
        ([{"start": "00:00", "end": "12:00"}, {"start": "11:00", "end": "00:00"}], "no minute"),
        ([OFFICE[0]] * 51, "50 at most"),
    ],
)  # fmt: skip
def test_blackouts_are_refused_when_they_are_none(rows: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        read_blackouts(rows)


def test_longest_blackout_counts_over_the_end_of_the_week() -> None:
    assert longest_blackout(()) == timedelta()
    assert longest_blackout(read_blackouts(OFFICE)) == 10 * HOUR
    weekend = [{"days": [5, 6], "start": "00:00", "end": "00:00"}]
    over = [*weekend, {"days": [0], "start": "00:00", "end": "04:00"}]
    assert longest_blackout(read_blackouts(over)) == 52 * HOUR


CLOCKS = st.builds(lambda h, m: f"{h:02}:{m:02}", st.integers(0, 23), st.integers(0, 59))
ROWS = st.lists(
    st.fixed_dictionaries(
        {"start": CLOCKS, "end": CLOCKS, "days": st.lists(st.integers(0, 6), min_size=1)}
    ),
    max_size=4,
)
ZONES = st.sampled_from(
    ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Africa/Casablanca"]
)
FREQUENCIES = st.sampled_from(
    [("daily", (), ""), ("weekly", (1, 5), ""), ("monthly", (31,), ""), ("cron", (), "0 */4 * * *"),
     ("cron", (), "30 2 * * 1-5")]
)  # fmt: skip


@st.composite
def plans(draw: Any) -> Plan:
    """Any plan that a site may have."""
    frequency, days, cron = draw(FREQUENCIES)
    try:
        blackouts = read_blackouts(draw(ROWS))
    except ValueError:
        blackouts = ()
    return Plan(
        frequency=frequency, days=days, cron=cron, blackouts=blackouts,
        at=draw(st.builds(time, st.integers(0, 23), st.integers(0, 59))),
        zone=read_zone(draw(ZONES)), blackout_zone=read_zone(draw(ZONES)),
        spread=timedelta(seconds=draw(st.integers(0, 24 * 3600))),
    )  # fmt: skip


def run_after(plan: Plan, moment: datetime, past: datetime | None = None) -> Run:
    run = plan.next_run(after=moment, past=past)
    assert run is not None
    return run


MOMENTS = st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC))


@given(plans(), MOMENTS)
@settings(max_examples=100, deadline=None)
def test_runs_start_later_than_now_and_in_no_blackout(plan: Plan, after: datetime) -> None:
    run = run_after(plan, after)
    assert run.start > after
    assert run.start >= run.named + plan.spread
    assert blackout_end(plan.blackouts, plan.blackout_zone, run.start) is None
    # The same whenever somebody asks before it, and nobody who asks later is told an earlier one.
    for part in (3, 2):
        assert run_after(plan, after + (run.start - after) / part).start == run.start
    assert run_after(plan, run.start).start > run.start
    starts = plan.next_runs(after=after, count=5)
    assert starts == sorted(set(starts)) and starts[0] == run.start


@given(plans(), MOMENTS)
@settings(max_examples=100, deadline=None)
def test_every_named_time_gets_its_start_or_shares_one(plan: Plan, after: datetime) -> None:
    """As a coordinator goes: it starts what is due, and asks for what is named after that."""
    run, named = run_after(plan, after), []
    for _ in range(8):
        named.append(run.named)
        following = run_after(plan, run.start, past=run.named)
        assert following.named > run.named and following.start > run.start
        between = run_after(
            Plan(frequency=plan.frequency, at=plan.at, days=plan.days, cron=plan.cron,
                 zone=plan.zone), run.named
        )  # fmt: skip
        # Whatever was named in between fell into the same blackout.
        while between.named < following.named:
            assert plan.start_of(between.named) <= run.start
            between = run_after(
                Plan(frequency=plan.frequency, at=plan.at, days=plan.days, cron=plan.cron,
                     zone=plan.zone), between.named
            )  # fmt: skip
        run = following
    assert named == sorted(set(named))


@given(plans(), MOMENTS)
@settings(max_examples=100, deadline=None)
def test_no_two_starts_are_farther_apart_than_the_longest_gap(plan: Plan, after: datetime) -> None:
    longest = plan.longest_gap()
    assert longest is not None
    starts = plan.next_runs(after=after, count=10)
    for earlier, later in pairwise(starts):
        # A change of clocks is not counted in it; the grace of a day is for that as well.
        assert later - earlier <= longest + 3 * HOUR


def test_manual_plan_has_no_run() -> None:
    plan = Plan(frequency="manual")
    assert plan.next_run(after=at("2026-01-01T00:00")) is None
    assert plan.next_runs(after=at("2026-01-01T00:00"), count=5) == []
    assert plan.longest_gap() is None


def test_run_in_a_blackout_starts_when_it_ends_and_several_start_once() -> None:
    plan = Plan(
        frequency="cron", cron="0 * * * *", spread=10 * MINUTE,
        blackouts=read_blackouts([{"start": "01:00", "end": "05:00"}]),
    )  # fmt: skip
    assert plan.next_runs(after=at("2026-01-01T00:00"), count=4) == [
        at("2026-01-01T00:10"), at("2026-01-01T05:00"), at("2026-01-01T05:10"),
        at("2026-01-01T06:10"),
    ]  # fmt: skip
