"""Which backups of a site are kept, and why. Pure: what is known comes in, decisions go out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta, tzinfo

# A failure without an object takes no room: its row is history, kept as long as charts go back.
FAILURE_AGE = timedelta(days=90)
# By how much the clock of a host that made a bundle may be ahead of the database's.
CLOCKS_APART = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Policy:
    """How many copies are kept by each rule; None says nothing, and keeps as few as 0 does.

    `keep_last` are the newest ones; the others keep the newest of each of the last days, weeks,
    months and years that have any. So a site that is no longer backed up loses nothing with time.
    """

    keep_last: int | None = None
    daily: int | None = None
    weekly: int | None = None
    monthly: int | None = None
    yearly: int | None = None


RULES = tuple(field.name for field in fields(Policy))


@dataclass(frozen=True, slots=True)
class Copy:
    """What is known of a backup. One without `has_object` failed, and is a row only.

    A suspect or broken one is no copy to rely on: one holds much less than the one before it, the
    other's object is missing or not as it was recorded. One that is going may be gone already:
    nothing brings it back.
    """

    key: int
    created_at: datetime
    has_object: bool = True
    is_suspect: bool = False
    is_broken: bool = False
    is_pinned: bool = False
    is_in_use: bool = False
    is_going: bool = False
    proven_at: datetime | None = None
    locked_until: datetime | None = None

    @property
    def counts(self) -> bool:
        """Whether it is a copy that a restore may rely on."""
        return self.is_there and not self.is_suspect and not self.is_broken

    @property
    def is_there(self) -> bool:
        """Whether it has an object that nobody is removing."""
        return self.has_object and not self.is_going


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether a backup stays, and every reason for it, in words for a person."""

    backup: Copy
    keep: bool
    reasons: tuple[str, ...]


def resolve(*levels: tuple[str, Policy]) -> tuple[Policy, dict[str, str]]:
    """Return the policy in effect, and for each rule the name of the level that says so.

    The levels come the most particular first; each rule is the first one's that says anything.
    """
    values: dict[str, int | None] = {}
    origins: dict[str, str] = {}
    for rule in RULES:
        said = ((name, getattr(policy, rule)) for name, policy in levels)
        origins[rule], values[rule] = next(
            ((name, value) for name, value in said if value is not None), ("none", 0)
        )
    return Policy(**values), origins


def decide(
    backups: Iterable[Copy], policy: Policy, *, now: datetime, zone: tzinfo
) -> list[Decision]:
    """Return what is to become of each backup of one site, the newest first.

    Days, weeks, months and years are those of `zone`. Whatever the policy says, these stay: what is
    pinned, in use or locked; the newest copy; the newest proven one; what the kept suspect ones
    have to be compared with; and what is dated later than now.
    """
    newest_first = sorted(backups, key=_age, reverse=True)
    reasons: dict[int, list[str]] = {backup.key: [] for backup in newest_first}
    staying = [backup for backup in newest_first if not backup.is_going]
    for key, reason in _all_reasons(staying, policy, now, zone):
        reasons[key].append(reason)
    return [
        Decision(backup, True, tuple(reasons[backup.key]))
        if reasons[backup.key]
        else Decision(backup, False, (_why_it_goes(backup),))
        for backup in newest_first
    ]


def _age(backup: Copy) -> tuple[datetime, int]:
    return backup.created_at, backup.key


def _all_reasons(
    newest_first: Sequence[Copy], policy: Policy, now: datetime, zone: tzinfo
) -> Iterator[tuple[int, str]]:
    yield from _by_itself(newest_first, now)
    # While they are ahead of all that is made since, that would go at once.
    newest_first = [backup for backup in newest_first if not _is_ahead(backup, now)]
    copies = [backup for backup in newest_first if backup.counts]
    yield from _newest(copies, newest_first)
    yield from _last(copies, policy)
    for rule in _PERIODS:
        yield from _newest_of_each(copies, rule, getattr(policy, rule) or 0, zone)
    yield from _suspect_ones(newest_first, policy)


def _by_itself(backups: Iterable[Copy], now: datetime) -> Iterator[tuple[int, str]]:
    """Give the reasons that each has without a look at the others."""
    for backup in backups:
        if backup.is_pinned:
            yield backup.key, "pinned"
        if backup.is_in_use:
            yield backup.key, "a job is working with it"
        if backup.locked_until is not None and backup.locked_until > now:
            yield (
                backup.key,
                f"its storage has it locked until {backup.locked_until:%Y-%m-%d %H:%M %Z}",
            )
        if backup.has_object and backup.is_broken:
            yield backup.key, "its object is not as recorded; somebody has to look at it"
        if backup.has_object and _is_ahead(backup, now):
            yield (
                backup.key,
                "its time is still to come: a clock was ahead, so it counts as no copy",
            )
        if not backup.has_object and now - backup.created_at <= FAILURE_AGE:
            yield backup.key, f"a failure of the last {FAILURE_AGE.days} days"


def _is_ahead(backup: Copy, now: datetime) -> bool:
    return backup.created_at > now + CLOCKS_APART


def _newest(copies: Sequence[Copy], backups: Sequence[Copy]) -> Iterator[tuple[int, str]]:
    if copies:
        yield copies[0].key, "the newest good one"
    for among in (copies, backups):
        proven = [backup for backup in among if backup.has_object and backup.proven_at]
        if proven:
            yield proven[0].key, "the newest proven one"
            return


def _last(copies: Sequence[Copy], policy: Policy) -> Iterator[tuple[int, str]]:
    wanted = policy.keep_last or 0
    for number, copy in enumerate(copies[:wanted], start=1):
        yield copy.key, f"number {number} of the last {wanted}"


def _newest_of_each(
    copies: Sequence[Copy], rule: str, wanted: int, zone: tzinfo
) -> Iterator[tuple[int, str]]:
    """Keep the newest copy of each of the last `wanted` periods that have one."""
    period_of = _PERIODS[rule]
    seen: list[str] = []
    for copy in copies:
        if len(seen) >= wanted:
            return
        period = period_of(copy.created_at.astimezone(zone))
        if not seen or seen[-1] != period:
            seen.append(period)
            yield copy.key, f"the newest of {period} ({rule} {len(seen)} of {wanted})"


def _suspect_ones(backups: Sequence[Copy], policy: Policy) -> Iterator[tuple[int, str]]:
    """Keep the newest suspect ones, and before each of them the copy that it can be held against.

    They have a number of their own: a site that was emptied must not push its good backups out.
    """
    wanted = max(policy.keep_last or 0, 1)
    found = 0
    unanswered = False
    for backup in backups:
        if backup.counts and unanswered:
            yield backup.key, "the last good one before a suspect one"
            unanswered = False
        if backup.has_object and backup.is_suspect and not backup.is_broken and found < wanted:
            found += 1
            unanswered = True
            yield backup.key, f"suspect: counts as no copy, number {found} of the last {wanted}"


def _why_it_goes(backup: Copy) -> str:
    if backup.is_going:
        return "it is being removed already"
    if not backup.has_object:
        return f"a failure of more than {FAILURE_AGE.days} days ago; there is no object"
    if backup.is_suspect:
        return "suspect, and newer suspect ones are kept"
    return "enough newer ones are kept, and no rule asks for it"


_PERIODS: dict[str, Callable[[datetime], str]] = {
    "daily": lambda moment: f"{moment:%Y-%m-%d}",
    "weekly": lambda moment: f"{moment:%G-W%V}",
    "monthly": lambda moment: f"{moment:%Y-%m}",
    "yearly": lambda moment: f"{moment:%Y}",
}
