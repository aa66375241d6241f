"""Old backups go: their objects first, once a node has seen that all that stays is there."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.db.models import F
from django.db.models.functions import Now
from rest_framework.test import APIClient

from backups.actions import errands, housekeeping, jobs, prunings
from backups.errors import BackupGoingError
from backups.models import AuditEntry, Backup, Errand, Node, Site, Storage, Worker
from backups.states import JobKind

pytestmark = [pytest.mark.django_db(transaction=True)]

DAY = timedelta(days=1)


@pytest.fixture
def history(site: Site, make_backup: Callable[..., Backup]) -> list[Backup]:
    """Ten daily backups with objects, the newest first; seven are kept."""
    now = datetime.now(UTC)
    return [make_backup(site, number=n, created_at=now - n * DAY) for n in range(1, 11)]


def object_of(backup: Backup) -> Path:
    return Path(backup.storage.config["path"], backup.object_key)


def there(backups: list[Backup]) -> list[bool]:
    return [object_of(backup).exists() for backup in backups]


def rounds(count: int = 2) -> None:
    """Let the coordinator ask in one round and take the answer in the next."""
    for _ in range(count):
        housekeeping.keep_house()


def errand() -> Errand:
    return Errand.objects.get(key__startswith="prune:")


def test_what_no_rule_keeps_goes_with_its_object(
    answering: None, site: Site, history: list[Backup]
) -> None:
    rounds()
    assert there(history) == [True] * 7 + [False] * 3
    assert list(site.backups.values_list("pk", flat=True)) == [one.pk for one in history[:7]]
    site.refresh_from_db()
    assert (site.backup_count, site.storage_used_bytes) == (7, 7 * len(b"bundle"))
    assert (errand().done_count, errand().failures, errand().error) == (3, 0, "")
    rounds()
    site.refresh_from_db()
    assert site.retention_due_at - datetime.now(UTC) > 23 * timedelta(hours=1)


def test_each_removal_is_in_the_audit_trail(answering: None, history: list[Backup]) -> None:
    rounds()
    entries = AuditEntry.objects.filter(action="backup.prune")
    assert {entry.object_id for entry in entries} == {str(one.pk) for one in history[7:]}
    entry = entries.get(object_id=str(history[9].pk))
    assert (entry.source, entry.actor_name) == ("coordinator", "coordinator")
    assert history[9].object_key in entry.detail and "no rule asks for it" in entry.detail


def test_the_row_stays_until_the_answer_has_come(answering: None, history: list[Backup]) -> None:
    prunings.start_due_prunings()
    assert there(history) == [True] * 7 + [False] * 3
    assert Backup.objects.filter(removing_since__isnull=False).count() == 3
    assert housekeeping.take_answers() == 1
    assert Backup.objects.count() == 7


def test_nothing_goes_when_something_that_stays_is_missing(
    answering: None, site: Site, history: list[Backup]
) -> None:
    object_of(history[2]).unlink()
    rounds(1)
    housekeeping.take_answers()
    assert there(history[3:]) == [True] * 7
    assert not Backup.objects.filter(removing_since__isnull=False).exists()
    assert Backup.objects.get(pk=history[2].pk).check_problem == "The object is not there."
    assert errand().failures == 1
    assert "Nothing was removed" in errand().error and history[2].object_key in errand().error
    # The missing one counts no more, so that one more of the old ones stays.
    Site.objects.update(retention_due_at=Now())
    rounds()
    assert there(history) == [True, True, False, *[True] * 5, False, False]
    assert Backup.objects.count() == 8


def test_nothing_goes_when_something_that_stays_has_another_size(
    answering: None, history: list[Backup]
) -> None:
    object_of(history[0]).write_bytes(b"cut")
    rounds(1)
    housekeeping.take_answers()
    assert all(there(history))
    assert "3 bytes instead of 6" in errand().error


def test_nothing_goes_when_the_whole_folder_is_away(
    answering: None, storage: Storage, history: list[Backup]
) -> None:
    folder = Path(storage.config["path"])
    folder.rename(folder.with_name("unmounted"))
    folder.mkdir()
    rounds(6)
    assert Backup.objects.count() == 10
    folder.rmdir()
    folder.with_name("unmounted").rename(folder)
    assert all(there(history))


def test_a_lone_object_that_is_not_there_is_not_taken_for_removed(
    answering: None, site: Site, history: list[Backup], tmp_path: Path
) -> None:
    """An empty folder may be a disk that is not mounted."""
    (tmp_path / "elsewhere").mkdir()
    other = Storage.objects.create(
        name="other", type="local", config={"path": str(tmp_path / "elsewhere")}
    )
    Backup.objects.filter(pk__in=[one.pk for one in history[7:]]).update(storage=other)
    rounds(4)
    assert (
        Backup.objects.filter(storage=other, check_problem="The object is not there.").count() == 3
    )


def test_what_was_pinned_in_the_meantime_stays(answering: None, history: list[Backup]) -> None:
    plan = prunings.retention_plan(Site.objects.get())
    Backup.objects.filter(pk=history[8].pk).update(pinned_at=Now())
    claimed = prunings._claim([one.backup.pk for one in plan.going])
    assert claimed == {history[7].pk: True, history[9].pk: True}


def test_nothing_begins_with_a_backup_that_is_being_removed(
    closed_broker: None, site: Site, history: list[Backup]
) -> None:
    Backup.objects.filter(pk=history[9].pk).update(removing_since=Now())
    with pytest.raises(BackupGoingError):
        jobs.begin_job(
            kind=JobKind.BACKUP, site=site, storage=history[9].storage, source=history[9],
            requested_by=None, trigger="manual", message="",
        )  # fmt: skip


def test_the_claim_is_taken_back_when_no_worker_is_there(site: Site, history: list[Backup]) -> None:
    rounds()
    assert not Backup.objects.filter(removing_since__isnull=False).exists()
    assert errand().failures == 1 and "No worker of web-01 is running" in errand().error
    site.refresh_from_db()
    assert timedelta(seconds=50) < site.retention_due_at - datetime.now(UTC)


def test_an_answer_that_never_came_is_asked_for_again(
    live_worker: Worker,
    closed_broker: None,
    request: pytest.FixtureRequest,
    history: list[Backup],
) -> None:
    """Redis lost the question, or the node ended in the middle: the objects may be gone."""
    rounds(1)
    assert errand().task_id is not None
    assert Backup.objects.filter(removing_since__isnull=False).count() == 3
    object_of(history[9]).unlink()
    Errand.objects.update(asked_at=F("asked_at") - errands.LOST_AFTER - DAY)
    housekeeping.take_answers()
    assert (errand().task_id, errand().failures) == (None, 1)
    assert "did not answer" in errand().error
    assert Backup.objects.filter(removing_since__isnull=False).count() == 3
    request.getfixturevalue("answering")
    Site.objects.update(retention_due_at=Now())
    rounds()
    assert Backup.objects.count() == 7
    assert (errand().failures, errand().done_count) == (0, 3)


def test_a_storage_that_fails_keeps_its_rows(
    answering: None, storage: Storage, history: list[Backup]
) -> None:
    storage.type, storage.config = "s3", {
        "bucket": "b", "endpoint_url": "http://127.0.0.1:9", "max_attempts": 1,
        "access_key_id": "AK", "connect_timeout": 1,
    }  # fmt: skip
    storage.secrets = {"secret_access_key": "not-a-secret"}
    storage.save()
    rounds()
    assert Backup.objects.count() == 10
    assert not Backup.objects.filter(removing_since__isnull=False).exists()
    assert errand().failures == 1 and "cannot be reached" in errand().error


def test_pauses_grow_up_to_a_day() -> None:
    pauses = [errands.pause_after(failures) for failures in range(30)]
    assert pauses[:3] == [60, 120, 240]
    assert pauses[-1] == 24 * 3600


def test_old_failures_go_without_asking_anybody(site: Site, storage: Storage) -> None:
    old = datetime.now(UTC) - 91 * DAY
    Backup.objects.create(site=site, storage=storage, status="FAILED", created_at=old)
    Backup.objects.create(site=site, storage=storage, status="FAILED", created_at=Now())
    rounds()
    assert Backup.objects.count() == 1


def test_nothing_goes_by_itself_when_retention_is_off(
    answering: None, settings: Any, history: list[Backup]
) -> None:
    settings.HOLDFAST_RETENTION = False
    rounds()
    assert Backup.objects.count() == 10


def test_bundles_on_another_node_hold_back_until_they_were_looked_at(
    answering: None, site: Site, other_node: Node, history: list[Backup]
) -> None:
    """A site that was moved: the folder of its new node is out of the old one's sight."""
    from tests.backups.conftest import ended_job

    job = ended_job(site)
    type(job).objects.filter(pk=job.pk).update(node=other_node)
    Backup.objects.filter(pk=history[0].pk).update(job=job)
    rounds()
    assert Backup.objects.count() == 10
    assert "nobody has looked lately" in errand().error
    Backup.objects.filter(pk=history[0].pk).update(checked_at=Now())
    Site.objects.update(retention_due_at=Now())
    rounds()
    assert Backup.objects.count() == 7


