"""What retention keeps: by examples, by properties of any history, and over two years."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backups.retention import FAILURE_AGE, RULES, Copy, Decision, Policy, decide, resolve

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
DAY = timedelta(days=1)
ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Pacific/Kiritimati", "Asia/Kathmandu"]


def daily(count: int, until: datetime = NOW, **fields: object) -> list[Copy]:
    """One copy a day, the newest of them number 1."""
    return [Copy(key=n + 1, created_at=until - n * DAY, **fields) for n in range(count)]


def kept(
    backups: Sequence[Copy], policy: Policy, now: datetime = NOW, zone: str = "UTC"
) -> set[int]:
    return {
        decision.backup.key
        for decision in decide(backups, policy, now=now, zone=ZoneInfo(zone))
        if decision.keep
    }


def reasons(backups: Sequence[Copy], policy: Policy, key: int) -> str:
    found = {one.backup.key: one for one in decide(backups, policy, now=NOW, zone=UTC)}
    return "; ".join(found[key].reasons)


def test_the_last_ones_stay_and_older_ones_go() -> None:
    assert kept(daily(10), Policy(keep_last=3)) == {1, 2, 3}
    assert "number 3 of the last 3" in reasons(daily(10), Policy(keep_last=3), 3)
    assert "enough newer ones" in reasons(daily(10), Policy(keep_last=3), 4)


@pytest.mark.parametrize("policy", [Policy(), Policy(keep_last=0), Policy(0, 0, 0, 0, 0)])
def test_the_newest_good_one_stays_when_the_policy_keeps_none(policy: Policy) -> None:
    assert kept(daily(5), policy) == {1}


def test_each_period_keeps_its_newest() -> None:
    # 2026-11-26 is a Thursday: 26 and 25, the Sundays 22 and 15, the last of October and September.
    found = kept(daily(400), Policy(daily=2, weekly=3, monthly=3, yearly=2))
    by_key = {copy.key: copy.created_at.date().isoformat() for copy in daily(400)}
    assert sorted(by_key[key] for key in found) == [
        "2025-12-31", "2026-09-30", "2026-10-31", "2026-11-15", "2026-11-22", "2026-11-25",
        "2026-11-26",
    ]  # fmt: skip


def test_a_day_is_the_zones_day() -> None:
    late, later = Copy(1, datetime(2026, 11, 20, 22, tzinfo=UTC)), Copy(2, NOW - 5 * DAY)
    early = replace(later, created_at=datetime(2026, 11, 20, 23, 30, tzinfo=UTC))
    assert kept([late, early], Policy(daily=2)) == {2}
    assert kept([late, early], Policy(daily=2), zone="Europe/Berlin") == {1, 2}


def test_a_day_with_a_doubled_hour_is_one_day() -> None:
    autumn = [Copy(n, datetime(2026, 10, 25, n - 1, 30, tzinfo=UTC)) for n in (1, 2, 3)]
    assert kept(autumn, Policy(daily=5), zone="Europe/Berlin") == {3}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"is_pinned": True}, "pinned"),
        ({"is_in_use": True}, "a job is working with it"),
        ({"proven_at": NOW}, "the newest proven one"),
        ({"locked_until": NOW + DAY}, "locked until 2026-11-27"),
        ({"is_broken": True}, "not as recorded"),
    ],
)
def test_it_stays_whatever_the_policy_when(changes: dict[str, object], words: str) -> None:
    backups = daily(10)
    backups[8] = replace(backups[8], **changes)
    assert kept(backups, Policy(keep_last=2)) == {1, 2, 9}
    assert words in reasons(backups, Policy(keep_last=2), 9)


def test_a_lock_that_is_over_keeps_nothing() -> None:
    assert kept(daily(4, locked_until=NOW), Policy(keep_last=1)) == {1}


def test_only_the_newest_proven_one_is_kept_for_it() -> None:
    assert kept(daily(9, proven_at=NOW), Policy(keep_last=1)) == {1}
    backups = [replace(copy, proven_at=NOW if copy.key in (5, 8) else None) for copy in daily(9)]
    assert kept(backups, Policy(keep_last=1)) == {1, 5}


def test_good_ones_stay_when_only_suspect_ones_follow() -> None:
    """A site that was emptied: however long nobody looks, nothing pushes the good ones out."""
    backups = [replace(copy, is_suspect=copy.key <= 100) for copy in daily(107)]
    assert kept(backups, Policy(keep_last=3)) == {1, 2, 3, 101, 102, 103}
    assert "before a suspect one" in reasons(backups, Policy(keep_last=3), 101)


def test_a_suspect_one_protects_the_one_before_it() -> None:
    backups = [replace(copy, is_suspect=copy.key == 5) for copy in daily(9)]
    assert kept(backups, Policy(keep_last=2)) == {1, 2, 5, 6}


def test_a_broken_one_is_no_copy() -> None:
    backups = [replace(copy, is_broken=copy.key in (1, 3)) for copy in daily(6)]
    assert kept(backups, Policy(keep_last=2)) == {1, 2, 3, 4}


@pytest.mark.parametrize("ahead", [2 * 60, 400 * 24 * 60])
def test_one_of_a_clock_that_was_ahead_takes_no_other_ones_place(ahead: int) -> None:
    """What is made since is older than it: by age alone that would go at once, for as long."""
    begin = NOW + timedelta(minutes=ahead)
    late = [Copy(key=n + 10, created_at=begin + n * DAY) for n in range(1, 6)]
    backups = [*late, *daily(4)]
    assert kept(backups, Policy(keep_last=2)) == {11, 12, 13, 14, 15, 1, 2}
    assert "its time is still to come" in reasons(backups, Policy(keep_last=2), 11)
    assert kept(daily(4, until=NOW + timedelta(minutes=59)), Policy(keep_last=2)) == {1, 2}


def test_one_that_is_going_is_no_copy_and_goes() -> None:
    backups = [replace(copy, is_going=copy.key == 2, is_pinned=copy.key == 2) for copy in daily(5)]
    assert kept(backups, Policy(keep_last=2)) == {1, 3}
    assert "being removed" in reasons(backups, Policy(keep_last=2), 2)


def test_a_failure_is_a_row_that_goes_with_time() -> None:
    failures = [
        Copy(1, NOW - FAILURE_AGE, has_object=False),
        Copy(2, NOW - FAILURE_AGE - timedelta(seconds=1), has_object=False),
    ]
    assert kept(failures, Policy(keep_last=5)) == {1}


def test_a_rule_is_that_of_the_first_level_that_says_anything() -> None:
    policy, origins = resolve(
        ("site", Policy(keep_last=3, weekly=0)),
        ("node", Policy(daily=4, weekly=5)),
        ("default", Policy(keep_last=7, daily=1, weekly=1, monthly=2)),
    )
    assert policy == Policy(3, 4, 0, 2, 0)
    assert list(origins.values()) == ["site", "node", "site", "default", "none"]


# Properties

_flag = st.sampled_from([False, False, False, True])
_moments = st.datetimes(datetime(2024, 1, 1), datetime(2026, 11, 26), timezones=st.just(UTC))


@st.composite
def histories(draw: st.DrawFn) -> list[Copy]:
    count = draw(st.integers(0, 25))
    return [
        Copy(
            key=key,
            created_at=draw(_moments),
            has_object=not draw(_flag),
            is_suspect=draw(_flag),
            is_broken=draw(_flag),
            is_pinned=draw(_flag),
            is_in_use=draw(_flag),
            is_going=draw(_flag),
            proven_at=draw(st.none() | st.just(NOW)),
            locked_until=draw(st.none() | _moments | st.just(NOW + DAY)),
        )
        for key in range(count)
    ]


_numbers = st.none() | st.integers(0, 6)
policies = st.builds(Policy, _numbers, _numbers, _numbers, _numbers, _numbers)
zones = st.sampled_from(ZONES).map(ZoneInfo)


def decided(backups: Sequence[Copy], policy: Policy, zone: ZoneInfo) -> list[Decision]:
    return decide(backups, policy, now=NOW, zone=zone)


def staying(backups: Sequence[Copy], policy: Policy, zone: ZoneInfo) -> list[Copy]:
    return [one.backup for one in decided(backups, policy, zone) if one.keep]


@given(histories(), policies, zones)
def test_each_has_one_decision_with_a_reason(
    backups: list[Copy], policy: Policy, zone: ZoneInfo
) -> None:
    found = decided(backups, policy, zone)
    assert sorted(one.backup.key for one in found) == [copy.key for copy in backups]
    assert all(one.reasons and all(one.reasons) for one in found)
    moments = [one.backup.created_at for one in found]
    assert moments == sorted(moments, reverse=True)


@given(histories(), policies, zones)
def test_deciding_again_changes_nothing(
    backups: list[Copy], policy: Policy, zone: ZoneInfo
) -> None:
    once = staying(backups, policy, zone)
    assert staying(once, policy, zone) == once


@given(histories(), policies, zones, st.data())
def test_going_one_at_a_time_ends_the_same(
    backups: list[Copy], policy: Policy, zone: ZoneInfo, data: st.DataObject
) -> None:
    """Deletions take time and may be cut short: what is left decides the same."""
    wanted = staying(backups, policy, zone)
    left = list(backups)
    while going := [one.backup for one in decided(left, policy, zone) if not one.keep]:
        left.remove(data.draw(st.sampled_from(going)))
        assert [copy for copy in staying(left, policy, zone) if copy in wanted] == wanted
    assert staying(left, policy, zone) == wanted


@given(histories(), policies, policies, zones)
def test_a_wider_policy_keeps_all_that_a_narrower_one_does(
    backups: list[Copy], policy: Policy, other: Policy, zone: ZoneInfo
) -> None:
    wider = Policy(*(max(getattr(policy, r) or 0, getattr(other, r) or 0) for r in RULES))
    assert set(staying(backups, policy, zone)) <= set(staying(backups, wider, zone))


@given(histories(), policies, zones)
def test_what_must_never_go_stays(backups: list[Copy], policy: Policy, zone: ZoneInfo) -> None:
    stays = set(staying(backups, policy, zone))
    assert not [copy for copy in stays if copy.is_going]
    backups = [copy for copy in backups if not copy.is_going]
    for copy in backups:
        if copy.is_pinned or copy.is_in_use or (copy.locked_until and copy.locked_until > NOW):
            assert copy in stays
    newest_first = sorted(backups, key=lambda copy: (copy.created_at, copy.key), reverse=True)
    with_object = [copy for copy in newest_first if copy.has_object]
    good = [copy for copy in newest_first if copy.counts]
    assert set(good[: max(policy.keep_last or 0, 1)]) <= stays
    proven = [copy for copy in good if copy.proven_at] or [c for c in with_object if c.proven_at]
    assert set(proven[:1]) <= stays
    assert bool(with_object) <= bool([copy for copy in stays if copy.has_object])


@given(histories(), policies, zones)
def test_no_more_copies_stay_than_the_policy_and_its_exceptions_account_for(
    backups: list[Copy], policy: Policy, zone: ZoneInfo
) -> None:
    plain = [replace(copy, is_pinned=False, is_in_use=False, locked_until=None,
                     is_suspect=False, proven_at=None) for copy in backups]  # fmt: skip
    good = [copy for copy in staying(plain, policy, zone) if copy.counts]
    assert len(good) <= max(sum(getattr(policy, rule) or 0 for rule in RULES), 1)


@given(histories(), policies, zones, st.randoms())
def test_the_order_in_which_they_come_decides_nothing(
    backups: list[Copy], policy: Policy, zone: ZoneInfo, shuffler: random.Random
) -> None:
    shuffled = list(backups)
    shuffler.shuffle(shuffled)
    assert decided(shuffled, policy, zone) == decided(backups, policy, zone)


# Two years

FIRST = datetime(2025, 1, 1, 2, tzinfo=UTC)
DAYS = 730


def simulated(policy: Policy, *, zone: str = "UTC", **odd: Sequence[int]) -> list[Copy]:
    """Back up once a day for two years and prune after each; return what is left, oldest first.

    `odd` names the days (from 0) of which the backup `failed` or was `suspect`, was `pinned` or
    `proven`. A day's number is its backup's key.
    """
    left: list[Copy] = []
    for day in range(DAYS):
        now = FIRST + day * DAY
        left.append(
            Copy(
                key=day,
                created_at=now,
                has_object=day not in odd.get("failed", ()),
                is_suspect=day in odd.get("suspect", ()),
                is_pinned=day in odd.get("pinned", ()),
                proven_at=now if day in odd.get("proven", ()) else None,
            )
        )
        decisions = decide(left, policy, now=now + timedelta(hours=1), zone=ZoneInfo(zone))
        before = {copy.key for copy in left if copy.counts}
        left = [one.backup for one in decisions if one.keep]
        assert not before or any(copy.counts for copy in left)
    return sorted(left, key=lambda copy: copy.created_at)


def days_of(copies: Sequence[Copy]) -> list[str]:
    return [f"{copy.created_at:%Y-%m-%d}" for copy in copies if copy.has_object]


def test_two_years_of_daily_backups_leave_what_the_policy_names() -> None:
    # The last day is Thursday 2026-12-31.
    left = simulated(Policy(keep_last=3, daily=7, weekly=4, monthly=12, yearly=2))
    assert days_of(left) == [
        "2025-12-31", "2026-01-31", "2026-02-28", "2026-03-31", "2026-04-30", "2026-05-31",
        "2026-06-30", "2026-07-31", "2026-08-31", "2026-09-30", "2026-10-31", "2026-11-30",
        "2026-12-13", "2026-12-20", "2026-12-25", "2026-12-26", "2026-12-27", "2026-12-28",
        "2026-12-29", "2026-12-30", "2026-12-31",
    ]  # fmt: skip


def test_two_years_with_failures_suspects_pins_and_proofs() -> None:
    last = DAYS - 1
    left = simulated(
        Policy(keep_last=3, monthly=2),
        failed=[*range(0, DAYS, 10), last],
        suspect=[last - 4, last - 5],
        pinned=[101],
        proven=[201, 301, 651],
    )
    good = [copy.key for copy in left if copy.counts]
    # The newest 3 that count, the last of November, the proven one, the pinned one, and those
    # before the suspect ones. Day 698, 2026-11-30, is no failure.
    assert good == [101, 651, 698, last - 6, last - 3, last - 2, last - 1]
    assert [copy.key for copy in left if copy.is_suspect] == [last - 5, last - 4]
    failures = [copy for copy in left if not copy.has_object]
    assert min(copy.created_at for copy in failures) >= FIRST + last * DAY - FAILURE_AGE
    assert len(failures) == 10


def test_two_years_whose_second_is_all_suspect_leave_the_good_ones() -> None:
    left = simulated(Policy(keep_last=7), suspect=range(365, DAYS))
    assert [copy.key for copy in left if copy.counts] == list(range(358, 365))
    assert [copy.key for copy in left if copy.is_suspect] == list(range(DAYS - 7, DAYS))


@pytest.mark.parametrize("zone", ZONES)
def test_two_years_leave_as_many_days_in_every_zone(zone: str) -> None:
    assert len(simulated(Policy(daily=30), zone=zone)) == 30
