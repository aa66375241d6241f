"""Figures as shapes: what a template needs to draw a chart as SVG, without a script.

Everything is in units of a view box, `WIDTH` by `HEIGHT`. Each chart carries its figures as rows,
which the page shows as a table to whoever cannot see the shapes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

WIDTH, HEIGHT = 320.0, 96.0
# Bars keep this part of their column, and a few columns do not fill the width.
_FILLED, _FEWEST = 0.72, 6
# Lines keep off the edges, where half of a dot would be cut off.
_INSET = 3.0


@dataclass(frozen=True, slots=True)
class Bar:
    """One rectangle; `kind` is a class of the stylesheet, `title` what it says when pointed at."""

    x: float
    y: float
    width: float
    height: float
    kind: str
    title: str


@dataclass(frozen=True, slots=True)
class Chart:
    """One chart: shapes, what they mean in a sentence, and the figures as a table."""

    title: str
    summary: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    bars: tuple[Bar, ...] = ()
    # Points of lines as SVG's `points`; a gap in the figures begins a new one.
    lines: tuple[str, ...] = ()
    dots: tuple[Bar, ...] = ()
    first_label: str = ""
    last_label: str = ""
    top_label: str = ""
    view_box: str = field(default=f"0 0 {WIDTH:g} {HEIGHT:g}")


@dataclass(frozen=True, slots=True)
class Column:
    """The parts of one column from the ground up: kind and amount; and what they say together."""

    parts: tuple[tuple[str, float], ...]
    title: str


def stacked_bars(columns: Sequence[Column]) -> tuple[Bar, ...]:
    """Return a bar for each part that is not nothing; the tallest column fills the height."""
    highest = max((sum(amount for _, amount in column.parts) for column in columns), default=0)
    if highest <= 0:
        return ()
    step = WIDTH / max(_FEWEST, len(columns))
    bars: list[Bar] = []
    for index, column in enumerate(columns):
        ground = HEIGHT
        for kind, amount in column.parts:
            if amount <= 0:
                continue
            # Whatever is there is seen, however much more another day had.
            height = max(1.5, amount / highest * HEIGHT)
            ground -= height
            x = index * step + step * (1 - _FILLED) / 2
            bars.append(
                Bar(_r(x), _r(max(0, ground)), _r(step * _FILLED), _r(height), kind, column.title)
            )
    return tuple(bars)


def line(values: Sequence[float | None]) -> tuple[tuple[str, ...], tuple[Bar, ...]]:
    """Return lines through the values, and a dot for each that has no neighbour to join.

    The highest value touches the top, nothing lies on the ground; None is a gap.
    """
    highest = max((value for value in values if value is not None), default=0)
    if highest <= 0:
        return (), ()
    step = (WIDTH - 2 * _INSET) / max(1, len(values) - 1)
    runs: list[list[tuple[float, float]]] = [[]]
    for index, value in enumerate(values):
        if value is None:
            runs.append([])
        else:
            y = HEIGHT - value / highest * (HEIGHT - 4) - 2
            runs[-1].append((_r(_INSET + index * step), _r(y)))
    lines = tuple(" ".join(f"{x:g},{y:g}" for x, y in run) for run in runs if len(run) > 1)
    alone = [run[0] for run in runs if len(run) == 1]
    return lines, tuple(Bar(_r(x - 2), _r(y - 2), 4, 4, "line", "") for x, y in alone)


def _r(value: float) -> float:
    return round(value, 2)
