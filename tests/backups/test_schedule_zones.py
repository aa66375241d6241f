"""Schedules over changes of clocks, held against a watch that looks at the wall every minute."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backups.schedule import moment_of, next_run, read_zone

MINUTE = timedelta(minutes=1)
# A zone and a day on whose night, or near it, its clocks change.
CHANGES = [
    ("Europe/Berlin", datetime(2026, 3, 29)),
    ("Europe/Berlin", datetime(2026, 10, 25)),
    ("America/New_York", datetime(2026, 3, 8)),
    ("America/New_York", datetime(2026, 11, 1)),
    ("Australia/Lord_Howe", datetime(2026, 10, 4)),  # by half an hour
    ("Australia/Lord_Howe", datetime(2026, 4, 5)),
    ("America/Sao_Paulo", datetime(2018, 11, 4)),  # midnight does not exist
    ("America/Sao_Paulo", datetime(2018, 2, 18)),  # the hour before it comes twice
    ("Africa/Casablanca", datetime(2026, 2, 15)),  # back for Ramadan
    ("Africa/Casablanca", datetime(2026, 3, 22)),
    ("Pacific/Apia", datetime(2011, 12, 30)),  # a day that does not exist
]
IDS = [f"{zone}-{day:%Y-%m-%d}" for zone, day in CHANGES]


@cache
def walls(zone: str, day: datetime) -> dict[datetime, datetime]:
    """Return what the clock shows around that day, with the first moment when it does."""
    began = day.replace(tzinfo=UTC) - timedelta(days=2)
    found: dict[datetime, datetime] = {}
    for number in range(4 * 24 * 60):
        moment = began + number * MINUTE
        found.setdefault(moment.astimezone(read_zone(zone)).replace(tzinfo=None), moment)
    return found


@pytest.mark.parametrize(("zone", "day"), CHANGES, ids=IDS)
def test_every_minute_has_the_moment_that_the_watch_sees(zone: str, day: datetime) -> None:
    seen = walls(zone, day)
    shown, changes = min(seen), 0
    while shown < max(seen):
        if shown in seen:
            assert moment_of(shown, read_zone(zone)) == seen[shown], shown
        else:
            # The first moment after the leap.
            later = min(wall for wall in seen if wall > shown)
            assert moment_of(shown, read_zone(zone)) == seen[later], shown
            changes += 1
        shown += MINUTE
    assert changes or len(seen) < 4 * 24 * 60, "the clock was changed in that time"


@pytest.mark.parametrize(("zone", "day"), CHANGES[:-1], ids=IDS[:-1])
def test_daily_run_comes_once_on_each_day_whatever_the_time(zone: str, day: datetime) -> None:
    """Also at times that are skipped, and at those that come twice."""
    began, known = day.replace(tzinfo=UTC) - timedelta(days=2), read_zone(zone)
    for minute in range(0, 24 * 60, 15):
        at, after = time(minute // 60, minute % 60), began
        runs = []
        for _ in range(5):
            run = next_run("daily", at, (), after=after, zone=known)
            assert run is not None and run > after
            runs.append(run.astimezone(known))
            after = run
        days = [run.date() for run in runs]
        assert days == [days[0] + number * timedelta(days=1) for number in range(5)], at
        # At the time itself, but for one that no clock showed.
        assert sum(run.time() != at for run in runs) <= 1, at


@pytest.mark.parametrize(("zone", "day"), CHANGES, ids=IDS)
@pytest.mark.parametrize("cron", ["*/15 * * * *", "30 * * * *", "15,45 0-3 * * *", "0 */6 * * *"])
def test_cron_runs_once_at_each_time_that_clocks_show(zone: str, day: datetime, cron: str) -> None:
    seen = walls(zone, day)
    began, ended = min(seen.values()), max(seen.values())
    minutes, hours = cron.split()[:2]
    named = {
        "*/15": range(0, 60, 15), "30": [30], "15,45": [15, 45], "0": [0]
    }[minutes]  # fmt: skip
    of_hours = {"*": range(24), "0-3": range(4), "*/6": range(0, 24, 6)}[hours]
    wanted, shown = set(), min(seen)
    while shown < max(seen):
        shown += MINUTE
        if shown.minute in named and shown.hour in of_hours:
            wanted.add(seen.get(shown) or seen[min(wall for wall in seen if wall > shown)])
    runs, after = set(), began
    while True:
        run = next_run("cron", time(), (), after=after, zone=read_zone(zone), cron=cron)
        assert run is not None and run > after
        if run >= ended:
            break
        runs.add(run)
        after = run
    assert runs == {moment for moment in wanted if began < moment < ended}


@pytest.mark.parametrize(
    ("zone", "at", "after", "expected"),
    [
        # 02:30 does not exist on the 29th: at 03:00 summer time instead, and on the next day again.
        ("Europe/Berlin", "02:30", "2026-03-28T12:00", ["2026-03-29T01:00", "2026-03-30T00:30"]),
        # 02:30 comes twice on the 25th: the first one counts.
        ("Europe/Berlin", "02:30", "2026-10-24T12:00", ["2026-10-25T00:30", "2026-10-26T01:30"]),
        ("America/New_York", "02:30", "2026-03-08T00:00", ["2026-03-08T07:00", "2026-03-09T06:30"]),
        ("America/New_York", "01:30", "2026-11-01T00:00", ["2026-11-01T05:30", "2026-11-02T06:30"]),
        ("Australia/Lord_Howe", "02:15", "2026-10-03T12:00",
         ["2026-10-03T15:30", "2026-10-04T15:15"]),
        ("Australia/Lord_Howe", "01:45", "2026-04-04T12:00",
         ["2026-04-04T14:45", "2026-04-05T15:15"]),
        ("America/Sao_Paulo", "00:00", "2018-11-03T12:00",
         ["2018-11-04T03:00", "2018-11-05T02:00"]),
        ("Africa/Casablanca", "02:30", "2026-02-14T12:00",
         ["2026-02-15T01:30", "2026-02-16T02:30"]),
    ],
)  # fmt: skip
def test_runs_over_a_change_are_these(zone: str, at: str, after: str, expected: list[str]) -> None:
    moment = datetime.fromisoformat(f"{after}+00:00")
    for wanted in expected:
        run = next_run(
            "daily", time.fromisoformat(at), (), after=moment, zone=read_zone(zone)
        )  # fmt: skip
        assert run == datetime.fromisoformat(f"{wanted}+00:00")
        assert run is not None
        moment = run


ZONES = st.sampled_from(sorted({zone for zone, _ in CHANGES} | {"UTC", "Asia/Kolkata"}))
MOMENTS = st.datetimes(datetime(2010, 1, 1), datetime(2036, 1, 1), timezones=st.just(UTC))
TIMES = st.builds(time, st.integers(0, 23), st.integers(0, 59))
SCHEDULES = st.one_of(
    st.just(("daily", (), "")),
    st.tuples(st.just("weekly"), st.sets(st.integers(0, 6), min_size=1), st.just("")),
    st.tuples(st.just("monthly"), st.sets(st.integers(1, 31), min_size=1), st.just("")),
    st.tuples(
        st.just("cron"), st.just(()),
        st.sampled_from(["*/20 * * * *", "30 2 * * *", "0 0 L * *", "15 1-4 * * MON-FRI",
                         "0 3 1 */2 *", "45 23 * * 7", "*/7 2 * * 1#2"]),
    ),
)  # fmt: skip


@given(SCHEDULES, TIMES, ZONES, MOMENTS)
@settings(max_examples=150)
def test_next_run_is_after_and_none_lies_between(
    schedule: tuple[str, tuple[int, ...], str], at: time, zone: str, after: datetime
) -> None:
    frequency, days, cron = schedule

    def following(moment: datetime) -> datetime:
        run = next_run(frequency, at, days, after=moment, zone=read_zone(zone), cron=cron)
        assert run is not None
        return run

    run = following(after)
    assert run > after and run.tzinfo is UTC
    # Whenever somebody asks in between, it is the same one; and right before it as well.
    assert following(after + (run - after) / 2) == run or after + (run - after) / 2 == run
    assert following(run - timedelta(microseconds=1)) == run
    assert following(run) > run
    # Who asks later is never told an earlier one.
    assert following(after + timedelta(hours=5)) >= run


@given(TIMES, ZONES, MOMENTS)
def test_walls_in_order_are_moments_in_order(at: time, zone: str, moment: datetime) -> None:
    wall = datetime.combine(moment.date(), at)
    known = read_zone(zone)
    assert moment_of(wall, known) <= moment_of(wall + MINUTE, known)
    assert moment_of(wall, known) <= moment_of(wall, known, last=True)


@pytest.mark.parametrize(
    "name", ["", "Berlin", "europe/berlin", "../etc/passwd", "/etc/passwd", "Factory", "GMT+25",
             "posixrules", "UTC\n", "Europe/Berlin "],
)  # fmt: skip
def test_zone_is_refused_when_it_is_none(name: str) -> None:
    with pytest.raises(ValueError, match="IANA"):
        read_zone(name)
