"""`manage.py storage audit`: the catalogue and the storage, held against each other."""

from __future__ import annotations

import io
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db.models.functions import Now

from backups.actions import inventory
from backups.models import AuditEntry, Backup, Job, Node, Site, Stage, Storage
from tests.backups.conftest import ended_job

pytestmark = [pytest.mark.django_db(transaction=True)]

DAY = 24 * 3600


@pytest.fixture
def backups(site: Site, make_backup: Callable[..., Backup], answering: None) -> list[Backup]:
    return [make_backup(site, number=number) for number in range(1, 4)]


def object_of(backup: Backup) -> Path:
    return Path(backup.storage.config["path"], backup.object_key)


def plant(backup: Backup, name: str, days: float) -> str:
    """Put an object beside the backup's that nobody knows of; return its key."""
    path = object_of(backup).with_name(name)
    path.write_bytes(b"nobody's")
    os.utime(path, (time.time() - days * DAY,) * 2)
    return backup.object_key.rpartition("/")[0] + f"/{name}"


def audit(*arguments: str) -> tuple[int, str]:
    written = io.StringIO()
    try:
        call_command("storage", "audit", *arguments, stdout=written, stderr=written)
    except SystemExit as end:
        return int(str(end.code)), written.getvalue()
    return 0, written.getvalue()


def found(*arguments: str) -> list[Any]:
    code, text = audit("--json", *arguments)
    findings = json.loads(text)
    assert code == int(bool(findings))
    return findings


def test_they_agree_when_all_is_there(backups: list[Backup]) -> None:
    assert audit() == (0, "Catalogue and storage agree.\n")
    assert found() == []


def test_backups_without_their_object_are_found(backups: list[Backup]) -> None:
    object_of(backups[0]).unlink()
    object_of(backups[1]).write_bytes(b"cut")
    findings = found("folder")
    assert {(one["kind"], one["backup_id"], one["key"]) for one in findings} == {
        ("missing", backups[0].pk, backups[0].object_key),
        ("differs", backups[1].pk, backups[1].object_key),
    }
    code, table = audit()
    assert code == 1
    assert "The object has 3 bytes instead of 6." in table and "2 findings" in table
    assert Backup.objects.exclude(check_problem="").count() == 2


def test_only_old_objects_that_nothing_refers_to_are_orphans(backups: list[Backup]) -> None:
    old = plant(backups[0], "old.tar.zst", 3)
    plant(backups[0], "young.tar.zst", 0.5)
    foreign = object_of(backups[0]).parents[2] / "notes.txt"
    foreign.write_text("not ours")
    os.utime(foreign, (0, 0))
    [finding] = found()
    assert (finding["kind"], finding["key"], finding["size"]) == ("orphan", old, 8)
    assert "3 days old" in finding["detail"]


@pytest.mark.parametrize(
    "state", [{"state": "running"}, {"cleanup_pending": True}, {"work_kept_until": Now()}]
)
def test_objects_of_jobs_at_work_are_no_orphans(
    site: Site, backups: list[Backup], state: dict[str, Any]
) -> None:
    key = plant(backups[0], "sealed.tar.zst", 3)
    job = ended_job(site)
    Job.objects.filter(pk=job.pk).update(**state)
    sealed = Stage.objects.filter(job=job, name="create_bundle")
    sealed.update(state="completed", outputs={"key": key})
    assert found() == []


def test_orphans_are_deleted_when_it_is_said_and_nothing_else_is(backups: list[Backup]) -> None:
    plant(backups[0], "old.tar.zst", 3)
    object_of(backups[1]).unlink()
    code, text = audit("--delete-orphans")
    assert code == 1 and "old.tar.zst from folder" in text
    assert not object_of(backups[0]).with_name("old.tar.zst").exists()
    assert object_of(backups[0]).exists() and object_of(backups[2]).exists()
    assert AuditEntry.objects.filter(action="storage.delete_orphans").count() == 1
    assert [one["kind"] for one in found()] == ["missing"]


def test_nothing_is_deleted_when_the_catalogue_is_what_is_lost(backups: list[Backup]) -> None:
    for backup in backups:
        os.utime(object_of(backup), (0, 0))
    Backup.objects.all().delete()
    with pytest.raises(CommandError, match="the catalogue may be lost"):
        audit("--delete-orphans")
    assert all(object_of(backup).exists() for backup in backups)


def test_a_node_that_cannot_be_asked_is_a_finding(
    site: Site, make_backup: Callable[..., Backup]
) -> None:
    make_backup(site)
    [finding] = found()
    assert (finding["kind"], finding["node"]) == ("unseen", "web-01")
    assert Backup.objects.get().check_problem == ""


def test_a_bucket_that_no_node_can_look_at_is_a_finding(storage: Storage) -> None:
    """Nobody looked, so nobody may say that they agree."""
    Storage.objects.create(name="bucket", type="s3", config={"bucket": "b"})
    [finding] = found("bucket")
    assert (finding["kind"], finding["detail"]) == ("unseen", "There is no node to ask.")


def test_the_node_that_made_what_is_forgotten_is_asked_as_well(
    site: Site, other_node: Node, backups: list[Backup]
) -> None:
    """After a rebuild no job says that the site was on another node once."""
    old = backups[0].object_key.replace(str(site.node.uuid), str(other_node.uuid))
    Backup.objects.filter(pk=backups[0].pk).update(object_key=old)
    [finding] = found("folder")
    assert (finding["kind"], finding["node"]) == ("unseen", "web-02")


def test_long_listings_come_in_pages(
    backups: list[Backup], monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = {plant(backups[0], f"old-{number}.tar.zst", 3) for number in range(10)}
    monkeypatch.setattr(inventory, "PAGE_OBJECTS", 3)
    assert {one["key"] for one in found()} == keys


def test_unfinished_uploads_are_found_unless_a_job_goes_on_with_them(
    backups: list[Backup], moto_s3: Any, site: Site
) -> None:
    Storage.objects.create(name="bucket", type="s3", config=moto_s3.config(prefix="u"))
    key = f"{site.node.uuid}/{site.uuid}/x_20260101_000000.tar.zst"
    # This server says of every upload that it was begun in 2010.
    moto_s3.client().create_multipart_upload(Bucket=moto_s3.bucket, Key=f"u/{key}")
    [finding] = found("bucket")
    assert (finding["kind"], finding["key"]) == ("upload", key)
    job = ended_job(site, state="running", storage=Storage.objects.get(name="bucket"))
    sealed = Stage.objects.filter(job=job, name="create_bundle")
    sealed.update(state="completed", outputs={"key": key})
    assert found("bucket") == []


def test_a_storage_that_is_none_is_refused(backups: list[Backup]) -> None:
    with pytest.raises(CommandError, match="known: folder"):
        audit("nowhere")
