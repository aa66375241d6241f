"""Backups to recipients through rows and stages, in a folder and in S3, and read again."""

from __future__ import annotations

import io
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.utils import timezone

from backups.actions import control, proofs, restores
from backups.actions.restores import RestoreRequest
from backups.models import Backup, Job, Storage
from backups.registry import PIPELINES
from backups.states import JobKind
from tests.servers.age import KeyPair, make_key
from tests.servers.moto import S3Server
from tests.workers.factories import dispatched_job, make_site
from workers.answers import work_state
from workers.engine.stores import open_store
from workers.runner import run_stage

pytestmark = pytest.mark.django_db(transaction=True)

BACKUP = PIPELINES[JobKind.BACKUP]
MEDIA_BYTES = 9 << 20


@pytest.fixture
def key(tmp_path: Path) -> KeyPair:
    return make_key(tmp_path / "key.txt")


@pytest.fixture(params=["local", "s3"])
def storage_of(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
    if request.param == "local":
        return {"type": "local", "config": {"path": str(tmp_path / "store")}}
    server: S3Server = request.getfixturevalue("moto_s3")
    return {"type": "s3", "config": server.config()}


def make_job(tmp_path: Path, settings: Any, key: KeyPair, storage: dict[str, Any]) -> Job:
    settings.HOLDFAST_SPOOL_DIRECTORY = tmp_path / "spool"
    site = make_site(tmp_path)
    uploads = Path(site.wp_path) / "wp-content" / "uploads"
    uploads.mkdir()
    (uploads / "film.mp4").write_bytes(os.urandom(MEDIA_BYTES))
    Storage.objects.update(encryption_recipients=[key.recipient], **storage)
    return dispatched_job(site)


def run(job: Job, *stages: str, epoch: int = 1) -> None:
    for stage in stages:
        assert run_stage(stage, job_id=str(job.pk), epoch=epoch, worker="worker@host"), stage


@pytest.fixture
def backup(tmp_path: Path, settings: Any, key: KeyPair, storage_of: dict[str, Any]) -> Backup:
    job = make_job(tmp_path, settings, key, storage_of)
    run(job, *BACKUP)
    return Backup.objects.select_related("storage", "site").get(job=job)


def output_of(*arguments: str) -> tuple[str, str]:
    out, notes = io.StringIO(), io.StringIO()
    call_command("bundle", *arguments, stdout=out, stderr=notes)
    return out.getvalue(), notes.getvalue()


def test_the_backup_says_to_whom_and_age_opens_what_is_stored(
    backup: Backup, key: KeyPair, age_program: str, tmp_path: Path
) -> None:
    assert backup.encrypted_to == [key.recipient]
    assert backup.filename.endswith(".tar.zst.age")
    store = open_store(backup.storage.type, backup.storage.full_config())
    source = store.open(backup.object_key)
    (tmp_path / "fetched.age").write_bytes(source.read_at(0, source.size))
    assert source.size == backup.size_bytes
    target = tmp_path / "restored"
    target.mkdir()
    command = 'set -e; "$0" -d -i "$1" "$2" | tar --zstd -xpf - -C "$3"'
    argv = ["sh", "-c", command, age_program, str(key.file), str(tmp_path / "fetched.age")]
    subprocess.run([*argv, str(target)], check=True)
    film = "wp-content/uploads/film.mp4"
    assert (target / film).read_bytes() == (Path(backup.site.wp_path) / film).read_bytes()


def test_one_file_is_fetched_without_the_rest(backup: Backup, key: KeyPair, tmp_path: Path) -> None:
    identity = ("--identity", str(key.file))
    _, said = output_of(
        "extract", str(backup.pk), "wp-content/index.php", "--to", str(tmp_path / "out"), *identity
    )
    assert (tmp_path / "out/wp-content/index.php").read_text().startswith("<?php")
    fetched, of, total = said.splitlines()[-1].split()[:3]
    assert (of, int(total)) == ("of", backup.size_bytes)
    assert int(fetched) < 1 << 20 < backup.size_bytes
    listing, _ = output_of("list", str(backup.pk), *identity)
    assert "wp-content/uploads/film.mp4" in listing
    report, _ = output_of("verify", str(backup.pk), *identity)
    assert f"Decrypted from {backup.size_bytes} bytes" in report
    assert backup.facts["plain_sha256"] in report


def test_the_identity_comes_from_the_settings_where_none_is_named(
    backup: Backup, key: KeyPair, settings: Any
) -> None:
    settings.HOLDFAST_AGE_IDENTITY_FILE = key.file
    assert output_of("verify", str(backup.pk))[0].startswith("Good: ")


def test_it_is_said_what_is_missing_when_it_cannot_be_opened(
    backup: Backup, key: KeyPair, tmp_path: Path
) -> None:
    with pytest.raises(CommandError, match="no secret key is at hand"):
        output_of("list", str(backup.pk))
    other = make_key(tmp_path / "other.txt")
    with pytest.raises(CommandError, match="cannot open it"):
        output_of("list", str(backup.pk), "--identity", str(other.file))
    key.file.chmod(0o644)
    with pytest.raises(CommandError, match="by others than its owner"):
        output_of("list", str(backup.pk), "--identity", str(key.file))


@pytest.fixture
def sealed(tmp_path: Path, settings: Any, key: KeyPair) -> Job:
    job = make_job(tmp_path, settings, key, {})
    run(job, *BACKUP[:3])
    return job


def run_all(job: Job) -> Job:
    Job.objects.filter(pk=job.pk).update(state="dispatched")
    for stage in PIPELINES[JobKind(job.kind)]:
        if not run_stage(stage, job_id=str(job.pk), epoch=job.epoch, worker="worker@host"):
            break
    return Job.objects.get(pk=job.pk)


def test_it_is_proven_where_the_key_is_and_not_disproved_where_it_is_not(
    backup: Backup, key: KeyPair, settings: Any
) -> None:
    failed = run_all(proofs.start_proof(backup=backup))
    assert failed.error_code == "age_no_identity"
    backup.refresh_from_db()
    assert not backup.is_suspect
    settings.HOLDFAST_AGE_IDENTITY_FILE = key.file
    proven = run_all(proofs.start_proof(backup=backup))
    assert (proven.state, proven.error_message) == ("completed", "")
    backup.refresh_from_db()
    assert backup.verified_by == "restore"


def test_a_lost_file_is_put_back_from_an_encrypted_backup(
    backup: Backup, key: KeyPair, settings: Any
) -> None:
    settings.HOLDFAST_AGE_IDENTITY_FILE = key.file
    lost = Path(backup.site.wp_path) / "wp-content" / "index.php"
    before = lost.read_text()
    lost.unlink()
    asked = RestoreRequest(what="files", paths=("wp-content/index.php",), checkpoint=False)
    job = restores.start_restore(site=backup.site, backup=backup, request=asked, requested_by=None)
    done = run_all(job)
    assert (done.state, done.error_message) == ("completed", "")
    assert lost.read_text() == before


def spool_of(job: Job, settings: Any) -> Path:
    return Path(settings.HOLDFAST_SPOOL_DIRECTORY) / job.folder_name


def fail_while_storing(job: Job, folder: Path) -> None:
    """Let the upload fail for good: a file stands where the storage's folder should be."""
    (folder / "store").rename(folder / "store-away")
    (folder / "store").write_text("no folder")
    assert not run_stage("upload_remote", job_id=str(job.pk), epoch=1, worker="worker@host")
    Job.objects.filter(pk=job.pk).update(state="failed", active_site=None)
    (folder / "store").unlink()
    (folder / "store-away").rename(folder / "store")


def test_a_retry_stores_what_was_encrypted_though_its_plain_parts_are_gone(
    sealed: Job, settings: Any, tmp_path: Path
) -> None:
    fail_while_storing(sealed, tmp_path)
    files = [path for path in spool_of(sealed, settings).rglob("*") if path.is_file()]
    assert [path.parent.name for path in files] == ["encrypted"]
    intact = work_state(str(sealed.pk))["intact"]
    assert intact == list(BACKUP[:3])
    later = timezone.now() + timezone.timedelta(hours=1)
    Job.objects.filter(pk=sealed.pk).update(work_kept_until=later)
    retry = control.retry_job(
        job=Job.objects.get(pk=sealed.pk), requested_by=None, intact_stages=intact
    )
    Job.objects.filter(pk=retry.pk).update(state="dispatched")
    run(retry, *BACKUP[3:], epoch=retry.epoch)
    stored = Backup.objects.get(job=retry)
    assert stored.filename.endswith(".tar.zst.age")
    assert stored.encrypted_to == stored.facts["encrypted_to"] != []


def test_nothing_is_intact_when_the_encrypted_file_was_harmed(
    sealed: Job, settings: Any, tmp_path: Path
) -> None:
    folder = spool_of(sealed, settings)
    (encrypted,) = folder.glob("create_bundle-*/encrypted/segment")
    with encrypted.open("r+b") as file:
        file.truncate(100)
    assert work_state(str(sealed.pk)) == {"intact": list(BACKUP[:2])}
    fail_while_storing(sealed, tmp_path)
    assert work_state(str(sealed.pk)) == {"intact": ["backup_db"]}


def test_a_plain_bundle_in_its_place_is_not_taken_for_it(
    sealed: Job, key: KeyPair, tmp_path: Path
) -> None:
    """Anybody who can write to the storage can put something there; the catalogue knows better."""
    run(sealed, *BACKUP[3:])
    backup = Backup.objects.get(job=sealed)
    (tmp_path / "store" / backup.object_key).write_bytes(b"\x28\xb5\x2f\xfd" + bytes(10_000))
    with pytest.raises(CommandError, match="does not begin as an encrypted file"):
        output_of("list", str(backup.pk), "--identity", str(key.file))
