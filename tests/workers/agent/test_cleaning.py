"""What is removed after jobs, with evidence, and what is left alone because it is somebody's."""

from __future__ import annotations

import errno
import os
import subprocess
import time
import uuid
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

from backups.actions import control, jobs, leftovers
from backups.models import Job, Node, Storage
from tests.contracts.store_sources import BytesSource, InterruptingReporter, PutCall, pattern
from tests.servers import wait_until
from tests.servers.moto import S3Server
from tests.workers.factories import dispatched_job, make_site
from workers.agent import folders, presence, tidying
from workers.agent import janitor as janitor_module
from workers.agent.janitor import Janitor, remove_from_host
from workers.agent.post import Post
from workers.engine.errors import EngineError, Fenced
from workers.engine.process import ATTEMPT_MARK, JOB_MARK
from workers.engine.stores import open_store

pytestmark = pytest.mark.django_db(transaction=True)

TOKEN = "0" * 32
PART = 5 << 20


@pytest.fixture
def spool(tmp_path: Path, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Path:
    settings.HOLDFAST_SPOOL_DIRECTORY = tmp_path / "spool"
    settings.HOLDFAST_SPOOL_DIRECTORY.mkdir()
    monkeypatch.setattr("backups.dispatch.in_background", lambda work: None)
    return tmp_path / "spool"


@pytest.fixture
def job(tmp_path: Path, spool: Path) -> Job:
    """A job in its first stage, as an attempt that was claimed by nobody in particular."""
    job = dispatched_job(make_site(tmp_path))
    fields = {"token": uuid.UUID(TOKEN), "state": "running", "started_at": timezone.now()}
    Job.objects.filter(pk=job.pk).update(**fields)
    return Job.objects.get(pk=job.pk)


@pytest.fixture
def post(job: Job, spool: Path) -> Post:
    node = Node.objects.get()
    (spool / presence.FOLDER).mkdir()
    return Post(node.pk, node.uuid, "web-01.1@host", "here", spool, os.getpid())


@pytest.fixture
def janitor(post: Post) -> Iterator[Janitor]:
    janitor = Janitor(post)
    janitor.start()
    yield janitor
    janitor.stop(timeout=30)


@pytest.fixture
def sleepers() -> Iterator[list[subprocess.Popen[bytes]]]:
    started: list[subprocess.Popen[bytes]] = []
    yield started
    for process in started:
        process.kill()
        process.wait()


def sleeper(job_id: object, attempt: str) -> subprocess.Popen[bytes]:
    """A program that outlived the attempt that started it."""
    environment = {**os.environ, JOB_MARK: str(job_id), ATTEMPT_MARK: attempt}
    return subprocess.Popen(["sleep", "1000"], env=environment, start_new_session=True)


def work_of(spool: Path, name: str, size: int = 1000) -> Path:
    folder = spool / name / f"backup_db-1-{TOKEN}"
    folder.mkdir(parents=True)
    (folder / "segment").write_bytes(b"x" * size)
    return spool / name


def age(folder: Path) -> None:
    long_ago = time.time() - 3600
    os.utime(folder, (long_ago, long_ago))


def test_reset_job_loses_its_processes_and_its_folder_with_evidence(
    job: Job,
    post: Post,
    spool: Path,
    janitor: Janitor,
    sleepers: list[subprocess.Popen[bytes]],
) -> None:
    work_of(spool, job.folder_name, size=1000)
    sleepers += [sleeper(job.pk, f"1-{TOKEN}"), sleeper(uuid.uuid4(), "1-x")]
    control.reset_backup(site=job.site, requested_by=None)

    janitor.clean(leftovers.leftovers_of(post.node_id))

    wait_until(lambda: not Job.objects.get(pk=job.pk).cleanup_pending, message="it is recorded")
    assert Job.objects.get(pk=job.pk).cleanup_report == {
        "folders_removed": 1,
        "bytes_freed": 1000,
        "processes_killed": 1,
        "uploads_aborted": 0,
        "objects_deleted": 0,
    }
    assert not (spool / job.folder_name).exists()
    sleepers[0].wait(timeout=10)
    assert sleepers[1].poll() is None


def begin_upload(storage: Storage, key: str) -> dict[str, Any]:
    """Leave an upload unfinished, and return its checkpoint."""
    call = PutCall(
        open_store(storage.type, storage.full_config()),
        key,
        reporter=InterruptingReporter(Fenced, after=PART + 1),
    )
    with pytest.raises(Fenced):
        call(BytesSource(pattern(2 * PART + 1)))
    return dict(call.checkpoints[-1])


@pytest.fixture
def s3_storage(job: Job, moto_s3: S3Server) -> Storage:
    """The job's storage, in a corner of the bucket that is this test's alone."""
    config = moto_s3.config(prefix=uuid.uuid4().hex)
    secret = config.pop("secret_access_key")
    storage = Storage(name="s3", type="s3", config=config)
    storage.secrets = {"secret_access_key": secret}
    storage.save()
    Job.objects.filter(pk=job.pk).update(storage=storage)
    return storage


def seal(job: Job, key: str) -> None:
    job.stages.filter(name="create_bundle").update(state="completed", outputs={"key": key})


def test_reset_job_loses_its_upload_while_a_storage_that_hangs_keeps_nobody_waiting(
    job: Job,
    post: Post,
    spool: Path,
    janitor: Janitor,
    s3_storage: Storage,
    moto_s3: S3Server,
    fault_proxy: Any,
) -> None:
    key = f"{post.node_uuid}/site/a.tar.zst"
    seal(job, key)
    upload = begin_upload(s3_storage, key)
    job.stages.filter(name="upload_remote").update(checkpoint={"key": key, "upload": upload})
    work_of(spool, job.folder_name)
    proxy = fault_proxy(moto_s3.port)
    from tests.servers.faults import hang

    proxy.fail(lambda seen: True, hang, times=1)
    s3_storage.config["endpoint_url"] = f"http://127.0.0.1:{proxy.port}"
    s3_storage.save()
    control.reset_backup(site=job.site, requested_by=None)

    janitor.clean(leftovers.leftovers_of(post.node_id))

    wait_until(lambda: Job.objects.get(pk=job.pk).cleanup_report, 3, "the host's part is told")
    assert Job.objects.get(pk=job.pk).cleanup_report["folders_removed"] == 1
    wait_until(
        lambda: not Job.objects.get(pk=job.pk).cleanup_pending, message="the storage's part too"
    )
    assert Job.objects.get(pk=job.pk).cleanup_report["uploads_aborted"] == 1
    assert moto_s3.uploads(s3_storage.config["prefix"]) == []


def test_object_that_arrives_after_all_is_removed_too(
    job: Job,
    post: Post,
    tmp_path: Path,
    janitor: Janitor,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(janitor_module, "_LATE_ARRIVAL_SECONDS", (0.2, 0.5))
    key = f"{post.node_uuid}/site/a.tar.zst"
    seal(job, key)
    control.reset_backup(site=job.site, requested_by=None)
    janitor.clean(leftovers.leftovers_of(post.node_id))
    wait_until(lambda: not Job.objects.get(pk=job.pk).cleanup_pending, message="all seems clean")

    PutCall(open_store("local", job.storage.config), key)(BytesSource(b"late"))

    def is_removed() -> bool:
        janitor.clean([])
        return Job.objects.get(pk=job.pk).cleanup_report["objects_deleted"] == 1

    wait_until(is_removed, message="it is removed")
    assert [path for path in (tmp_path / "store").rglob("*") if path.is_file()] == []


def test_folder_that_is_given_up_later_does_not_wait_for_the_storages_next_turn(
    job: Job, post: Post, spool: Path, janitor: Janitor
) -> None:
    """A failed job's work is kept for a retry, until the site's next backup needs the room."""
    seal(job, f"{post.node_uuid}/site/a.tar.zst")
    work_of(spool, job.folder_name)
    ended = {"state": "failed", "cleanup_pending": True}
    later = timezone.now() + timedelta(hours=1)
    Job.objects.filter(pk=job.pk).update(**ended, work_kept_until=later)
    janitor.clean(leftovers.leftovers_of(post.node_id))
    wait_until(lambda: not Job.objects.get(pk=job.pk).cleanup_pending, message="storage is clean")
    assert (spool / job.folder_name).exists()

    jobs.give_up_kept_work(job.site)

    def is_removed() -> bool:
        janitor.clean(leftovers.leftovers_of(post.node_id))
        return not Job.objects.get(pk=job.pk).cleanup_pending

    wait_until(is_removed, 10, message="it is removed")
    assert not (spool / job.folder_name).exists()


def test_folder_stays_removed_while_an_attempt_that_was_given_up_still_writes(
    spool: Path,
) -> None:
    folder = work_of(spool, str(uuid.uuid4()))
    with (folder / f"backup_db-1-{TOKEN}" / "segment").open("ab") as still_open:
        assert folders.remove_for_good(folder) == 1000
        still_open.write(b"late")
    assert list(spool.glob("*")) == []


def test_folder_that_cannot_be_removed_keeps_no_other_from_its_turn(
    job: Job, post: Post, spool: Path, janitor: Janitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one that something is mounted on."""
    busy = str(uuid.uuid4())
    remove = janitor_module.remove_for_good

    def refuse_the_busy_one(folder: Path) -> int:
        if folder.name == busy:
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))
        return remove(folder)

    monkeypatch.setattr(janitor_module, "remove_for_good", refuse_the_busy_one)
    work_of(spool, job.folder_name)
    control.reset_backup(site=job.site, requested_by=None)
    found = leftovers.leftovers_of(post.node_id)

    janitor.clean([replace(found[0], job_id=uuid.uuid4(), folder_name=busy), *found])

    wait_until(lambda: not Job.objects.get(pk=job.pk).cleanup_pending, 10, "the other is cleaned")


def test_what_fails_in_each_round_is_logged_once(
    job: Job,
    post: Post,
    spool: Path,
    janitor: Janitor,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """As while the database server is away that a trial restore was loaded into."""
    rounds = []

    def refuse(folder: Path) -> int:
        rounds.append(folder)
        raise EngineError("The server is away", hint="Start it.")

    monkeypatch.setattr(janitor_module, "remove_for_good", refuse)
    work_of(spool, job.folder_name)
    control.reset_backup(site=job.site, requested_by=None)
    found = leftovers.leftovers_of(post.node_id)
    for number in range(1, 4):
        janitor.clean(found)
        wait_until(lambda: len(rounds) == number, 10, "it is tried")  # noqa: B023
    janitor.stop(timeout=10)
    said = [record.getMessage() for record in caplog.records if "tried again" in record.msg]
    assert said == ["cleaning up is tried again and again: The server is away. Start it."]


def test_nothing_to_remove_is_no_error(job: Job, post: Post, spool: Path) -> None:
    leftover = leftovers.leftover_of(job.pk)
    assert remove_from_host(leftover, spool) == (leftovers.CleanupReport(), True)


def test_only_old_folders_of_jobs_that_nobody_wants_are_removed(
    job: Job, post: Post, spool: Path
) -> None:
    wanted = work_of(spool, job.folder_name)
    orphan = work_of(spool, str(uuid.uuid4()))
    foreign = spool / str(uuid.uuid4())
    (foreign / "photos").mkdir(parents=True)
    other_name = spool / "lost+found"
    other_name.mkdir()
    link = spool / str(uuid.uuid4())
    link.symlink_to(foreign)
    for folder in (wanted, orphan, foreign, other_name):
        age(folder)
    recent = work_of(spool, str(uuid.uuid4()))
    aside = work_of(spool, f"{folders.REMOVED_PREFIX}abc")

    assert tidying.remove_orphaned_folders(post) == 1

    assert not orphan.exists()
    assert not aside.exists()
    for folder in (wanted, foreign, other_name, link, recent):
        assert folder.exists(), folder


def test_only_processes_of_attempts_that_own_nothing_are_killed(
    job: Job, post: Post, monkeypatch: pytest.MonkeyPatch, sleepers: list[subprocess.Popen[bytes]]
) -> None:
    monkeypatch.setattr(tidying, "GRACE_SECONDS", 0.0)
    owner = sleeper(job.pk, f"1-{TOKEN}")
    superseded = sleeper(job.pk, "0-" + "f" * 32)
    unknown = sleeper(uuid.uuid4(), "1-x")
    nonsense = sleeper("not a job", "1-x")
    sleepers += [owner, superseded, unknown, nonsense]

    assert tidying.kill_orphans(post) == 1

    superseded.wait(timeout=10)
    assert [one.poll() for one in (owner, unknown, nonsense)] == [None] * 3


def test_only_uploads_that_no_active_job_may_go_on_with_are_aborted(
    job: Job, post: Post, s3_storage: Storage, moto_s3: S3Server
) -> None:
    ours, orphan = f"{post.node_uuid}/site/ours", f"{post.node_uuid}/site/orphan"
    foreign = f"{uuid.uuid4()}/site/foreign"
    seal(job, ours)
    for key in (ours, orphan, foreign):
        begin_upload(s3_storage, key)

    assert tidying.abort_orphaned_uploads(post) == 1

    prefix = s3_storage.config["prefix"]
    assert sorted(moto_s3.uploads(prefix)) == sorted(f"{prefix}/{key}" for key in (ours, foreign))


def test_only_one_worker_of_a_host_cleans_up(spool: Path, post: Post) -> None:
    lock = presence.janitor_lock(spool)
    assert lock is not None
    assert presence.janitor_lock(spool) is None
    lock.close()
    assert presence.janitor_lock(spool) is not None


def test_worker_that_does_not_clean_up_still_ends_processes_that_others_may_not_see(
    job: Job,
    post: Post,
    spool: Path,
    janitor: Janitor,
    sleepers: list[subprocess.Popen[bytes]],
) -> None:
    held_by_a_sibling = presence.janitor_lock(spool)
    work_of(spool, job.folder_name)
    sleepers.append(sleeper(job.pk, f"1-{TOKEN}"))
    control.reset_backup(site=job.site, requested_by=None)

    def is_killed() -> bool:
        janitor.clean(leftovers.leftovers_of(post.node_id))
        return sleepers[0].poll() is not None

    wait_until(is_killed, message="the process is killed")
    assert (spool / job.folder_name).exists()
    assert Job.objects.get(pk=job.pk).cleanup_pending
    assert held_by_a_sibling is not None
    held_by_a_sibling.close()
