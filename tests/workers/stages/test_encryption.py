"""A backup for a storage with recipients: what leaves the node, and what is left when it fails."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.servers.age import KeyPair, decrypt, make_key
from tests.servers.small_disk import MEBIBYTE, SmallDisk
from tests.workers.stages.pipeline import Pipeline, sqlite_pipeline
from workers.engine.errors import EngineError, Fenced, InterruptedWork, StopRequested
from workers.engine.progress import SilentReporter
from workers.stages.context import WorkMissing

MADE = ("backup_db", "backup_files", "create_bundle")


class WatchingReporter(SilentReporter):
    """Does something once the bundle is being encrypted."""

    def __init__(self, on_encrypting: Callable[[], None]) -> None:
        super().__init__()
        self.on_encrypting = on_encrypting
        self.totals: list[int] = []

    def detail(self, text: str) -> None:
        super().detail(text)
        if text == "Encrypting":
            self.on_encrypting()

    def total(self, bytes_total: int) -> None:
        super().total(bytes_total)
        self.totals.append(bytes_total)


class InTheMiddle(SilentReporter):
    """Does something more than a megabyte into the encryption of a bundle of more than five."""

    def __init__(self, deed: Callable[[], None]) -> None:
        super().__init__()
        self.deed = deed

    def check(self) -> None:
        if "Encrypting" in self.details and self.bytes_done > 7 << 20:
            self.deed()


@pytest.fixture
def keys(tmp_path: Path) -> list[KeyPair]:
    return [make_key(tmp_path / "first.txt"), make_key(tmp_path / "second.txt")]


@pytest.fixture
def pipeline(tmp_path: Path, keys: list[KeyPair]) -> Pipeline:
    made = sqlite_pipeline(tmp_path)
    made.recipients = tuple(key.recipient for key in keys)
    return made


def add_file(pipeline: Pipeline, size: int) -> None:
    (pipeline.site.path / "wp-content/uploads/film.mp4").write_bytes(os.urandom(size))


def run(pipeline: Pipeline, *stages: str) -> None:
    for stage in stages or (*MADE, "upload_remote"):
        pipeline.run(stage)


def stored(pipeline: Pipeline) -> Path:
    return pipeline.store_directory / pipeline.outputs["upload_remote"]["key"]


def spool_files(pipeline: Pipeline) -> list[Path]:
    return [path for path in pipeline.job_directory.rglob("*") if path.is_file()]


def test_age_and_tar_restore_it_with_each_key(
    pipeline: Pipeline, keys: list[KeyPair], age_program: str, tmp_path: Path
) -> None:
    run(pipeline)
    assert stored(pipeline).name.endswith(".tar.zst.age")
    for key in keys:
        target = tmp_path / f"restored-by-{key.file.stem}"
        target.mkdir()
        command = 'set -e; "$0" -d -i "$1" "$2" | tar --zstd -xpf - -C "$3"'
        argv = ["sh", "-c", command, age_program, str(key.file), str(stored(pipeline)), str(target)]
        subprocess.run(argv, check=True)
        photo = "wp-content/uploads/photo.jpg"
        assert (target / photo).read_bytes() == (pipeline.site.path / photo).read_bytes()
        assert "Grüße" in (target / "database.sql").read_text()


def test_what_is_recorded_is_what_is_stored_and_what_it_decrypts_to(
    pipeline: Pipeline, keys: list[KeyPair], age_program: str, tmp_path: Path
) -> None:
    run(pipeline)
    sealed, content = pipeline.outputs["create_bundle"], stored(pipeline).read_bytes()
    assert sealed["size"] == len(content) == pipeline.outputs["upload_remote"]["size"]
    assert sealed["sha256"] == hashlib.sha256(content).hexdigest()
    plain = decrypt(age_program, keys[0], stored(pipeline), tmp_path / "plain").read_bytes()
    assert sealed["plain_size"] == sealed["facts"]["plain_size"] == len(plain)
    assert sealed["facts"]["plain_sha256"] == hashlib.sha256(plain).hexdigest()
    assert sealed["encrypted_to"] == sealed["facts"]["encrypted_to"] == list(pipeline.recipients)


def test_a_plain_storage_gets_what_it_always_got(pipeline: Pipeline) -> None:
    pipeline.recipients = ()
    run(pipeline)
    assert stored(pipeline).name.endswith(".tar.zst")
    assert stored(pipeline).read_bytes()[:4] == b"\x28\xb5\x2f\xfd"
    assert "encrypted_to" not in pipeline.outputs["create_bundle"]


def test_the_next_backup_is_held_against_its_numbers_only(pipeline: Pipeline) -> None:
    run(pipeline, *MADE)
    pipeline.previous_facts = {**pipeline.outputs["create_bundle"]["facts"], "files": 900}
    result = pipeline.run("create_bundle")
    assert result.warnings == ("Suspect: files fell from 900 to 3 since the last good backup",)


def test_progress_counts_the_three_passes(pipeline: Pipeline) -> None:
    run(pipeline, "backup_db", "backup_files")
    at_encrypting: list[int] = []
    reporter = WatchingReporter(lambda: at_encrypting.append(reporter.bytes_done))
    pipeline.run("create_bundle", reporter)
    size = pipeline.outputs["create_bundle"]["plain_size"]
    assert (reporter.totals, at_encrypting) == ([3 * size], [size])
    assert reporter.bytes_done == 3 * size


def test_nothing_plain_is_in_the_spool_once_it_is_being_stored(pipeline: Pipeline) -> None:
    run(pipeline, *MADE)
    assert len(spool_files(pipeline)) > 3, "until then a failed attempt could need it"
    pipeline.run("upload_remote")
    (left,) = spool_files(pipeline)
    assert left.read_bytes() == stored(pipeline).read_bytes()
    pipeline.run("upload_remote")


def test_the_job_begins_again_when_the_encrypted_file_is_gone(pipeline: Pipeline) -> None:
    run(pipeline)
    for path in spool_files(pipeline):
        path.unlink()
    with pytest.raises(WorkMissing):
        pipeline.run("upload_remote")


@pytest.mark.parametrize("change", ["removed", "added", "none any more", "first ones"])
def test_nothing_is_stored_for_others_than_the_storage_names_now(
    change: str, pipeline: Pipeline, tmp_path: Path
) -> None:
    now = pipeline.recipients
    other = make_key(tmp_path / "other.txt").recipient
    changed = {
        "removed": (now, now[:1]),
        "added": (now, (*now, other)),
        "none any more": (now, ()),
        "first ones": ((), now),
    }
    pipeline.recipients, later = changed[change]
    run(pipeline, *MADE)
    pipeline.recipients = later
    with pytest.raises(WorkMissing, match="recipients were changed"):
        pipeline.run("upload_remote")
    assert not [path for path in pipeline.store_directory.rglob("*") if path.is_file()]
    run(pipeline)
    assert tuple(pipeline.outputs["create_bundle"].get("encrypted_to", ())) == later


def test_the_order_of_recipients_means_nothing(pipeline: Pipeline) -> None:
    run(pipeline, *MADE)
    pipeline.recipients = tuple(reversed(pipeline.recipients))
    pipeline.run("upload_remote")


@pytest.mark.parametrize("ending", [StopRequested, Fenced])
def test_it_ends_in_the_middle_when_it_is_told_to(
    ending: type[InterruptedWork], pipeline: Pipeline
) -> None:
    def end() -> None:
        raise ending

    add_file(pipeline, 5 << 20)
    run(pipeline, "backup_db", "backup_files")
    with pytest.raises(ending):
        pipeline.run("create_bundle", InTheMiddle(end))
    assert "create_bundle" not in pipeline.outputs
    run(pipeline, "create_bundle", "upload_remote")


def test_what_was_sealed_is_encrypted_anew_when_it_was_killed_in_the_middle(
    pipeline: Pipeline, keys: list[KeyPair], age_program: str, tmp_path: Path
) -> None:
    def die() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    add_file(pipeline, 5 << 20)
    run(pipeline, "backup_db", "backup_files")
    context = multiprocessing.get_context("fork")
    child = context.Process(target=pipeline.run, args=("create_bundle", InTheMiddle(die)))
    child.start()
    child.join()
    assert child.exitcode == -signal.SIGKILL
    (half,) = pipeline.job_directory.glob("create_bundle-*/encrypted/segment")
    assert half.stat().st_size > 0
    pipeline.epoch += 1
    run(pipeline, "create_bundle", "upload_remote")
    plain = decrypt(age_program, keys[1], stored(pipeline), tmp_path / "plain")
    subprocess.run(["tar", "--zstd", "-tf", str(plain)], check=True, stdout=subprocess.DEVNULL)


def on_small_disk(pipeline: Pipeline, disk: SmallDisk) -> None:
    pipeline.job_directory.parent.symlink_to(disk.path)
    run(pipeline, "backup_db", "backup_files")


def test_it_does_not_begin_where_there_is_no_room_for_a_second_bundle(
    pipeline: Pipeline, small_disk: Callable[..., SmallDisk]
) -> None:
    add_file(pipeline, 10 << 20)
    disk = small_disk(32 * MEBIBYTE)
    on_small_disk(pipeline, disk)
    disk.leave(5 * MEBIBYTE)
    with pytest.raises(EngineError, match="no room for the encrypted bundle") as refused:
        pipeline.run("create_bundle")
    assert refused.value.code == "not_enough_space"


def test_a_disk_that_fills_up_meanwhile_is_said(
    pipeline: Pipeline, small_disk: Callable[..., SmallDisk]
) -> None:
    add_file(pipeline, 10 << 20)
    disk = small_disk(32 * MEBIBYTE)
    on_small_disk(pipeline, disk)
    with pytest.raises(EngineError, match="is full") as refused:
        pipeline.run("create_bundle", WatchingReporter(disk.fill))
    assert refused.value.code == "disk_full"
    disk.make_room()
    run(pipeline, "create_bundle", "upload_remote")


def test_a_first_backup_is_refused_where_only_one_of_the_two_bundles_has_room(
    pipeline: Pipeline, small_disk: Callable[..., SmallDisk]
) -> None:
    add_file(pipeline, 10 << 20)
    disk = small_disk(16 * MEBIBYTE)
    pipeline.job_directory.parent.symlink_to(disk.path)
    with pytest.raises(EngineError) as refused:
        pipeline.run("backup_db")
    assert refused.value.code == "not_enough_space"
    pipeline.recipients = ()
    pipeline.run("backup_db")


def test_a_fault_of_the_memory_is_found_before_anything_is_stored(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file decrypts, but to something else than what was sealed."""
    from workers.engine.age import encrypting

    whole = encrypting._Reading.readinto

    def flipping(self: Any, buffer: memoryview) -> int:
        size = whole(self, buffer)
        if size:
            buffer[0] ^= 1
        return size

    run(pipeline, "backup_db", "backup_files")
    monkeypatch.setattr(encrypting._Reading, "readinto", flipping)
    with pytest.raises(EngineError, match="does not decrypt to what was sealed"):
        pipeline.run("create_bundle")
