"""Restoring files: each chosen part is extracted beside its place, then the two are exchanged."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workers.engine.bundle import BundleDamaged, BundleReader, MemberMissing, extract
from workers.engine.bundle.reader import Selection
from workers.engine.errors import EngineError
from workers.engine.excludes import Excludes
from workers.engine.progress import Reporter
from workers.engine.restore import removal
from workers.engine.restore.exchange import explained, sync_file_system
from workers.engine.restore.file_switch import FileSwitch
from workers.engine.restore.places import PlaceRefused, existing, pinned, require_reachable
from workers.engine.restore.removal import Removal
from workers.engine.restore.standing import LeftAlone, standing

FilePart = FileSwitch | Removal


@dataclass(frozen=True, slots=True)
class RestoreRoot:
    """One of the names at the top of a bundle, and the path on this host that it stands for."""

    archive_name: str
    target: Path


@dataclass(frozen=True, slots=True)
class Part:
    """What is exchanged as one: a path in the bundle, and its place on this host.

    One that `goes` is not in the bundle, and is to be taken away.
    """

    archive_path: bytes
    target: Path
    goes: bool = False


def switch_of(record: Mapping[str, Any]) -> FilePart:
    """Return the switch of files that a record describes."""
    made: FilePart
    if record["kind"] == removal.KIND:
        made = Removal.from_record(record)
    else:
        made = FileSwitch.from_record(record)
    return made


def parts_of(
    bundle: BundleReader,
    roots: Sequence[RestoreRoot],
    paths: Iterable[str],
    *,
    removes: bool = False,
) -> list[Part]:
    """Return what is to be exchanged: the roots that the bundle has, or what of them is chosen.

    What lies below another chosen path goes with that. Raises `PlaceRefused` for a place that
    cannot be exchanged, a permanent `EngineError` for a path that is restored nowhere, and for a
    path that the bundle does not hold `MemberMissing`, unless this `removes` what is there.
    """
    chosen = sorted({path.rstrip("/") for path in paths})
    known = {root.archive_name: root for root in roots}
    _require_restorable(chosen, known)
    kinds = _kinds_at(bundle, chosen or known)
    selection = Selection(chosen or known)
    parts = []
    for path in chosen or known:
        own = os.fsencode(path)
        goes = removes and "/" in path and own not in kinds
        if own not in kinds and chosen and not goes:
            raise MemberMissing(own)
        if (goes or own in kinds) and selection.paths_to(own) == [own]:
            top, _slash, rest = path.partition("/")
            part = Part(own, known[top].target / rest, goes)
            if not rest:
                _require_real_root(part, kinds[own])
            require_reachable(part.target)
            parts.append(part)
    return parts


def _require_restorable(paths: Sequence[str], known: Collection[str]) -> None:
    for path in paths:
        parts = path.split("/")
        if parts[0] not in known or not {"", ".", ".."}.isdisjoint(parts):
            raise EngineError(
                f"{path} has no place where it could be restored to",
                hint=f"Choose paths below {', '.join(sorted(known))}.",
                permanent=True,
                code="path_not_restorable",
            )


def _kinds_at(bundle: BundleReader, paths: Iterable[str]) -> dict[bytes, str]:
    wanted = frozenset(os.fsencode(path) for path in paths)
    return {member.path: member.kind for member in bundle.members() if member.path in wanted}


def _require_real_root(part: Part, kind: str) -> None:
    """Raise unless both what a backup begins with and its place are what a site consists of."""
    if kind not in ("file", "folder"):
        raise BundleDamaged(
            f"{os.fsdecode(part.archive_path)} is a {kind} in the bundle, which no backup makes"
        )
    if part.target.is_symlink():
        raise PlaceRefused(
            f"{part.target} is a link on this host",
            hint="Restore to the path that it leads to.",
            permanent=True,
        )


def planned(parts: Sequence[Part], label: str) -> list[FilePart]:
    """Return the switches of the parts before anything is made, to be announced."""
    return [
        (Removal if part.goes else FileSwitch).planned(part.target, label, number)
        for number, part in enumerate(parts)
    ]


def prepare_files(
    bundle: BundleReader,
    parts: Sequence[Part],
    *,
    label: str,
    excludes: Excludes,
    reporter: Reporter,
    owners: bool | None = None,
) -> list[FilePart]:
    """Extract each part into a hidden folder beside its place; nothing that stands is touched.

    `label` names the folders, so that what a killed attempt left can be found: it is removed
    first, and what this one made if it fails. `excludes` are the site's: what they leave out of
    backups stays where it is. Raises what `extract` raises, `PlaceRefused` for a place that cannot
    be exchanged, and `EngineError` where there is no room or nothing may be written.
    """
    switches = planned(parts, label)
    for switch in switches:
        switch.discard()
    require_room(bundle, parts)
    left_alone = LeftAlone(bundle, excludes)
    ready: list[FilePart] = []
    try:
        for part, switch in zip(parts, switches, strict=True):
            if isinstance(switch, FileSwitch):
                _prepare(bundle, part, switch, left_alone, reporter, owners)
            elif left_alone.covers(part.archive_path, is_folder=part.target.is_dir()):
                reporter.warn(
                    f"{part.target} stays: backups leave it out, so none says what it was"
                )
                continue
            ready.append(switch)
    except BaseException:
        # A disk that was filled by it has room again for the site that lives there.
        for switch in switches:
            with contextlib.suppress(EngineError):
                switch.discard()
        raise
    return ready


def _prepare(
    bundle: BundleReader,
    part: Part,
    switch: FileSwitch,
    left_alone: LeftAlone,
    reporter: Reporter,
    owners: bool | None,
) -> None:
    try:
        switch.begin()
        with pinned(switch.staging) as staging:
            extract(
                bundle,
                [part.archive_path],
                staging,
                reporter=reporter,
                owners=owners,
                is_private=True,
            )
        switch.adopt(switch.staging / os.fsdecode(part.archive_path))
        if switch.target.is_dir() and not switch.target.is_symlink():
            held = frozenset(held_paths(bundle, part))
            found = standing(switch.target, part.archive_path, held, left_alone, reporter.check)
            live = left_alone.live_below(part.archive_path)
            switch.keep(dict.fromkeys([*live, *(one.path for one in found if one.is_kept)]))
        sync_file_system(switch.staging)
    except OSError as error:
        raise explained(error, f"{part.target} cannot be prepared") from error
    except EngineError as error:
        # Of the folder that was given to `extract` only a number would be told.
        if error.code != "target_unwritable" or not isinstance(error.__cause__, OSError):
            raise
        raise explained(error.__cause__, f"{part.target} cannot be prepared") from error


def held_paths(bundle: BundleReader, part: Part) -> Iterator[bytes]:
    """Yield the paths of the bundle at and below the part."""
    return (member.path for member in bundle.members(part.archive_path))


def bytes_needed(bundle: BundleReader, part: Part) -> int:
    """Return how many bytes the part's files take on a disk; holes take none."""
    return sum(member.stored_size for member in bundle.members(part.archive_path))


def require_room(bundle: BundleReader, parts: Sequence[Part]) -> None:
    """Raise `EngineError` unless each disk has room for what comes beside what stands there.

    By the sizes of the manifest: a bundle that unfolds into more than any disk holds ends here.
    """
    wanted: dict[int, tuple[Path, int]] = {}
    for part in parts:
        place = existing(part.target.parent)
        device = place.stat().st_dev
        before = wanted.get(device, (place, 0))[1]
        wanted[device] = (place, before + bytes_needed(bundle, part))
    for place, needed in wanted.values():
        free = shutil.disk_usage(place).free
        if needed > free:
            raise EngineError(
                f"{place} has {free / 1e6:,.1f} MB free, and what is restored needs "
                f"{needed / 1e6:,.1f} MB beside what is there",
                hint="Free some space on that disk, or restore less at once.",
                permanent=True,
                code="not_enough_space",
            )
