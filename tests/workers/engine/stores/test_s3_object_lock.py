"""Object lock: asked for with each bundle, and respected when one is to be deleted."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.contracts.store_sources import BytesSource, PutCall, digest_of, pattern
from tests.servers import wait_until
from tests.servers.moto import S3Server
from workers.engine.errors import EngineError
from workers.engine.stores import open_store
from workers.engine.stores.base import ObjectLocked, Store
from workers.engine.stores.config import ConfigInvalid

KEY = "node/site/site.tar.zst"
LARGE = (5 << 20) + 100


@pytest.fixture(scope="module")
def locking_s3(moto_s3: S3Server) -> S3Server:
    """The same service with a bucket that was made with object lock."""
    server = dataclasses.replace(moto_s3, bucket="locked-backups")
    server.client().create_bucket(Bucket=server.bucket, ObjectLockEnabledForBucket=True)
    return server


def store_in(server: S3Server, prefix: str, **options: Any) -> Store:
    return open_store("s3", server.config(prefix=prefix, **{"object_lock_days": 30, **options}))


def retained(server: S3Server, prefix: str) -> Any:
    head = server.client().head_object(Bucket=server.bucket, Key=f"{prefix}/{KEY}")
    return head["ObjectLockMode"], head["ObjectLockRetainUntilDate"]


def unlock_soon(server: S3Server, prefix: str, key: str = KEY) -> datetime:
    """Shorten a governance lock, as its owner may, to a second from now."""
    until = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=2)
    server.client().put_object_retention(
        Bucket=server.bucket,
        Key=f"{prefix}/{key}",
        BypassGovernanceRetention=True,
        Retention={"Mode": "GOVERNANCE", "RetainUntilDate": until},
    )
    return until


def versions(server: S3Server, prefix: str) -> int:
    answer = server.client().list_object_versions(Bucket=server.bucket, Prefix=prefix)
    return len(answer.get("Versions", [])) + len(answer.get("DeleteMarkers", []))


@pytest.mark.parametrize("size", [100, LARGE])
@pytest.mark.parametrize("mode", ["governance", "compliance"])
def test_bundles_are_locked_for_as_long_as_it_is_set(
    locking_s3: S3Server, size: int, mode: str
) -> None:
    prefix = f"set/{mode}/{size}"
    store = store_in(locking_s3, prefix, object_lock_mode=mode)
    source = BytesSource(pattern(size))
    stored = PutCall(store, KEY)(source)
    assert stored.locked_until is not None
    days = (stored.locked_until - datetime.now(UTC)) / timedelta(days=1)
    assert 29.99 < days <= 30
    assert retained(locking_s3, prefix) == (mode.upper(), stored.locked_until)
    seen = store.stat(KEY)
    assert seen is not None and seen.locked_until == stored.locked_until
    assert digest_of(store, KEY) == source.sha256


def test_nothing_is_locked_unless_it_is_set(locking_s3: S3Server) -> None:
    store = store_in(locking_s3, "unset", object_lock_days=0)
    assert PutCall(store, KEY)(BytesSource(b"x")).locked_until is None


def test_a_locked_bundle_is_refused_and_nothing_has_changed(locking_s3: S3Server) -> None:
    store = store_in(locking_s3, "refused")
    stored = PutCall(store, KEY)(BytesSource(b"bundle"))
    with pytest.raises(ObjectLocked, match="is locked until 20") as refusal:
        store.delete(KEY)
    assert refusal.value.permanent and refusal.value.until == stored.locked_until
    assert store.stat(KEY) is not None
    assert versions(locking_s3, "refused") == 1


def test_a_bundle_whose_lock_is_over_goes_with_its_version(locking_s3: S3Server) -> None:
    store = store_in(locking_s3, "over")
    PutCall(store, KEY)(BytesSource(b"bundle"))
    until = unlock_soon(locking_s3, "over")
    wait_until(lambda: datetime.now(UTC) > until)
    assert store.delete(KEY) is True
    assert versions(locking_s3, "over") == 0
    assert store.delete(KEY) is False


def test_each_version_goes_when_a_bundle_was_stored_twice(locking_s3: S3Server) -> None:
    store = store_in(locking_s3, "twice")
    for _ in range(2):
        PutCall(store, KEY)(BytesSource(b"bundle"))
        until = unlock_soon(locking_s3, "twice")
    assert versions(locking_s3, "twice") == 2
    wait_until(lambda: datetime.now(UTC) > until)
    assert store.delete(KEY) is True
    assert versions(locking_s3, "twice") == 0


def test_a_legal_hold_is_respected(locking_s3: S3Server) -> None:
    store = store_in(locking_s3, "hold", object_lock_days=0)
    PutCall(store, KEY)(BytesSource(b"bundle"))
    locking_s3.client().put_object_legal_hold(
        Bucket=locking_s3.bucket, Key=f"hold/{KEY}", LegalHold={"Status": "ON"}
    )
    with pytest.raises(ObjectLocked, match="legal hold"):
        store.delete(KEY)
    assert store.stat(KEY) is not None


def test_the_probe_leaves_nothing_locked_and_sees_the_lock(locking_s3: S3Server) -> None:
    assert store_in(locking_s3, "probed").probe().object_lock
    answer = locking_s3.client().list_object_versions(Bucket=locking_s3.bucket, Prefix="probed")
    for version in answer.get("Versions", []):
        locking_s3.client().delete_object(
            Bucket=locking_s3.bucket, Key=version["Key"], VersionId=version["VersionId"]
        )
    assert not store_in(locking_s3, "probed").stat("x")


def test_a_bucket_without_lock_fails_the_test_of_the_storage(moto_s3: S3Server) -> None:
    with pytest.raises(EngineError, match="has no object lock") as refusal:
        store_in(moto_s3, "no-lock").probe()
    assert refusal.value.code == "object_lock_missing"


@pytest.mark.parametrize(
    ("options", "field"),
    [({"object_lock_days": -1}, "object_lock_days"), ({"object_lock_days": 40_000},
     "object_lock_days"), ({"object_lock_mode": "forever"}, "object_lock_mode")],
)  # fmt: skip
def test_settings_that_cannot_be_are_refused(
    moto_s3: S3Server, options: dict[str, Any], field: str
) -> None:
    with pytest.raises(ConfigInvalid) as refusal:
        store_in(moto_s3, "wrong", **options)
    assert refusal.value.field == field
