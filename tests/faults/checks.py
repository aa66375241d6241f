"""What must hold after every fault: done once, whole, and nothing left behind."""

from __future__ import annotations

import uuid
from contextlib import suppress
from typing import Any

import psutil

from tests.faults.rig import STAGES, Rig
from tests.servers import wait_until
from workers.engine.bundle import verify
from workers.engine.process import JOB_MARK
from workers.engine.progress import SilentReporter
from workers.engine.sources import FilesSource

# What a clean-up that runs now and then may take: several of its rounds.
TIDY_SECONDS = 20


def assert_completed_once(rig: Rig, job_id: str) -> None:
    """Demand that the job is done, each stage once, its bundle good, and nothing else left."""
    assert_done_once(rig, job_id)
    assert_nothing_left(rig)


def assert_done_once(rig: Rig, job_id: str) -> None:
    """Demand that the job completes, finishes each stage once, and that its bundle is good."""
    job = rig.wait_for_end(job_id)
    events = rig.events(job_id)
    said = "\n".join(f"{event['epoch']} {event['kind']} {event['message']}" for event in events)
    assert job["state"] == "completed", f"{job['error_message']}\n{said}"
    done = [event["stage"] for event in events if event["kind"] == "stage_done"]
    assert done == list(STAGES), said
    assert [event["kind"] for event in events].count("completed") == 1, said
    backups = rig.console.ask("backups", job_id=job_id)
    assert [backup["status"] for backup in backups] == ["SUCCESS"], backups
    assert_restorable(rig, backups[0])


def assert_restorable(rig: Rig, backup: dict[str, Any]) -> None:
    """Demand that every byte of the stored bundle is what its row and its index say."""
    bundle = rig.cluster.directory / f"{backup['id']}.tar.zst"
    rig.fetch(backup["object_key"], bundle)
    try:
        with FilesSource([bundle]) as source:
            report = verify(source, reporter=SilentReporter())
        assert (report.sha256, report.size) == (backup["sha256"], backup["size_bytes"])
        assert report.members > 1
    finally:
        bundle.unlink()


def assert_nothing_left(rig: Rig, seconds: float = TIDY_SECONDS) -> None:
    """Demand that no job is active, and that soon nothing of one is left anywhere."""
    assert rig.console.ask("active_jobs") == []
    for what, find in (
        ("processes of jobs", marked_processes),
        ("folders in the spool", job_folders),
        ("unfinished uploads", Rig.uploads),
        ("objects that no backup points to", foreign_objects),
    ):
        wait_until(lambda: not find(rig), seconds, f"no {what}: {find(rig)}")  # noqa: B023


def marked_processes(rig: Rig) -> list[str]:
    """The processes that stages of this installation have started and that still live."""
    jobs, found = rig.console.ask("job_ids"), []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.environ().get(JOB_MARK) in jobs:
                found.append(f"{process.pid} {process.name()}")
    return found


def job_folders(rig: Rig) -> list[str]:
    """The folders in the spool that belong to a job."""
    return [path.name for path in rig.cluster.spool.iterdir() if is_uuid(path.name)]


def foreign_objects(rig: Rig) -> set[str]:
    """The objects in the store that no backup points to."""
    backups = rig.console.ask("backups")
    known = {backup["object_key"] for backup in backups if backup["status"] == "SUCCESS"}
    return set(rig.objects()) - known


def is_uuid(name: str) -> bool:
    with suppress(ValueError):
        return bool(uuid.UUID(name))
    return False
