"""Figures as people read them."""

from __future__ import annotations

from datetime import timedelta

import pytest

from panel.dashboard.words import count_of, duration


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        *((0, "under 1 s"), (0.4, "under 1 s"), (0.6, "1 s"), (59.4, "59 s"), (59.6, "1 m")),
        *((60, "1 m"), (250, "4 m 10 s"), (3600, "1 h"), (3601, "1 h"), (3661, "1 h 1 m")),
        *((86_399, "23 h 59 m"), (86_400, "1 d"), (90_000, "1 d 1 h"), (86_460, "1 d")),
        *((-5, "under 1 s"), (timedelta(minutes=2, seconds=1), "2 m 1 s")),
    ],
)
def test_time_span_is_told_in_its_two_largest_units(seconds: float | timedelta, words: str) -> None:
    assert duration(seconds) == words


def test_one_thing_is_not_told_as_many() -> None:
    assert [count_of(number, "site") for number in (0, 1, 2)] == ["0 sites", "1 site", "2 sites"]
