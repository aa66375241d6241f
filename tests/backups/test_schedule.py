"""When a site's next backup is due: what holds for any schedule and any moment."""

from __future__ import annotations

from calendar import monthrange
from datetime import UTC, datetime, time, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backups.schedule import LONGEST_GAPS, ScheduleFrequency, next_run, read_days, read_time

MOMENTS = st.datetimes(datetime(2000, 1, 1), datetime(2199, 1, 1), timezones=st.just(UTC))
TIMES = st.builds(time, st.integers(0, 23), st.integers(0, 59))
WEEKLY = st.tuples(st.just("weekly"), st.sets(st.integers(0, 6), min_size=1))
MONTHLY = st.tuples(st.just("monthly"), st.sets(st.integers(1, 31), min_size=1))
SCHEDULES = st.one_of(st.just(("daily", frozenset())), WEEKLY, MONTHLY)
# Between two runs there is at most a month of 31 days.
LONGEST = {"daily": 1, "weekly": 7, "monthly": 31}


def names(frequency: str, days: set[int], moment: datetime) -> bool:
    """Say in other words than the code whether a schedule names the day of this moment."""
    last = monthrange(moment.year, moment.month)[1]
    return {
        "daily": True,
        "weekly": moment.isoweekday() - 1 in days,
        "monthly": moment.day in {min(day, last) for day in days},
    }[frequency]


@given(SCHEDULES, TIMES, MOMENTS)
def test_next_run_is_the_first_moment_that_the_schedule_names(
    schedule: tuple[str, set[int]], at: time, after: datetime
) -> None:
    frequency, days = schedule
    run = next_run(frequency, at, days, after=after)
    assert run is not None and run.tzinfo is UTC
    assert (run.hour, run.minute, run.second, run.microsecond) == (at.hour, at.minute, 0, 0)
    assert timedelta() < run - after <= timedelta(days=LONGEST[frequency])
    assert names(frequency, days, run)
    earlier = run - timedelta(days=1)
    while earlier > after:
        assert not names(frequency, days, earlier)
        earlier -= timedelta(days=1)


@given(SCHEDULES, TIMES, MOMENTS)
def test_runs_follow_each_other_and_none_is_left_out(
    schedule: tuple[str, set[int]], at: time, after: datetime
) -> None:
    frequency, days = schedule
    first = next_run(frequency, at, days, after=after)
    assert first is not None
    second = next_run(frequency, at, days, after=first)
    assert second is not None and second > first
    assert next_run(frequency, at, days, after=second - timedelta(microseconds=1)) == second
    assert next_run(frequency, at, days, after=first - timedelta(microseconds=1)) == first


@given(MONTHLY, TIMES, MOMENTS)
def test_no_month_is_left_out_when_it_lacks_the_day(
    schedule: tuple[str, set[int]], at: time, after: datetime
) -> None:
    frequency, days = schedule
    months, run = set(), after
    for _ in range(31 * 13):
        run = next_run(frequency, at, days, after=run)
        assert run is not None
        months.add((run.year, run.month))
        if run - after > timedelta(days=365):
            break
    assert len(months) in (12, 13)


@given(SCHEDULES, TIMES, MOMENTS, st.integers(-14 * 60, 14 * 60))
def test_result_is_the_same_when_the_moment_is_told_in_another_zone(
    schedule: tuple[str, set[int]], at: time, after: datetime, minutes: int
) -> None:
    frequency, days = schedule
    elsewhere = after.astimezone(timezone(timedelta(minutes=minutes)))
    assert next_run(frequency, at, days, after=elsewhere) == next_run(
        frequency, at, days, after=after
    )


@given(st.one_of(WEEKLY, MONTHLY))
def test_days_are_read_in_order_and_once_however_they_are_written(
    schedule: tuple[str, set[int]],
) -> None:
    frequency, days = schedule
    written = ", ".join(f"{day:02}" for day in [*sorted(days, reverse=True), *days])
    assert read_days(frequency, written) == tuple(sorted(days))


@given(st.text())
def test_any_text_is_read_or_refused_with_a_sentence(text: str) -> None:
    for read in (read_time, lambda text: read_days("weekly", text),
                 lambda text: read_days("monthly", text)):  # fmt: skip
        try:
            read(text)
        except ValueError as error:
            assert str(error).endswith((".", "none."))


@pytest.mark.parametrize("text", ["00:00", "23:59", "02:00"])
def test_time_is_read_when_it_is_one(text: str) -> None:
    assert f"{read_time(text):%H:%M}" == text


@pytest.mark.parametrize(
    "text", ["24:00", "12:60", "2:00", "02:00:00", "", "02:00\n", "٠٢:٠٠", "2am", " 02:00"]
)
def test_time_is_refused_when_it_is_none(text: str) -> None:
    with pytest.raises(ValueError, match="HH:MM"):
        read_time(text)


@pytest.mark.parametrize(
    ("frequency", "text"),
    [
        ("weekly", ""), ("weekly", "7"), ("weekly", "0,,2"), ("weekly", "mon"), ("weekly", "-1"),
        ("weekly", "0;2"), ("weekly", "0,2\n"), ("monthly", "0"), ("monthly", "32"),
        ("monthly", " "), ("monthly", "1.5"), ("monthly", "٣"), ("monthly", "100"),
    ],
)  # fmt: skip
def test_days_are_refused_when_they_are_none(frequency: str, text: str) -> None:
    with pytest.raises(ValueError, match=f"{frequency} schedule"):
        read_days(frequency, text)


def test_manual_schedule_names_no_moment_and_daily_no_days() -> None:
    assert next_run("manual", time(2), (), after=datetime.now(UTC)) is None
    assert read_days("manual", "anything") == read_days("daily", "1,2") == ()


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        ("2026-01-30T12:00", "2026-01-31T02:00"),
        ("2026-01-31T02:00", "2026-02-28T02:00"),
        ("2028-02-01T00:00", "2028-02-29T02:00"),
        ("2026-04-15T00:00", "2026-04-30T02:00"),
    ],
)
def test_last_day_stands_for_the_31st_when_the_month_is_shorter(after: str, expected: str) -> None:
    run = next_run("monthly", time(2), (31,), after=datetime.fromisoformat(f"{after}+00:00"))
    assert run == datetime.fromisoformat(f"{expected}+00:00")


def test_every_frequency_is_covered() -> None:
    assert set(LONGEST) | {"manual", "cron"} == set(ScheduleFrequency.values)
    assert {name: gap.days for name, gap in LONGEST_GAPS.items()} == LONGEST
