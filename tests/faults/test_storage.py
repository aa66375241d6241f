"""A storage that fails under a whole installation: the backup is good, or says what to do."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.faults.checks import (
    TIDY_SECONDS,
    assert_completed_once,
    assert_nothing_left,
    assert_restorable,
    foreign_objects,
    marked_processes,
)
from tests.faults.rig import Rig
from tests.faults.steps import stored_by_way_of
from tests.servers import wait_until
from tests.servers.faults import (
    FaultProxy,
    Seen,
    error_in_200,
    hang,
    lose_answer,
    reset,
    reset_midway,
    status,
)

pytestmark = pytest.mark.slow

MEDIA_BYTES = 12 << 20
ATTEMPTS = 3
# For ever, as a test sees it.
ALWAYS = 1 << 30
QUICK = {"read_timeout": 1, "connect_timeout": 1, "max_attempts": 2}

PASSING: dict[str, Any] = {
    "500": status(500),
    "503-slow-down": status(503, "SlowDown", "Please reduce your request rate."),
    "hang": hang,
    "reset": reset,
    "reset-midway": reset_midway,
}
COMPLETING: dict[str, Any] = {
    "answer-lost": lose_answer,
    "error-in-200": error_in_200,
}
# What lasts, and the code that the job's error then has.
LASTING: dict[str, tuple[Any, str]] = {
    "500": (status(500), "storage_busy"),
    "503-slow-down": (status(503, "SlowDown", "Please reduce your request rate."), "storage_busy"),
    "hang": (hang, "storage_unreachable"),
    "reset": (reset, "storage_unreachable"),
}


def is_part(seen: Seen) -> bool:
    return seen.part == 2


def completes(seen: Seen) -> bool:
    return seen.completes


def anything(seen: Seen) -> bool:
    return True


def done_and_failed(handler: Any, seen: Seen) -> None:
    """Do what was asked, and say that it failed."""
    handler.forward(seen)
    status(500)(handler, seen)


@pytest.fixture(scope="module")
def medium_site(shared_rig: Rig) -> int:
    """A site whose bundle goes in a few parts."""
    [site] = shared_rig.add_small_sites(1)
    path = shared_rig.cluster.get(f"/api/v1/sites/{site}").body["wp_path"]
    media = hashlib.shake_256(b"video").digest(MEDIA_BYTES)
    with open(f"{path}/wp-content/uploads/video.mp4", "wb") as file:
        file.write(media)
    return site


@pytest.fixture
def proxy(
    rig: Rig, medium_site: int, fault_proxy: Callable[..., FaultProxy]
) -> Iterator[FaultProxy]:
    """A proxy before the S3 service that the site is stored through, during one test."""
    proxy = fault_proxy(rig.s3.port)
    with stored_by_way_of(rig, proxy.port, medium_site, **QUICK):
        proxy.requests.clear()
        yield proxy


@pytest.mark.parametrize("fault", PASSING.values(), ids=PASSING)
def test_backup_completes_when_parts_fail_for_a_while(
    rig: Rig, medium_site: int, proxy: FaultProxy, fault: Any
) -> None:
    proxy.fail(is_part, fault, times=1)
    assert_completed_once(rig, rig.start(medium_site))
    assert sum(is_part(seen) for seen in proxy.requests) > 1


@pytest.mark.parametrize(
    "fault", [*COMPLETING.values(), done_and_failed], ids=[*COMPLETING, "done-and-failed"]
)
def test_backup_completes_when_completing_fails_at_first(
    rig: Rig, medium_site: int, proxy: FaultProxy, fault: Any
) -> None:
    """Done or not, the storage said that it was not, or nothing."""
    proxy.fail(completes, fault)
    assert_completed_once(rig, rig.start(medium_site))


def test_backup_completes_when_completing_always_fails_after_it_was_done(
    rig: Rig, medium_site: int, proxy: FaultProxy
) -> None:
    proxy.fail(completes, done_and_failed, times=ALWAYS)
    job_id = rig.start(medium_site)
    hurry(rig, job_id)
    assert_completed_once(rig, job_id)


@pytest.mark.parametrize("where", [is_part, anything], ids=["parts", "everything"])
@pytest.mark.parametrize(("fault", "code"), LASTING.values(), ids=LASTING)
def test_reason_is_told_and_nothing_stays_when_the_storage_fails_for_good(
    rig: Rig, medium_site: int, proxy: FaultProxy, where: Any, fault: Any, code: str
) -> None:
    """Where everything fails from the second part on, the upload cannot even be given up then."""
    if where is anything:
        where = _from_the_second_part_on(proxy)
    proxy.fail(where, fault, times=ALWAYS)
    job_id = rig.start(medium_site)
    job = hurry(rig, job_id)
    assert (job["state"], job["error_code"]) == ("failed", code), job
    assert_person_is_told(rig, job)
    assert foreign_objects(rig) == set()
    # The storage is there again: what was begun in it is given up without anybody's help.
    proxy.heal()
    wait_until(lambda: not rig.uploads(), TIDY_SECONDS, "no unfinished upload")
    assert marked_processes(rig) == []
    # And the work of the stages before was kept: only what failed is done again.
    retried = rig.cluster.post(f"/api/v1/jobs/{job_id}/retry")
    assert (retried.status, retried.body["resumed_from"]) == (202, "upload_remote"), retried
    again = retried.body["job_id"]
    assert rig.wait_for_end(again)["state"] == "completed"
    assert [one["stage"] for one in rig.events(again, "stage_done")] == ["upload_remote", "cleanup"]
    [backup] = rig.console.ask("backups", job_id=again)
    assert_restorable(rig, backup)
    assert_nothing_left(rig)


def _from_the_second_part_on(proxy: FaultProxy) -> Callable[[Seen], bool]:
    return lambda seen: any(map(is_part, proxy.requests))


def hurry(rig: Rig, job_id: str) -> dict[str, Any]:
    """Return the job at its end, without the pauses between its attempts."""

    def has_ended(job: dict[str, Any]) -> bool:
        if job["not_before"]:
            rig.console.ask("end_pause", job_id=job_id)
        return job["finished_at"] is not None

    return rig.wait_for_job(job_id, has_ended, 90, "the end")


def assert_person_is_told(rig: Rig, job: dict[str, Any]) -> None:
    """Demand sentences that say what failed and what to do, in the row and in the answer."""
    assert job["attempts"] == ATTEMPTS - 1
    assert len(job["error_message"]) > 20
    assert len(job["error_hint"]) > 20
    said = rig.cluster.get(f"/api/v1/sites/{job['site_id']}/backup/status").body["error"]
    assert job["error_message"] in said
    assert job["error_hint"] in said
    assert rig.s3.secret_access_key not in said
    failed = rig.console.ask("backups", job_id=str(job["id"]))
    assert [one["status"] for one in failed] == ["FAILED"]
