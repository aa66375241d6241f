"""What a stored bundle says of itself: enough to make the catalogue's rows again without the panel.

The other half of `create_bundle.facts_of`. Bundles of before a fact was recorded lack it.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from workers.engine.age import NoIdentity, plain_source
from workers.engine.bundle import BundleDamaged, BundleReader
from workers.engine.bundle.container import FORMAT_NAME
from workers.engine.sources import ByteSource
from workers.stages.create_bundle import summary_of
from workers.stages.soundness import require_database, stated

# What every database can hold, in every time zone.
_YEARS = (1970, 9000)


def recorded(
    source: ByteSource, *, is_encrypted: bool, identity_file: Path | None
) -> dict[str, Any] | None:
    """Return the bundle's own account; None if it is encrypted and no key at hand opens it.

    Only its index and the head of its manifest are fetched. `facts` are those of a Backup, but for
    `plain_sha256`, which only reading the whole would tell. Raises `BundleDamaged`, and
    `IdentityUnusable` for a file of keys that cannot be used.
    """
    try:
        plain = plain_source(source, identity_file, is_encrypted=is_encrypted)
    except NoIdentity:
        return None
    bundle = BundleReader(plain, keeps_manifest=False)
    said = bundle.facts()
    try:
        account = _account(said)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BundleDamaged("The manifest does not say what it is a backup of") from error
    account["facts"]["manifest_sha256"] = bundle.footer.manifest_sha256.hex()
    if is_encrypted:
        recipients = account["encrypted_to"]
        account["facts"] |= {"encrypted_to": recipients, "plain_size": plain.size}
    return account


def recorded_tables(bundle: BundleReader) -> list[dict[str, Any]]:
    """Return name, rows and size of each table in the bundle's dump, by name.

    The size is that of the table's part of the dump; None where the bundle does not record where
    the parts begin. Raises `BundleDamaged`.
    """
    database = bundle.facts().get("database") or {"tables": {}}
    with stated("as a backup says it"):
        require_database(database)
        sizes = _sizes_of_parts(database)
        return [
            {"name": name, "rows": rows, "size": sizes.get(name)}
            for name, rows in sorted(database["tables"].items())
        ]


def _sizes_of_parts(database: Mapping[str, Any]) -> dict[str, int]:
    """Return how much text each table has; the last one's part goes to the end of the dump."""
    starts = sorted((start, name) for name, start in (database.get("table_offsets") or {}).items())
    ends = [*(start for start, _name in starts[1:]), int(database.get("bytes_total") or 0)]
    pairs = zip(starts, ends, strict=True) if starts else ()
    return {name: end - start for (start, name), end in pairs if end > start}


def _account(said: Mapping[str, Any]) -> dict[str, Any]:
    """Return what matters of a manifest's facts, each of the type that it must have."""
    if said["format"] != FORMAT_NAME:
        raise ValueError(f"{said['format']!r} is another format")
    site, database, files = said["site"], said["database"], said["files"]
    facts = summary_of(database, files)
    if any(type(number) is not int for number in facts.values()):
        raise TypeError("a count is no number")
    kept: dict[str, Any] = dict(facts)
    if database is None or "engine" in database:
        kept["database_engine"] = _text(database["engine"]) if database else ""
    return {
        "site_uuid": _text(site["uuid"]),
        "site_name": _text(site["name"]),
        "node": _text(site["node"]),
        "settings": dict(site.get("settings", {})),
        "started_at": _moment(said["started_at"]),
        "sealed_at": _moment(said["sealed_at"]),
        "is_suspect": bool(said.get("suspicions")),
        "encrypted_to": [_text(recipient) for recipient in said.get("encrypted_to", [])],
        "facts": kept,
    }


def _text(value: Any) -> str:  # noqa: ANN401
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value


def _moment(value: Any) -> datetime:  # noqa: ANN401
    moment = datetime.fromisoformat(_text(value))
    if moment.tzinfo is None:
        raise ValueError(f"{value!r} has no time zone")
    if not _YEARS[0] <= moment.year < _YEARS[1]:
        raise ValueError(f"{value!r} is no time of a backup")
    return moment