def test_many_go_in_portions(
    answering: None, site: Site, make_backup: Callable[..., Backup]
) -> None:
    now = datetime.now(UTC)
    for n in range(1, 60):
        make_backup(site, number=n, created_at=now - n * DAY)
    rounds(1)
    assert len(errand().backups) == prunings.BACKUPS_AT_ONCE
    rounds(6)
    assert Backup.objects.count() == 7


def test_coordinator_prunes_in_its_rounds(answering: None, history: list[Backup]) -> None:
    call_command("coordinator", "--once")
    call_command("coordinator", "--once")
    assert Backup.objects.count() == 7


@pytest.fixture
def in_bucket(moto_s3: Any, storage: Storage, history: list[Backup]) -> Any:
    """The history in a bucket with object lock, where each bundle is locked for a day."""
    import dataclasses

    from tests.contracts.store_sources import BytesSource, PutCall
    from workers.engine.stores import open_store

    server = dataclasses.replace(moto_s3, bucket=f"locked-{history[0].pk}-{id(history)}")
    server.client().create_bucket(Bucket=server.bucket, ObjectLockEnabledForBucket=True)
    config = server.config(object_lock_days=1)
    storage.type, storage.secrets = "s3", {"secret_access_key": config.pop("secret_access_key")}
    storage.config = config
    storage.save()
    store = open_store("s3", storage.full_config())
    for backup in history:
        stored = PutCall(store, backup.object_key)(BytesSource(b"bundle"))
        Backup.objects.filter(pk=backup.pk).update(
            locked_until=stored.locked_until, sha256=stored.metadata["sha256"]
        )
    return server


