"""A backup that a person deletes goes as retention's do: claimed first, and followed up."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db.models import F
from django.db.models.functions import Now
from rest_framework.test import APIClient

from backups.actions import backups as deletions
from backups.actions import errands, housekeeping
from backups.models import AuditEntry, Backup, Errand, Node, Site, Storage, Worker
from panel.accounts.models import User
from tests.backups.api.test_answers import answered, link_to, refused
from tests.backups.conftest import ended_job

pytestmark = [pytest.mark.django_db(transaction=True)]

DAY = timedelta(days=1)


@pytest.fixture
def three(site: Site, make_backup: Callable[..., Backup]) -> list[Backup]:
    """Backups of three days, the newest first; all of them are kept."""
    now = datetime.now(UTC)
    return [make_backup(site, number=n, created_at=now - n * DAY) for n in range(1, 4)]


def delete(api: APIClient, backup: Backup) -> Any:
    return api.delete(f"/api/v1/backups/{backup.pk}?delete_remote=true")


def object_of(backup: Backup) -> Path:
    return Path(backup.storage.config["path"], backup.object_key)


def is_claimed(backup: Backup) -> bool:
    return Backup.objects.filter(pk=backup.pk, removing_since__isnull=False).exists()


def rounds(count: int = 2) -> None:
    """Let the coordinator ask in one round and take the answer in the next."""
    Site.objects.update(retention_due_at=Now())
    for _ in range(count):
        housekeeping.keep_house()


def left() -> set[int]:
    return set(Backup.objects.values_list("pk", flat=True))


def test_row_goes_when_its_object_is_gone(
    answering: None, api: APIClient, three: list[Backup]
) -> None:
    answer = delete(api, three[1])
    assert (answer.status_code, answer.json()["remote_deleted"]) == (200, True)
    assert left() == {three[0].pk, three[2].pk}
    assert not object_of(three[1]).exists()


@pytest.mark.parametrize("is_applied", [True, False])
def test_what_a_crash_left_open_is_ended_by_the_coordinator(
    answering: None,
    api: APIClient,
    three: list[Backup],
    monkeypatch: pytest.MonkeyPatch,
    settings: Any,
    is_applied: bool,
) -> None:
    """Also where retention is off, and then nothing else goes."""
    settings.HOLDFAST_RETENTION = is_applied
    Site.objects.update(retention_copies=1 if not is_applied else 7)

    def crash(**_: Any) -> None:
        raise SystemExit

    with monkeypatch.context() as broken:
        broken.setattr(deletions, "forget_backup", crash)
        with pytest.raises(SystemExit):
            delete(api, three[1])
    assert not object_of(three[1]).exists()
    assert is_claimed(three[1])
    rounds()
    assert left() == {three[0].pk, three[2].pk}
    assert object_of(three[2]).exists()
    entry = AuditEntry.objects.get(action="backup.prune")
    assert entry.object_id == str(three[1].pk) and "being removed already" in entry.detail


def test_an_open_deletion_has_its_turn_within_the_hour(
    answering: None, live_worker: Worker, three: list[Backup]
) -> None:
    later = datetime.now(UTC) + DAY
    Site.objects.update(retention_due_at=later)
    deletions.begin_deletion(backup=three[1])
    due = Site.objects.get().retention_due_at
    assert due is not None and due - datetime.now(UTC) < timedelta(hours=1)
    # Nobody goes on with it while somebody pins it.
    with pytest.raises(deletions.BackupGoingError):
        deletions.hold_backup(three[1].pk)


def test_claim_is_given_back_when_nobody_could_be_asked(
    api: APIClient, three: list[Backup]
) -> None:
    assert delete(api, three[1]).status_code == 503
    assert not is_claimed(three[1])


def test_claim_of_retention_stays_when_nobody_could_be_asked(
    api: APIClient, three: list[Backup]
) -> None:
    Backup.objects.filter(pk=three[1].pk).update(removing_since=Now())
    assert delete(api, three[1]).status_code == 503
    assert is_claimed(three[1])


def test_backup_goes_later_when_the_broker_was_away(
    api: APIClient,
    live_worker: Worker,
    closed_broker: None,
    request: pytest.FixtureRequest,
    three: list[Backup],
) -> None:
    """The broker may have taken the question before it fell silent."""
    answer = delete(api, three[1])
    assert (answer.status_code, answer.json()["code"]) == (503, "broker_unavailable")
    assert "removed as soon as its node can be asked" in answer.json()["detail"]
    assert is_claimed(three[1])
    request.getfixturevalue("answering")
    rounds()
    assert left() == {three[0].pk, three[2].pk}


def test_pinned_one_is_neither_claimed_nor_deleted(
    answering: None, api: APIClient, three: list[Backup]
) -> None:
    Backup.objects.update(pinned_at=Now())
    answer = delete(api, three[1])
    assert (answer.status_code, answer.json()["code"]) == (409, "deletion_refused")
    assert object_of(three[1]).exists() and not is_claimed(three[1])


@pytest.mark.parametrize(
    ("is_permanent", "stays_claimed"), [(True, False), (False, True)], ids=["locked", "away"]
)
def test_only_a_refusal_for_good_gives_the_backup_back(
    api: APIClient,
    super_admin: User,
    three: list[Backup],
    is_permanent: bool,
    stays_claimed: bool,
) -> None:
    deletions.begin_deletion(backup=three[1])
    context = {"backup_id": three[1].pk, "name": three[1].filename}
    task_id, url = link_to(super_admin, "delete_backup", context)
    refused(task_id, "object_locked", permanent=is_permanent)
    assert api.get(url).status_code == 422
    assert is_claimed(three[1]) is stays_claimed


def test_answer_that_comes_late_ends_it(
    api: APIClient, super_admin: User, three: list[Backup]
) -> None:
    deletions.begin_deletion(backup=three[1])
    context = {"backup_id": three[1].pk, "name": three[1].filename}
    task_id, url = link_to(super_admin, "delete_backup", context)
    answered(task_id, {"deleted": True})
    assert api.get(url).json()["remote_deleted"] is True
    assert left() == {three[0].pk, three[2].pk}


def test_earlier_claim_stays_when_something_that_is_kept_is_missing(
    answering: None, three: list[Backup]
) -> None:
    """Its object may be gone: to give it back would show a backup that is none."""
    Site.objects.update(retention_copies=2)
    deletions.begin_deletion(backup=three[1])
    object_of(three[1]).unlink()
    object_of(three[0]).unlink()
    rounds()
    assert is_claimed(three[1]) and object_of(three[2]).exists()
    assert "Nothing was removed" in Errand.objects.get(key__startswith="prune:").error
    rounds()
    assert left() == {three[0].pk, three[2].pk}


def test_bundles_on_a_host_that_is_away_do_not_keep_others(
    answering: None, site: Site, other_node: Node, make_backup: Callable[..., Backup]
) -> None:
    """A site that was moved, and whose old host is gone for good."""
    now = datetime.now(UTC)
    backups = [make_backup(site, number=n, created_at=now - n * DAY) for n in range(1, 11)]
    job = ended_job(site)
    type(job).objects.filter(pk=job.pk).update(node=other_node)
    # The newest of those that go.
    Backup.objects.filter(pk=backups[7].pk).update(job=job)
    rounds()
    assert left() == {one.pk for one in backups[:8]}
    assert object_of(backups[7]).exists()


def test_failures_of_retention_are_forgotten_once_nothing_goes(
    site: Site, make_backup: Callable[..., Backup]
) -> None:
    now = datetime.now(UTC)
    for n in range(1, 9):
        make_backup(site, number=n, created_at=now - n * DAY)
    rounds(1)
    failing = Errand.objects.get(key__startswith="prune:")
    assert (failing.failures, bool(failing.error)) == (1, True)
    Site.objects.update(retention_copies=8)
    rounds(1)
    failing.refresh_from_db()
    assert (failing.failures, failing.error, failing.not_before) == (0, "", None)


def test_nothing_is_taken_for_gone_in_a_folder_that_may_not_be_mounted(
    answering: None, api: APIClient, storage: Storage, three: list[Backup]
) -> None:
    folder = Path(storage.config["path"])
    folder.rename(folder.with_name("unmounted"))
    folder.mkdir()
    answer = delete(api, three[1])
    assert (answer.status_code, answer.json()["code"]) == (422, "storage_unrecognised")
    assert three[0].object_key in answer.json()["detail"]
    assert not is_claimed(three[1]) and left() == {one.pk for one in three}
    assert api.delete(f"/api/v1/backups/{three[1].pk}").status_code == 200, "it may be forgotten"


def test_one_whose_object_is_gone_goes_where_others_are_there(
    answering: None, api: APIClient, three: list[Backup]
) -> None:
    object_of(three[1]).unlink()
    answer = delete(api, three[1])
    assert (answer.status_code, answer.json()["remote_deleted"]) == (200, False)
    assert left() == {three[0].pk, three[2].pk}


def test_lost_answer_about_the_last_bundle_of_a_storage_is_told(
    answering: None, three: list[Backup], tmp_path: Path
) -> None:
    """Nothing else shows that the folder is the right one: a person has to look."""
    (tmp_path / "elsewhere").mkdir()
    config = {"path": str(tmp_path / "elsewhere")}
    other = Storage.objects.create(name="other", type="local", config=config)
    Backup.objects.filter(pk=three[1].pk).update(storage=other)
    deletions.begin_deletion(backup=three[1])
    Errand.objects.update(asked_at=F("asked_at") - errands.LOST_AFTER - DAY)
    rounds()
    row = Backup.objects.get(pk=three[1].pk)
    assert (row.removing_since, row.check_problem) == (None, "The object is not there.")
