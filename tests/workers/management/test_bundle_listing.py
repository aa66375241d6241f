from __future__ import annotations

import pytest

from workers.engine.bundle import Member
from workers.management.commands.bundle import listing_line


def member(path: bytes, mtime_ns: int, **more: bytes) -> Member:
    return Member(path, "file", 0o644, 33, 33, "www", "www", 5, 5, mtime_ns, **more)


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "1970-01-01 00:00"),
        (-1, "1969-12-31 23:59"),
        (2**60, f"@{2**60}"),
        (-(2**62), f"@{-(2**62)}"),
    ],
)
def test_a_time_is_shown_when_no_calendar_holds_it(seconds: int, shown: str) -> None:
    assert f" {shown} a" in listing_line(member(b"a", seconds * 10**9))


def test_a_name_stays_on_its_line_when_it_holds_control_characters() -> None:
    line = listing_line(member(b"a\nb\x1b[2J\xffgr\xc3\xbc\xc3\x9fe", 0, link=b"x\r"))
    assert line.endswith(r"a\nb\x1b[2J\xffgrüße -> x\r")
