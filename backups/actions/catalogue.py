"""The catalogue made again from storages: what is missing is added, nothing else is touched.

A restored database may lack the newest backups, an empty one lacks all of them. What only the
database knew (people, passwords, quotas, pins, receipts of proofs) does not come back. A schedule
comes back paused, and of the rules those that keep more: nothing starts and nothing goes before
somebody has looked.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Q
from django.db.models.functions import Now
from django.utils import timezone

from backups.actions.found_bundles import FoundBundle, column_of
from backups.actions.schedules import set_schedule
from backups.actions.storable import storable
from backups.actions.usage import usage_kept
from backups.errors import InvalidFieldError
from backups.models import (
    RECORDED_FIELDS,
    RECORDED_SCHEDULE,
    Backup,
    BackupStatus,
    Node,
    Site,
    Stage,
    Storage,
)
from backups.models.rules import LARGEST_COUNT, MOST_COPIES
from backups.schedule import ScheduleFrequency
from backups.states import JobState, StageState

# Stands for the keys of a bundle that was encrypted to nobody knows whom.
UNKNOWN_RECIPIENT = "unknown"


@dataclass(slots=True)
class Rebuilt:
    """What was added, or would be; `notes` are sentences on what somebody should look at."""

    nodes: list[Node] = field(default_factory=list)
    sites: list[Site] = field(default_factory=list)
    backups: list[Backup] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Stored:
    storage: Storage
    bundle: FoundBundle


def keys_known() -> set[str]:
    """Return the keys of all bundles in the catalogue; no two bundles share one."""
    rows = Backup.objects.exclude(object_key="")
    return set(rows.values_list("object_key", flat=True).iterator())


def rebuild(
    found: Iterable[tuple[Storage, Sequence[FoundBundle]]], *, dry_run: bool = False
) -> Rebuilt:
    """Add the nodes, sites and backups that the bundles tell of and that are not there.

    A dry run writes the same and takes it back; it may be given storages without a row.
    """
    if not dry_run:
        return _rebuild(found)
    with transaction.atomic():
        rehearsed = _rebuild(found)
        transaction.set_rollback(True)
    return rehearsed


def _rebuild(found: Iterable[tuple[Storage, Sequence[FoundBundle]]]) -> Rebuilt:
    """Add it, each site with its backups in a transaction: one that ends early can go on."""
    stored = []
    for storage, bundles in found:
        if storage._state.adding and bundles:
            storage.save()
        stored += [_Stored(storage, bundle) for bundle in bundles]
    stored.sort(key=lambda one: one.bundle.key.stamp, reverse=True)
    rebuilt = Rebuilt()
    nodes = _nodes(stored, rebuilt)
    for bundles_of_site in _by_site(stored):
        with transaction.atomic():
            site = _site_of(bundles_of_site, nodes, rebuilt)
            _add_backups(site, bundles_of_site, rebuilt)
    return rebuilt


def _by_site(stored: Sequence[_Stored]) -> Iterator[list[_Stored]]:
    sites: dict[uuid.UUID, list[_Stored]] = {}
    for one in stored:
        sites.setdefault(one.bundle.key.site, []).append(one)
    yield from sites.values()


def _nodes(stored: Sequence[_Stored], rebuilt: Rebuilt) -> dict[uuid.UUID, Node]:
    """Return the node of each UUID in the keys; the newest bundle that can be read names it.

    A host that joined anew has another UUID: whoever has the name is taken for the same.
    """
    names: dict[uuid.UUID, str] = {}
    for one in stored:
        names.setdefault(one.bundle.key.node, "")
        if one.bundle.account is not None:
            names[one.bundle.key.node] = names[one.bundle.key.node] or one.bundle.account["node"]
    return {key: _node(key, name, rebuilt) for key, name in names.items()}


def _node(key: uuid.UUID, name: str, rebuilt: Rebuilt) -> Node:
    node = Node.objects.filter(uuid=key).first()
    if node is not None:
        return node
    if not name:
        name = f"node-{str(key)[:8]}"
        rebuilt.notes.append(f"No bundle of node {key} can be read: it is called {name}.")
    node = Node.objects.filter(name=name).first()
    if node is not None:
        rebuilt.notes.append(
            f"{name} was the node {key} when it made bundles, and is {node.uuid} now."
        )
        return node
    # No work goes there before somebody says which folders it may read.
    node = Node.objects.create(uuid=key, name=name, is_enabled=False, allowed_roots=[])
    rebuilt.nodes.append(node)
    return node


def _site_of(stored: Sequence[_Stored], nodes: Mapping[uuid.UUID, Node], rebuilt: Rebuilt) -> Site:
    """Return the site of these bundles, the newest first; made of what they say if need be."""
    newest = stored[0].bundle
    site = Site.objects.filter(uuid=newest.key.site).first()
    if site is not None:
        return site
    accounts = [one.bundle.account for one in stored if one.bundle.account is not None]
    settings: dict[str, Any] = next((one["settings"] for one in accounts if one["settings"]), {})
    site = Site(
        uuid=newest.key.site,
        node=nodes[newest.key.node],
        name=accounts[0]["site_name"] if accounts else newest.key.site_name,
    )
    for name in RECORDED_FIELDS:
        if name in settings and not _take(site, name, settings[name]):
            rebuilt.notes.append(f"{site.name}: its {name} cannot be as its bundle says.")
    kept_before = site.retention_copies
    site.retention_copies = _copies_for(len(stored))
    _settle_path(site, rebuilt)
    _settle_schedule(site, kept_before, rebuilt)
    rebuilt.sites.append(site)
    return site


def _copies_for(count: int) -> int:
    """Return how many copies are kept of so many bundles: all, and those that come.

    By the defaults, or by what a bundle says, most of them might be removed before anybody has
    looked. The other rules only keep more.
    """
    return min(max(MOST_COPIES, 2 * count), LARGEST_COUNT)


def _settle_schedule(site: Site, kept_before: int | None, rebuilt: Rebuilt) -> None:
    """Save the site with the schedule of its bundle, which rests until somebody resumes it."""
    planned = {name: getattr(site, name) for name in RECORDED_SCHEDULE}
    was = f" It kept the last {kept_before}, and keeps all for now." if kept_before else ""
    if site.schedule_frequency != ScheduleFrequency.MANUAL:
        site.is_paused, site.paused_at, site.paused_by = True, timezone.now(), "catalogue rebuild"
        site.pause_reason = f"Made again from its bundles; resume it once it is right.{was}"
    for name in RECORDED_SCHEDULE:
        setattr(site, name, column_of(Site, name).get_default())
    site.save()
    if was:
        rebuilt.notes.append(f"{site.name}:{was}")
    try:
        frequency = planned.pop("schedule_frequency")
        set_schedule(site=site, frequency=frequency, **planned)
    except InvalidFieldError as error:
        rebuilt.notes.append(f"{site.name}: its schedule cannot be as its bundle says: {error}")
    site.refresh_from_db(fields=RECORDED_SCHEDULE)


def _take(site: Site, name: str, value: Any) -> bool:  # noqa: ANN401
    """Give the site what a bundle says; False if no site may have it."""
    column = column_of(Site, name)
    if value in (None, "") and (column.blank or column.null):
        return True
    try:
        setattr(site, name, storable(column.clean(value, site)))
    except (ValidationError, OverflowError):  # infinity is no whole number
        return False
    return True


def _settle_path(site: Site, rebuilt: Rebuilt) -> None:
    """Leave the path empty, which no job takes, where it is unknown or another site's by now."""
    same = Site.objects.filter(node=site.node, wp_path=site.wp_path).first()
    if site.wp_path and same is not None:
        rebuilt.notes.append(
            f"{site.name} ({site.uuid}) was in {site.wp_path}, where {same.name} ({same.uuid}) is "
            "now: it has no path."
        )
        site.wp_path = ""
    elif not site.wp_path:
        rebuilt.notes.append(f"{site.name}: its bundles do not say where it lies; set its path.")


