"""Whether a backup may begin, by the room that the node's spool has for it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.db.models.functions import Now

from backups.actions import jobs
from backups.actions.room import expected_bytes, require_room
from backups.errors import BackupAlreadyRunningError, NoRoomError
from backups.models import Backup, Job, Node, Site, Storage, Worker
from tests.workers.factories import dispatched_job

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("settled_dispatch")]

MEBIBYTE = 1 << 20


@pytest.fixture(autouse=True)
def reserve(settings: pytest.FixtureRequest) -> None:
    settings.HOLDFAST_SPOOL_RESERVE_MB = 100


@pytest.fixture
def full_backup(site: Site, make_backup: Callable[..., Backup]) -> Backup:
    """A good backup of the site, for which another one is expected to need 1,150 MB."""
    backup = make_backup(site)
    Backup.objects.filter(pk=backup.pk).update(size_bytes=1000 * MEBIBYTE)
    return backup


def with_free(node: Node, megabytes: int) -> Node:
    Node.objects.filter(pk=node.pk).update(disk_free_bytes=megabytes * MEBIBYTE)
    return Node.objects.get(pk=node.pk)


def test_room_is_refused_with_the_numbers_when_the_last_bundle_would_not_fit(
    site: Site, node: Node, full_backup: Backup, live_worker: Worker
) -> None:
    with pytest.raises(NoRoomError) as caught:
        require_room(site, with_free(node, 1249))
    for said in ("web-01", "example.com", "1,150.0 MB", "1,249.0 MB", "100.0 MB are kept free"):
        assert said in caught.value.message
    assert (caught.value.code, caught.value.status) == ("not_enough_space", 409)
    assert require_room(site, with_free(node, 1250)) == 1150 * MEBIBYTE


def test_an_encrypted_bundle_needs_room_beside_the_plain_one(
    site: Site, storage: Storage, full_backup: Backup
) -> None:
    Storage.objects.update(encryption_recipients=["age1…"])
    assert expected_bytes(Site.objects.get(pk=site.pk)) == 2 * 1150 * MEBIBYTE
    Site.objects.update(storage=None)
    Storage.objects.update(is_default=True)
    assert expected_bytes(Site.objects.get(pk=site.pk)) == 2 * 1150 * MEBIBYTE


def test_largest_of_the_last_three_good_bundles_counts(
    site: Site, make_backup: Callable[..., Backup]
) -> None:
    sizes = [900, 500, 700, 600]
    for number, size in enumerate(sizes):
        backup = make_backup(site, number=number)
        Backup.objects.filter(pk=backup.pk).update(size_bytes=size * 100)
    suspect = make_backup(site, number=9, is_suspect=True)
    Backup.objects.filter(pk=suspect.pk).update(size_bytes=10_000_000)
    assert expected_bytes(site) == 700 * 115


def test_nothing_is_refused_when_nobody_knows(
    site: Site, node: Node, full_backup: Backup, live_worker: Worker
) -> None:
    assert require_room(site, node) == 1150 * MEBIBYTE, "the node never told its room"
    Backup.objects.all().delete()
    assert require_room(site, with_free(node, 0)) == 0, "the site has no backup to go by"


def test_nothing_is_refused_when_what_the_node_told_is_old(
    site: Site, node: Node, full_backup: Backup
) -> None:
    """With its workers away, the disk may have been emptied since."""
    assert require_room(site, with_free(node, 0)) == 1150 * MEBIBYTE


def test_room_that_others_will_need_is_theirs(
    site: Site, node: Node, full_backup: Backup, live_worker: Worker
) -> None:
    other = Site.objects.create(name="neighbour.org", node=node, wp_path="/srv/neighbour.org")
    job = dispatched_job(other)
    Job.objects.filter(pk=job.pk).update(expected_bytes=400 * MEBIBYTE)
    with pytest.raises(NoRoomError, match=r"other backups will need 400\.0 MB"):
        require_room(site, with_free(node, 1649))
    assert require_room(site, with_free(node, 1650))


def test_what_others_have_written_is_not_counted_twice(
    site: Site, node: Node, full_backup: Backup, live_worker: Worker
) -> None:
    other = Site.objects.create(name="neighbour.org", node=node, wp_path="/srv/neighbour.org")
    job = dispatched_job(other)
    Job.objects.filter(pk=job.pk).update(expected_bytes=400 * MEBIBYTE, stages_done=1)
    reading = job.stages.filter(name="backup_files")
    reading.update(state="running", bytes_total=100, bytes_processed=75)
    assert require_room(site, with_free(node, 1350))
    with pytest.raises(NoRoomError, match=r"will need 100\.0 MB"):
        require_room(site, with_free(node, 1349))
    Job.objects.filter(pk=job.pk).update(stages_done=2)
    assert require_room(site, with_free(node, 1250))


def test_start_records_nothing_when_there_is_no_room(
    site: Site, node: Node, full_backup: Backup, live_worker: Worker
) -> None:
    with_free(node, 0)
    site.refresh_from_db()
    with pytest.raises(NoRoomError):
        jobs.start_backup(site=Site.objects.get(pk=site.pk))
    assert not Job.objects.exists()


def test_start_keeps_what_the_job_is_expected_to_need(
    site: Site, node: Node, full_backup: Backup, live_worker: Worker
) -> None:
    Node.objects.filter(pk=node.pk).update(disk_free_bytes=1 << 40, last_seen_at=Now())
    job = jobs.start_backup(site=Site.objects.get(pk=site.pk))
    assert job.expected_bytes == 1150 * MEBIBYTE


def test_second_start_hears_of_the_first_and_not_of_the_room(
    site: Site, node: Node, full_backup: Backup, live_worker: Worker
) -> None:
    with_free(node, 1300)
    jobs.start_backup(site=Site.objects.get(pk=site.pk))
    with pytest.raises(BackupAlreadyRunningError):
        jobs.start_backup(site=Site.objects.get(pk=site.pk))
