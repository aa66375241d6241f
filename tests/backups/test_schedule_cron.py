"""Cron expressions: what is taken, what is refused, and how long lies between two runs."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backups.schedule import next_run, read_cron
from backups.schedule.cron import longest_gap

DAY = timedelta(days=1)


@pytest.mark.parametrize(
    ("text", "stored"),
    [
        ("  30   2 * *\t1-5 ", "30 2 * * 1-5"),
        ("0 4 * jan,jul mon", "0 4 * JAN,JUL MON"),
        ("*/10 22-23 l * *", "*/10 22-23 L * *"),
        ("0 0 * * 5#2", "0 0 * * 5#2"),
    ],
)
def test_expression_is_stored_in_one_way(text: str, stored: str) -> None:
    assert read_cron(text) == stored
    assert read_cron(stored) == stored


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "five fields"), ("* * * *", "five fields"), ("0 * * * * *", "five fields"),
        ("@daily", "five fields"), ("60 * * * *", "Bad minute"), ("* 24 * * *", "Bad hour"),
        ("* * 0 * *", "day-of-month"), ("* * * 13 *", "month"), ("* * * * 8", "day-of-week"),
        ("*/0 * * * *", "Bad minute"), ("5-1 * * * *", "Bad minute"), ("a * * * *", "minute"),
        ("0 0 31 2 *", "day-of-month"), ("0 0 30 2 *", "day-of-month"), ("- - - - -", "minute"),
        ("0 0 1 1 *; *", "five fields"), ("0 0 1 1 $", "numbers, names"),
        ("٣ * * * *", "numbers, names"), ("0 0 * * " + ",".join("1" * 60), "five fields"),
    ],
)  # fmt: skip
def test_expression_is_refused_when_it_is_none(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        read_cron(text)


@given(st.text(alphabet="0123456789*/,-#LWlw MONJAN?@", max_size=30))
@settings(max_examples=500)
def test_any_text_is_read_or_refused_with_a_sentence(text: str) -> None:
    try:
        stored = read_cron(text)
    except ValueError as error:
        assert str(error).endswith(".")
        return
    # What was taken has runs.
    assert next_run("cron", time(), (), after=datetime(2026, 1, 1, tzinfo=UTC), cron=stored)
    assert longest_gap(stored) > timedelta()


@pytest.mark.parametrize(
    ("cron", "gap"),
    [
        ("* * * * *", timedelta(minutes=1)),
        ("*/15 * * * *", timedelta(minutes=15)),
        ("0 */6 * * *", timedelta(hours=6)),
        ("30 2 * * *", DAY),
        ("0 2,14 * * *", timedelta(hours=12)),
        ("0 9,10 * * *", timedelta(hours=23)),
        ("0 8-18 * * 1-5", 3 * DAY - timedelta(hours=10)),
        ("30 2 * * SUN", 7 * DAY),
        ("0 0 1 * *", 31 * DAY),
        ("0 0 L * *", 31 * DAY),
        ("0 0 29 2 *", 2921 * DAY),  # from 2096 to 2104
        ("0 0 1 1 *", 366 * DAY),
        # Neither field has a star, so either day will do, as in Debian's cron.
        ("0 0 1 * 1", 7 * DAY),
    ],
)
def test_longest_gap_is_this(cron: str, gap: timedelta) -> None:
    assert longest_gap(read_cron(cron)) == gap


FIELDS = st.tuples(
    st.sampled_from(["0", "30", "*/20", "5,50"]), st.sampled_from(["*", "2", "*/8", "6-9"]),
    st.sampled_from(["*", "1", "15", "L", "1,28"]), st.sampled_from(["*", "3", "1-6", "*/4"]),
    st.sampled_from(["*", "1", "MON-FRI", "0,6", "5#1"]),
)  # fmt: skip


@given(FIELDS, st.datetimes(datetime(2024, 1, 1), datetime(2040, 1, 1), timezones=st.just(UTC)))
@settings(max_examples=80)
def test_no_two_runs_are_farther_apart_than_the_longest_gap(
    fields: tuple[str, ...], after: datetime
) -> None:
    cron = read_cron(" ".join(fields))
    longest = longest_gap(cron)
    run = next_run("cron", time(), (), after=after, cron=cron)
    for _ in range(15):
        assert run is not None
        following = next_run("cron", time(), (), after=run, cron=cron)
        assert following is not None
        assert timedelta() < following - run <= longest
        run = following
