"""Figures as people read them."""

from __future__ import annotations

from datetime import timedelta


def duration(seconds: float | timedelta) -> str:
    """Return a time span in its two largest units, as `4 m 10 s`."""
    whole = round(seconds.total_seconds() if isinstance(seconds, timedelta) else seconds)
    if whole < 1:
        return "under 1 s"
    days, rest = divmod(whole, 86_400)
    hours, rest = divmod(rest, 3600)
    minutes, rest = divmod(rest, 60)
    parts = [(days, "d"), (hours, "h"), (minutes, "m"), (rest, "s")]
    while parts[0][0] == 0:
        parts.pop(0)
    return " ".join(f"{number} {unit}" for number, unit in parts[:2] if number)


def count_of(number: int, what: str) -> str:
    """Return a number of things, as `1 site` and `2 sites`."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
