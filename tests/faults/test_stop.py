"""A stop, whatever the job is doing: one end within three seconds, and nothing left behind."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.faults.checks import TIDY_SECONDS, assert_nothing_left, foreign_objects
from tests.faults.rig import Rig
from tests.faults.steps import stored_by_way_of
from tests.servers import wait_until
from tests.servers.faults import FaultProxy, hang

pytestmark = pytest.mark.slow

STOP_SECONDS = 3
# TERM is ignored for ten seconds, then comes KILL.
STUBBORN_STOP_SECONDS = 13
ENDS = ("stopped", "completed", "failed", "reset")

# Answers what it is asked about itself, and otherwise ignores every request to end.
STUBBORN_PROGRAM = """#!/bin/bash
case "$*" in *--version*|*--help*) exec {program} "$@";; esac
trap '' TERM INT HUP
echo $$ > {pid_file}
while :; do sleep 1; done
"""


def stop(rig: Rig, job_id: str, bound: float = STOP_SECONDS) -> dict[str, Any]:
    """Stop the job over HTTP and return its row at its end, which must come within the bound."""
    site = rig.job(job_id)["site_id"]
    began = time.monotonic()
    answer = rig.cluster.post(f"/api/v1/sites/{site}/backup/stop")
    assert (answer.status, answer.body["job_id"]) == (202, job_id), answer
    job = rig.wait_for_job(job_id, lambda job: job["state"] in ENDS, bound + 20, "an end")
    seconds = time.monotonic() - began
    assert seconds < bound, f"the stop took {seconds:.1f} s"
    return job


def assert_stopped_for_good(rig: Rig, job_id: str) -> None:
    """Demand that the job is stopped, once, without a restore point or a trace, and stays so."""
    assert_nothing_left(rig)
    ends = [event["kind"] for event in rig.events(job_id) if event["kind"] in ENDS]
    assert ends == ["stopped"]
    assert rig.console.ask("backups", job_id=job_id) == []
    # The node's agent looks once more for what a request to the storage left.
    wait_until(lambda: not rig.job(job_id)["cleanup_pending"], TIDY_SECONDS, "cleaned up")
    job = rig.job(job_id)
    assert job["state"] == "stopped"
    site = job["site_id"]
    again = rig.cluster.post(f"/api/v1/sites/{site}/backup/stop")
    assert (again.status, again.body["code"]) == (409, "backup_not_running")
    status = rig.cluster.get(f"/api/v1/sites/{site}/backup/status").body
    assert status["status"] == "stopped"


def test_job_is_stopped_when_it_waits_in_the_queue(rig: Rig) -> None:
    rig.end_worker(rig.worker)
    job_id = rig.start()
    stopped = stop(rig, job_id)
    assert stopped["started_at"] is None
    rig.start_worker(wait=True)
    assert_stopped_for_good(rig, job_id)


def test_job_is_stopped_when_its_message_waits_for_a_worker(rig: Rig) -> None:
    """The message is on its way already, and is refused when it arrives."""
    worker = rig.worker
    worker.master.suspend()
    job_id = rig.start()
    rig.wait_for_job(job_id, lambda job: job["state"] == "dispatched", 10, "it is sent")
    stop(rig, job_id)
    worker.master.resume()
    refused = f"job {job_id} epoch 1: backup_db is not due, refused"
    wait_until(lambda: refused in worker.daemon.log.read_text(), 20, "its message is refused")
    assert_stopped_for_good(rig, job_id)
    assert rig.events(job_id, "claimed") == []


def test_job_is_stopped_when_it_is_between_two_stages(rig: Rig) -> None:
    job_id, worker = rig.start(), rig.worker
    held = rig.hold(job_id, "backup_db")
    # The stage ends, and nobody takes the next one.
    worker.master.suspend()
    worker.stage_process(held).resume()
    rig.wait_for_job(job_id, lambda job: job["state"] == "between", 20, "the stage is done")
    stopped = stop(rig, job_id)
    assert stopped["stages_done"] == 1
    worker.master.resume()
    assert_stopped_for_good(rig, job_id)
    assert len(rig.events(job_id, "claimed")) == 1


@pytest.mark.parametrize("stage", ["backup_db", "backup_files", "create_bundle", "upload_remote"])
def test_job_is_stopped_when_a_stage_runs(rig: Rig, stage: str) -> None:
    job_id = rig.start()
    rig.wait_until_inside(job_id, stage)
    stop(rig, job_id)
    assert_stopped_for_good(rig, job_id)


def test_child_is_killed_when_it_ignores_that_it_is_stopped(rig: Rig, tmp_path: Path) -> None:
    program = shutil.which("mariadb-dump") or shutil.which("mysqldump")
    assert program
    pid_file, wrapper = tmp_path / "pid", tmp_path / "bin" / Path(program).name
    wrapper.parent.mkdir()
    wrapper.write_text(STUBBORN_PROGRAM.format(program=program, pid_file=pid_file))
    wrapper.chmod(0o755)
    rig.end_worker(rig.worker)
    worker = rig.start_worker(wait=True, environment={"PATH": f"{wrapper.parent}:/usr/bin:/bin"})
    try:
        job_id = rig.start()
        wait_until(pid_file.exists, 30, "the child that ignores TERM runs")
        stop(rig, job_id, STUBBORN_STOP_SECONDS)
        assert not Path("/proc", pid_file.read_text().strip()).exists()
        assert_stopped_for_good(rig, job_id)
    finally:
        rig.end_worker(worker)


def hang_and_do(handler: Any, seen: Any) -> None:
    """Do what was asked long after anybody waits for it."""
    handler.proxy.released.wait(60)
    handler.answer(seen, *handler.forward(seen))


def do_and_hang(handler: Any, seen: Any) -> None:
    """Do what was asked, and never say so."""
    handler.forward(seen)
    hang(handler, seen)


@pytest.fixture
def proxied_site(rig: Rig, fault_proxy: Callable[..., FaultProxy]) -> Iterator[FaultProxy]:
    """Let the large site be stored by way of a proxy, during one test."""
    proxy = fault_proxy(rig.s3.port)
    with stored_by_way_of(rig, proxy.port):
        proxy.requests.clear()  # those of the storage's test
        yield proxy


@pytest.mark.parametrize(
    "fault", [hang, hang_and_do, do_and_hang], ids=["not-done", "done-late", "done"]
)
def test_nothing_is_stored_when_a_stop_meets_the_last_request(
    rig: Rig, proxied_site: FaultProxy, fault: Any
) -> None:
    """`CompleteMultipartUpload` is under way: the object is there at any moment, or already."""
    proxied_site.fail(lambda seen: seen.completes, fault, times=99)
    job_id = rig.start()
    wait_until(
        lambda: any(seen.completes for seen in proxied_site.requests), 60, "the upload completes"
    )
    if fault is do_and_hang:
        wait_until(lambda: foreign_objects(rig), 10, "the object is there")
    stop(rig, job_id)
    proxied_site.released.set()
    assert_stopped_for_good(rig, job_id)


def test_job_has_one_end_when_a_stop_meets_its_clean_up(rig: Rig) -> None:
    """Everything is stored: either the stop comes first and all goes, or the backup counts."""
    job_id = rig.start()
    rig.wait_until_inside(job_id, "cleanup")
    job = stop(rig, job_id)
    if job["state"] == "stopped":
        assert_stopped_for_good(rig, job_id)
        return
    assert job["state"] == "completed"
    assert [one["status"] for one in rig.console.ask("backups", job_id=job_id)] == ["SUCCESS"]
    assert_nothing_left(rig)
