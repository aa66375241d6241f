"""Each day a node looks whether what is stored is as it was recorded."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from rest_framework.test import APIClient

from backups.actions import checks, errands, housekeeping
from backups.actions.findings import MOST_NAMED, note_findings
from backups.models import AuditEntry, Backup, Errand, Node, Site, Storage
from backups.queries.checks import backups_to_check
from tests.backups.conftest import ended_job

pytestmark = [pytest.mark.django_db(transaction=True)]


@pytest.fixture
def backups(site: Site, make_backup: Callable[..., Backup]) -> list[Backup]:
    return [make_backup(site, number=number) for number in range(1, 5)]


def object_of(backup: Backup) -> Path:
    return Path(backup.storage.config["path"], backup.object_key)


def check() -> None:
    Errand.objects.update(not_before=None)
    checks.start_due_checks()
    housekeeping.take_answers()


def problem(backup: Backup) -> str:
    return Backup.objects.get(pk=backup.pk).check_problem


def age_all(hours: float) -> None:
    Backup.objects.update(checked_at=datetime.now(UTC) - timedelta(hours=hours))


def test_what_is_as_recorded_is_marked_as_looked_at(answering: None, backups: list[Backup]) -> None:
    check()
    assert not Backup.objects.filter(checked_at__isnull=True).exists()
    assert not Backup.objects.exclude(check_problem="").exists()


def test_what_is_amiss_is_said_in_api_and_admin(
    answering: None, api: APIClient, backups: list[Backup]
) -> None:
    object_of(backups[0]).unlink()
    object_of(backups[1]).write_bytes(b"longer than it was")
    check()
    assert problem(backups[0]) == "The object is not there."
    assert problem(backups[1]) == "The object has 18 bytes instead of 6."
    assert problem(backups[2]) == ""
    body = api.get(f"/api/v1/backups/{backups[0].pk}").json()
    assert body["check_problem"] == "The object is not there."
    assert body["checked_at"] is not None
    found = api.get(f"/api/v1/sites/{backups[0].site_id}/retention").json()
    reasons = {one["backup_id"]: one["reasons"] for one in found["keep"]}
    assert "not as recorded" in reasons[backups[0].pk][0]


def test_what_is_back_is_well_again_an_hour_later(answering: None, backups: list[Backup]) -> None:
    content = object_of(backups[0]).read_bytes()
    object_of(backups[0]).unlink()
    check()
    object_of(backups[0]).write_bytes(content)
    check()
    assert problem(backups[0])
    age_all(1.5)
    check()
    assert problem(backups[0]) == ""


def test_each_is_looked_at_once_a_day(answering: None, backups: list[Backup]) -> None:
    check()
    object_of(backups[0]).unlink()
    age_all(23)
    check()
    assert problem(backups[0]) == ""
    age_all(25)
    check()
    assert problem(backups[0])


def test_another_stored_checksum_is_found(
    answering: None, storage: Storage, site: Site, backups: list[Backup]
) -> None:
    """What `put` keeps beside the object has another SHA-256 than the row."""
    from tests.contracts.store_sources import BytesSource, PutCall
    from workers.engine.stores import open_store

    store = open_store("local", storage.full_config())
    object_of(backups[0]).unlink()
    PutCall(store, backups[0].object_key)(BytesSource(b"bundle"))
    check()
    assert "another SHA-256" in problem(backups[0])


def test_a_storage_that_is_away_is_left_alone_for_a_while(
    answering: None, storage: Storage, backups: list[Backup]
) -> None:
    storage.type, storage.config = "s3", {
        "bucket": "b", "endpoint_url": "http://127.0.0.1:9", "max_attempts": 1,
        "access_key_id": "AK",
    }  # fmt: skip
    storage.secrets = {"secret_access_key": "not-a-secret"}
    storage.save()
    check()
    assert not Backup.objects.filter(checked_at__isnull=False).exists()
    errand = Errand.objects.get(key__startswith="check:")
    assert errand.failures == 1 and "cannot be reached" in errand.error
    assert errand.not_before is not None
    assert checks.start_due_checks() == 0


def test_nobody_is_asked_twice_at_once_nor_when_there_is_nothing_to_do(
    live_worker: object, closed_broker: None, backups: list[Backup]
) -> None:
    checks.start_due_checks()
    assert errands.awaited().count() == 1
    assert checks.start_due_checks() == 0
    assert errands.awaited().count() == 1
    Errand.objects.update(task_id=None)
    age_all(1)
    checks.start_due_checks()
    assert errands.awaited().count() == 0
    assert Errand.objects.filter(key__startswith="rest:", not_before__isnull=False).count() == 1


def test_another_nodes_folder_is_not_looked_at_and_its_bucket_is(
    answering: None, site: Site, other_node: Node, storage: Storage, backups: list[Backup]
) -> None:
    job = ended_job(site)
    type(job).objects.filter(pk=job.pk).update(node=other_node)
    Backup.objects.filter(pk=backups[0].pk).update(job=job)
    check()
    check()
    assert Backup.objects.get(pk=backups[0].pk).checked_at is None
    bucket = Storage.objects.create(
        name="bucket", type="s3",
        config={"bucket": "b", "endpoint_url": "http://127.0.0.1:9", "max_attempts": 1},
    )  # fmt: skip
    Backup.objects.filter(pk=backups[0].pk).update(storage=bucket)
    check()
    assert Errand.objects.filter(key=f"check:{site.node_id}:{bucket.pk}", failures=1).exists()


def test_what_is_amiss_is_no_newest_good_backup_and_is_told_once(
    answering: None, site: Site, backups: list[Backup], caplog: pytest.LogCaptureFixture
) -> None:
    newest = max(backups, key=lambda one: (one.created_at, one.pk))
    content = object_of(newest).read_bytes()
    object_of(newest).unlink()
    with caplog.at_level(logging.WARNING, "backups"):
        check()
    site.refresh_from_db()
    assert (site.backup_count, site.backups_amiss) == (4, 1)
    assert site.last_backup == max(one.created_at for one in backups if one != newest)
    assert f"A backup is not as recorded: {newest.object_key}: The object is not" in caplog.text
    entry = AuditEntry.objects.get(action="backup.amiss")
    assert (entry.source, entry.outcome, entry.object_id, entry.site_id) == (
        "coordinator", "failed", str(newest.pk), site.pk,
    )  # fmt: skip
    age_all(2)
    check()
    assert AuditEntry.objects.filter(action="backup.amiss").count() == 1
    object_of(newest).write_bytes(content)
    age_all(2)
    check()
    site.refresh_from_db()
    assert (site.backups_amiss, site.last_backup) == (0, newest.created_at)
    assert AuditEntry.objects.get(action="backup.well_again").object_id == str(newest.pk)


def test_many_of_a_site_are_told_together(answering: None, backups: list[Backup]) -> None:
    """A disk that is not mounted is one cause, and not thousands of entries."""
    for backup in backups:
        object_of(backup).unlink()
    check()
    entry = AuditEntry.objects.get(action="backup.amiss")
    assert (entry.object_type, entry.object_label) == ("site", "example.com")
    assert entry.detail.startswith("4 backups are not as recorded: ")
    assert entry.detail.count("The object is not there.") == MOST_NAMED


def test_one_whose_job_is_forgotten_is_looked_at_where_it_was_made(
    answering: None, site: Site, other_node: Node, backups: list[Backup]
) -> None:
    """As after a rebuild of the catalogue: the site was on another node when it made them."""
    old = backups[0].object_key.replace(str(site.node.uuid), str(other_node.uuid))
    Backup.objects.filter(pk=backups[0].pk).update(object_key=old)
    unknown = backups[1].object_key.replace(str(site.node.uuid), str(site.uuid))
    Backup.objects.filter(pk=backups[1].pk).update(object_key=unknown)
    found = {one.pk for one in backups_to_check(site.node, 10)}
    assert found == {one.pk for one in backups[1:]}
    assert [one.pk for one in backups_to_check(other_node, 10)] == [backups[0].pk]
    check()
    assert problem(backups[0]) == "" and problem(backups[1])


def test_others_are_looked_at_when_one_node_cannot_be_asked(
    answering: None, backups: list[Backup], monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    asked: list[str] = []

    def broken(node: Node) -> bool:
        asked.append(node.name)
        raise ZeroDivisionError

    monkeypatch.setattr(checks, "_ask", broken)
    assert checks.start_due_checks() == 0
    assert asked == ["web-01"] and "nobody looks at what is stored from web-01" in caplog.text


def test_one_that_is_being_removed_by_now_is_not_amiss(backups: list[Backup]) -> None:
    """It was asked for before somebody deleted it, and the answer says that it is not there."""
    Backup.objects.filter(pk=backups[0].pk).update(removing_since=datetime.now(UTC))
    note_findings({one.pk: "The object is not there." for one in backups[:2]})
    assert (problem(backups[0]), problem(backups[1])) == ("", "The object is not there.")
    assert AuditEntry.objects.get(action="backup.amiss").object_id == str(backups[1].pk)
