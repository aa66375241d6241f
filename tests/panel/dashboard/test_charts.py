"""Figures become shapes that say the same."""

from __future__ import annotations

from itertools import pairwise

import pytest

from panel.dashboard.charts import HEIGHT, WIDTH, Column, line, stacked_bars


def test_nothing_is_drawn_where_there_is_nothing() -> None:
    assert stacked_bars([]) == ()
    assert stacked_bars([Column((("good", 0), ("bad", 0)), "none")] * 3) == ()
    for values in ([], [None, None], [0.0, 0.0]):
        assert line(values) == ((), ())


def test_tallest_column_fills_the_height_and_parts_stand_on_one_another() -> None:
    good, bad, half = stacked_bars(
        [Column((("good", 3), ("bad", 1)), "four"), Column((("good", 2),), "two")]
    )
    assert (good.kind, bad.kind, half.kind) == ("good", "bad", "good")
    assert good.y + good.height == HEIGHT
    assert (bad.y, bad.y + bad.height) == (0, good.y)
    assert half.height == HEIGHT / 2
    assert (good.title, bad.title, half.title) == ("four", "four", "two")
    assert good.x == bad.x < half.x


@pytest.mark.parametrize("number", [1, 5, 7, 30, 90])
def test_columns_stay_within_the_chart_and_apart(number: int) -> None:
    bars = stacked_bars([Column((("good", index + 1),), "") for index in range(number)])
    assert len(bars) == number
    assert bars[0].x >= 0
    assert bars[-1].x + bars[-1].width <= WIDTH
    for before, after in pairwise(bars):
        assert before.x + before.width < after.x


def test_few_columns_are_no_wider_than_six_would_be() -> None:
    [alone] = stacked_bars([Column((("good", 1),), "")])
    assert alone.width < WIDTH / 6


def test_one_failure_is_seen_beside_thousands() -> None:
    good, bad = stacked_bars([Column((("good", 100_000), ("bad", 1)), "")])
    assert bad.height >= 1.5
    assert min(good.y, bad.y) >= 0


def test_gap_begins_another_line_and_a_lonely_value_is_a_dot() -> None:
    lines, dots = line([1.0, 2.0, None, 3.0, None, 4.0, 4.0])
    assert len(lines) == 2
    assert [len(points.split()) for points in lines] == [2, 2]
    [dot] = dots
    assert dot.x < WIDTH
    only, none = line([5.0])[1], line([5.0])[0]
    assert (len(only), none) == (1, ())


def test_line_keeps_off_the_edges() -> None:
    [points], _ = line([0.0, 5.0, 10.0])
    found = [tuple(float(one) for one in point.split(",")) for point in points.split()]
    assert all(0 < x < WIDTH and 0 < y < HEIGHT for x, y in found)
    assert [y for _, y in found] == sorted((y for _, y in found), reverse=True)
