"""What of a site's backups is kept and what is to go, by the policy that is in effect there."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from zoneinfo import ZoneInfo

from django.conf import settings
from django.db.models import Q, QuerySet

from backups.models import Backup, BackupStatus, Job, Site
from backups.retention import Copy, Decision, Policy, decide, resolve
from backups.states import ACTIVE


@dataclass(frozen=True, slots=True)
class Judged:
    """A backup and what is to become of it."""

    backup: Backup
    decision: Decision


@dataclass(frozen=True, slots=True)
class RetentionPlan:
    """What is to become of a site's backups, the newest first, and by which policy.

    `origins` says of each rule which level it comes from: site, node or default.
    """

    policy: Policy
    origins: dict[str, str]
    zone: tzinfo
    judged: tuple[Judged, ...]

    @property
    def kept(self) -> list[Judged]:
        """What stays."""
        return [one for one in self.judged if one.decision.keep]

    @property
    def going(self) -> list[Judged]:
        """What goes."""
        return [one for one in self.judged if not one.decision.keep]


def effective_policy(site: Site) -> tuple[Policy, dict[str, str]]:
    """Return the policy of a site, and the level that each of its rules comes from."""
    default = Policy(**settings.HOLDFAST_RETENTION_POLICY)
    return resolve(("site", site.own_policy), ("node", site.node.own_policy), ("default", default))


def retention_plan(
    site: Site, *, changed: Policy | None = None, now: datetime | None = None
) -> RetentionPlan:
    """Return what is to become of the site's backups; `changed` asks what would, by that policy."""
    policy, origins = effective_policy(site)
    policy = changed or policy
    zone = zone_of(site)
    backups = {backup.pk: backup for backup in with_places(site.backups.all())}
    used = keys_used(backups.keys())
    copies = [_copy_of(backup, used) for backup in backups.values()]
    decisions = decide(copies, policy, now=now or datetime.now(UTC), zone=zone)
    judged = tuple(Judged(backups[one.backup.key], one) for one in decisions)
    return RetentionPlan(policy, origins, zone, judged)


def zone_of(site: Site) -> tzinfo:
    """Return the time zone whose days are the site's."""
    return ZoneInfo(site.time_zone)


def jobs_using(keys: Collection[int]) -> QuerySet[Job]:
    """Return the active jobs that make, read or prove these backups, or could be undone with one.

    A restore goes back to its checkpoint, which is the backup of the job that it waits for.
    """
    uses = Q(source__in=keys) | Q(backup__in=keys) | Q(waits_for__backup__in=keys)
    return Job.objects.filter(uses, state__in=ACTIVE)


def keys_used(keys: Collection[int]) -> set[int]:
    """Return which of these backups an active job uses."""
    columns = jobs_using(keys).values_list("source", "backup", "waits_for__backup")
    return {key for row in columns for key in row if key is not None}.intersection(keys)


def with_places(backups: QuerySet[Backup]) -> QuerySet[Backup]:
    """Add to backups what is needed to say where they are and who pinned them; no secrets."""
    with_rows = backups.select_related("storage", "job__node", "site__node", "pinned_by")
    return with_rows.defer("storage__secrets", "site__db_password", "facts")


def _copy_of(backup: Backup, used: Collection[int]) -> Copy:
    return Copy(
        key=backup.pk,
        created_at=backup.created_at,
        has_object=backup.status == BackupStatus.SUCCESS and bool(backup.object_key),
        is_suspect=backup.is_suspect,
        is_broken=bool(backup.check_problem),
        is_pinned=backup.pinned_at is not None,
        is_in_use=backup.pk in used,
        is_going=backup.removing_since is not None,
        proven_at=backup.proven_at,
        locked_until=backup.locked_until,
    )


def bytes_of(judged: Iterable[Judged]) -> int:
    """Return how much room these take together."""
    return sum(one.backup.size_bytes for one in judged)
