"""`manage.py bundle`: a person looks into a bundle, as a file and as a backup in its storage."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from backups.models import Backup
from backups.registry import PIPELINES
from backups.states import JobKind
from tests.workers.factories import dispatched_job, make_site
from tests.workers.stages.pipeline import sqlite_pipeline
from workers.runner import run_stage


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pipeline = sqlite_pipeline(tmp_path_factory.mktemp("bundle"))
    for stage in ("backup_db", "backup_files", "create_bundle", "upload_remote"):
        pipeline.run(stage)
    return pipeline.store_directory / pipeline.outputs["upload_remote"]["key"]


@pytest.fixture
def backup(tmp_path: Path, settings: pytest.FixtureRequest, transactional_db: None) -> Backup:
    settings.HOLDFAST_SPOOL_DIRECTORY = tmp_path / "spool"
    job = dispatched_job(make_site(tmp_path))
    for stage in PIPELINES[JobKind.BACKUP]:
        assert run_stage(stage, job_id=str(job.pk), epoch=1, worker="worker@host")
    return Backup.objects.get(job=job)


def output_of(*arguments: str) -> str:
    out = io.StringIO()
    call_command("bundle", *arguments, stdout=out, stderr=io.StringIO())
    return out.getvalue()


def test_members_are_listed_as_tar_lists_them(bundle: Path) -> None:
    listing = output_of("list", str(bundle))
    assert "wp-content/uploads/photo.jpg" in listing
    assert listing.startswith("-rw-------")
    assert "database.sql" in listing


def test_only_members_below_a_prefix_are_listed_when_one_is_given(bundle: Path) -> None:
    names = [line.split()[-1] for line in output_of("list", str(bundle), "wp-content").splitlines()]
    assert names
    assert all(name.startswith("wp-content") for name in names)


def test_content_is_printed_as_it_was(
    bundle: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    output_of("cat", str(bundle), "wp-content/uploads/photo.jpg")
    assert capfdbinary.readouterr().out == bytes(range(256)) * 400


def test_members_are_extracted_below_the_folder(bundle: Path, tmp_path: Path) -> None:
    output_of("extract", str(bundle), "wp-content/uploads", "--to", str(tmp_path / "out"))
    written = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert [path.name for path in written] == ["photo.jpg"]


def test_good_bundle_is_verified(bundle: Path) -> None:
    assert output_of("verify", str(bundle)).startswith("Good: ")


def test_damage_is_found_when_one_byte_differs(bundle: Path, tmp_path: Path) -> None:
    damaged = bytearray(bundle.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    (tmp_path / "damaged.tar.zst").write_bytes(damaged)
    with pytest.raises(CommandError):
        output_of("verify", str(tmp_path / "damaged.tar.zst"))


def test_backup_is_read_from_its_storage_when_its_id_is_given(backup: Backup) -> None:
    assert "wp-content/index.php" in output_of("list", str(backup.pk))


@pytest.mark.django_db
@pytest.mark.parametrize("wanted", ["no-such-file", "4711"])
def test_error_says_what_is_missing_when_there_is_no_such_bundle(wanted: str) -> None:
    with pytest.raises(CommandError, match=wanted):
        output_of("list", wanted)


def test_error_names_the_member_when_it_is_not_there(bundle: Path) -> None:
    with pytest.raises(CommandError, match=r"nowhere\.txt"):
        output_of("cat", str(bundle), "nowhere.txt")