def _add_backups(site: Site, stored: Sequence[_Stored], rebuilt: Rebuilt) -> None:
    """Add what is not there. Whoever completes a backup of the site waits, or has been waited for.

    An object whose job has not ended well is left to that job: it makes the row, or removes it.
    """
    keys = [one.bundle.key.text for one in stored]
    with usage_kept(site.pk):
        taken = set(Backup.objects.filter(site=site).values_list("object_key", flat=True))
        taken |= _keys_of_jobs(site)
        rows = [_backup_of(site, one) for one in stored if one.bundle.key.text not in taken]
        Backup.objects.bulk_create(rows)
        # No key may be given out a second time.
        newest = max(one.bundle.key.stamp for one in stored)
        older = Q(newest_key_at=None) | Q(newest_key_at__lt=newest)
        Site.objects.filter(older, pk=site.pk).update(newest_key_at=newest)
    rebuilt.backups += rows
    if skipped := taken.intersection(keys):
        rebuilt.notes.append(f"{site.name}: {len(skipped)} bundles are a job's or there already.")


def _keys_of_jobs(site: Site) -> set[str]:
    sealed = Stage.objects.filter(
        job__site=site, name="create_bundle", state=StageState.COMPLETED
    ).exclude(job__state=JobState.COMPLETED)
    return {str(outputs["key"]) for outputs in sealed.values_list("outputs", flat=True)}


def _backup_of(site: Site, stored: _Stored) -> Backup:
    bundle, account = stored.bundle, stored.bundle.account or {}
    recipients = account.get("encrypted_to") or [UNKNOWN_RECIPIENT]
    return Backup(
        site=site,
        storage=stored.storage,
        status=BackupStatus.SUCCESS,
        object_key=bundle.key.text,
        size_bytes=bundle.size,
        sha256=bundle.sha256,
        is_suspect=account.get("is_suspect", False),
        encrypted_to=recipients if bundle.key.is_encrypted else [],
        facts=storable(account.get("facts", {})),
        locked_until=bundle.locked_until,
        created_at=bundle.created_at,
        checked_at=Now(),
    )
