"""What a storage holds, told from its objects alone: keys, what is kept beside them, manifests."""

from __future__ import annotations

import hashlib
import re
import uuid
from collections.abc import Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from django.core.exceptions import ValidationError
from django.db.models import Field, Model

from backups import registry
from backups.errors import with_hint
from backups.models import Node, Site

# As `attempts.reserve_key` makes them.
_KEY = re.compile(
    r"(?P<node>[0-9a-f-]{36})/(?P<site>[0-9a-f-]{36})"
    r"/(?P<name>[A-Za-z0-9][A-Za-z0-9._-]{0,189})_(?P<stamp>\d{8}_\d{6})\.tar\.zst(?P<age>\.age)?"
)
_SHA256 = re.compile(r"[0-9a-f]{64}")
# Most of the time goes into waiting for the storage's answers.
READERS = 8
# So many answers in a row that the storage is away: it is, for the others as well.
MOST_UNREACHABLE = 5
PIECE_BYTES = 8 << 20
UNUSABLE_KEYS = "age_identity_unusable"


@dataclass(frozen=True, slots=True)
class Key:
    """What the key of a bundle says."""

    text: str
    node: uuid.UUID
    site: uuid.UUID
    site_name: str
    stamp: datetime
    is_encrypted: bool


@dataclass(frozen=True, slots=True)
class FoundBundle:
    """A bundle of the storage; `account` is what it says of itself, None if no key opens it."""

    key: Key
    size: int
    sha256: str
    account: Mapping[str, Any] | None
    locked_until: datetime | None = None

    @property
    def created_at(self) -> datetime:
        """When it was sealed, or else when its key was given out."""
        return self.account["sealed_at"] if self.account else self.key.stamp


@dataclass(frozen=True, slots=True)
class LeftOut:
    """An object that may be a bundle and gets no row, and why."""

    key: str
    reason: str


@dataclass(slots=True)
class Survey:
    """What was found. `foreign` are objects that are no bundles, `known` those in the catalogue.

    `problem` says why the storage could not be looked through.
    """

    bundles: list[FoundBundle] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)
    foreign: int = 0
    known: int = 0
    problem: str = ""


def parse_key(text: str) -> Key | None:
    """Return what a bundle's key says, None for an object of somebody else."""
    match = _KEY.fullmatch(text)
    if match is None:
        return None
    try:
        node, site = uuid.UUID(match["node"]), uuid.UUID(match["site"])
        stamp = datetime.strptime(match["stamp"], "%Y%m%d_%H%M%S").replace(tzinfo=UTC)
    except ValueError:
        return None
    if not text.startswith(f"{node}/{site}/"):
        return None
    return Key(text, node, site, match["name"], stamp, bool(match["age"]))


def survey(
    store: Any,  # noqa: ANN401
    *,
    known: Collection[str],
    identity_file: Path | None,
    compute_checksums: bool,
) -> Survey:
    """Look at every object of a store, and into every bundle that is not `known`.

    Raises the engine's error if the storage cannot be listed or does not answer any more, and for
    a file of keys that cannot be used.
    """
    found = Survey()
    look = partial(
        _look_into, store, identity_file=identity_file, compute_checksums=compute_checksums
    )
    keys = list(_new_keys(store.list(), known, found))
    unreachable = 0
    with ThreadPoolExecutor(READERS, thread_name_prefix="survey") as pool:
        try:
            for key, seen in zip(keys, pool.map(look, keys), strict=True):
                is_away = isinstance(seen, Exception) and not getattr(seen, "permanent", False)
                unreachable = unreachable + 1 if is_away else 0
                if isinstance(seen, Exception):
                    if unreachable >= MOST_UNREACHABLE or _code(seen) == UNUSABLE_KEYS:
                        raise seen
                    found.left_out.append(LeftOut(key.text, sentence_of(seen)))
                elif isinstance(seen, LeftOut):
                    found.left_out.append(seen)
                else:
                    found.bundles.append(seen)
        finally:
            pool.shutdown(cancel_futures=True)
    return found


def _new_keys(objects: Iterable[Any], known: Collection[str], found: Survey) -> Iterator[Key]:
    for stored in objects:
        key = parse_key(stored.key)
        if key is None:
            found.foreign += 1
        elif key.text in known:
            found.known += 1
        else:
            yield key


def _look_into(
    store: Any,  # noqa: ANN401
    key: Key,
    *,
    identity_file: Path | None,
    compute_checksums: bool,
) -> FoundBundle | LeftOut | Exception:
    """Return what one object is; the engine's error is an answer too, and others go on."""
    try:
        kept = store.stat(key.text)
        if kept is None:
            return LeftOut(key.text, "It vanished while the storage was looked through.")
        sha256 = _checksum_of(kept)
        if not sha256 and not compute_checksums:
            return LeftOut(
                key.text,
                "No SHA-256 is kept with it: something else than Holdfast copied it here. "
                "With --checksums it is read whole to compute it.",
            )
        source = store.open(key.text)
        account = registry.recorded_in(
            source, is_encrypted=key.is_encrypted, identity_file=identity_file
        )
        if account is not None and (reason := _disagreement(key, account)):
            return LeftOut(key.text, reason)
        sha256 = sha256 or _computed(source)
        return FoundBundle(key, kept.size, sha256, account, kept.locked_until)
    except registry.engine_error_class() as error:
        return error


def _checksum_of(kept: Any) -> str:  # noqa: ANN401
    """Return the SHA-256 that is kept with an object, or that the storage itself vouches for."""
    own = (kept.metadata or {}).get("sha256", "")
    algorithm, _, digest = kept.checksum.partition(":")
    sha256 = own or (digest if algorithm == "sha256" else "")
    return sha256 if _SHA256.fullmatch(sha256) else ""


def _computed(source: Any) -> str:  # noqa: ANN401
    hasher = hashlib.sha256()
    for offset in range(0, source.size, PIECE_BYTES):
        hasher.update(source.read_at(offset, PIECE_BYTES))
    return hasher.hexdigest()


def _disagreement(key: Key, account: Mapping[str, Any]) -> str:
    """Return in what a bundle is not what its key says, "" if it is."""
    if account["site_uuid"] != str(key.site):
        return f"Its manifest says that it is of the site {account['site_uuid'][:100]!r}."
    # The second in a key is that in which its job began, or a later one.
    if key.stamp < account["started_at"].replace(microsecond=0):
        return f"Its manifest says that its job began later, at {account['started_at']}."
    for model, name in ((Node, account["node"]), (Site, account["site_name"])):
        try:
            column_of(model, "name").clean(name, None)
        except ValidationError:
            return f"Its manifest holds no usable name of its {model._meta.verbose_name}."
    return ""


def column_of(model: type[Model], name: str) -> Field[Any, Any]:
    """Return the column, which knows what it may hold."""
    column = model._meta.get_field(name)
    assert isinstance(column, Field)
    return column


def _code(error: Exception) -> str:
    return str(getattr(error, "code", ""))


def sentence_of(error: Exception) -> str:
    """Return what an error of the engine says, and what to do about it."""
    return with_hint(getattr(error, "message", str(error)), getattr(error, "hint", ""))