def test_what_is_locked_is_left_alone_and_the_reason_says_so(
    answering: None, site: Site, history: list[Backup], in_bucket: Any
) -> None:
    plan = prunings.retention_plan(site)
    assert plan.going == []
    assert "its storage has it locked until" in plan.kept[-1].decision.reasons[0]
    rounds()
    assert not Errand.objects.filter(key__startswith="prune:").exists()


def test_a_refusal_by_a_lock_is_remembered_and_no_failure(
    answering: None, site: Site, history: list[Backup], in_bucket: Any
) -> None:
    """Somebody locked the bundles in the service itself: the catalogue does not know."""
    locks = dict(Backup.objects.values_list("pk", "locked_until"))
    Backup.objects.update(locked_until=None)
    rounds()
    assert Backup.objects.count() == 10
    assert not Backup.objects.filter(removing_since__isnull=False).exists()
    for backup in history[7:]:
        assert Backup.objects.get(pk=backup.pk).locked_until == locks[backup.pk]
    assert (errand().failures, errand().error) == (0, "")
    rounds()
    site.refresh_from_db()
    assert site.retention_due_at - datetime.now(UTC) > 23 * timedelta(hours=1)


def test_a_locked_one_that_somebody_deletes_is_refused_and_stays(
    answering: None, api: APIClient, history: list[Backup], in_bucket: Any
) -> None:
    answer = api.delete(f"/api/v1/backups/{history[9].pk}?delete_remote=true")
    assert (answer.status_code, answer.json()["code"]) == (422, "object_locked")
    row = Backup.objects.get(pk=history[9].pk)
    assert (row.removing_since, row.check_problem) == (None, "")


def test_bundles_in_a_bucket_go_when_nothing_locks_them(
    answering: None, storage: Storage, history: list[Backup], moto_s3: Any
) -> None:
    from tests.contracts.store_sources import BytesSource, PutCall
    from workers.engine.stores import open_store

    config = moto_s3.config(prefix=f"pruned-{history[0].pk}")
    storage.type, storage.secrets = "s3", {"secret_access_key": config.pop("secret_access_key")}
    storage.config = config
    storage.save()
    store = open_store("s3", storage.full_config())
    for backup in history:
        stored = PutCall(store, backup.object_key)(BytesSource(b"bundle"))
        Backup.objects.filter(pk=backup.pk).update(sha256=stored.metadata["sha256"])
    rounds()
    assert Backup.objects.count() == 7
    assert len(list(store.list())) == 7
