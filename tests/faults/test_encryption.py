"""A backup to recipients whose worker is killed, or that is stopped, while it is encrypted."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.faults.rig import LEASE_SECONDS, Rig
from tests.faults.steps import use_storage
from tests.servers import wait_until
from tests.servers.age import KeyPair, decrypt, make_key

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> KeyPair:
    return make_key(tmp_path_factory.mktemp("age") / "key.txt")


@pytest.fixture
def encrypting_rig(rig: Rig, key: KeyPair) -> Iterator[Rig]:
    """The shared installation, whose large site is encrypted for as long as the test lasts."""
    body = {
        "name": f"encrypted-{time.monotonic_ns()}",
        "type": "s3",
        "config": rig.s3.config(),
        "encryption_recipients": [key.recipient],
    }
    storage = rig.cluster.post("/api/v1/storage/providers", body)
    assert storage.status == 201, storage
    use_storage(rig, rig.site, storage.body["id"])
    yield rig
    use_storage(rig, rig.site, None)


def encrypted_part(rig: Rig, job: dict[str, Any]) -> Path | None:
    found = list(rig.folder(job).glob("create_bundle-*/encrypted/segment"))
    return found[0] if found and found[0].stat().st_size else None


def hold_while_encrypting(rig: Rig, job_id: str) -> tuple[dict[str, Any], psutil.Process]:
    """Freeze the process in the middle of encrypting; it is quick, so the spool is watched."""
    job = rig.wait_until_inside(job_id, "create_bundle")
    child = rig.worker.stage_process(job)
    deadline = time.monotonic() + 60
    while not encrypted_part(rig, job):
        assert time.monotonic() < deadline, "nothing was encrypted"
    child.suspend()
    while not rig.console.ask("writable"):
        child.resume()
        child.suspend()
    held = rig.job(job_id)
    assert (held["state"], held["token"]) == ("running", job["token"]), "it was over already"
    assert held["stages_done"] == 2
    return held, child


def test_it_is_encrypted_anew_and_age_opens_it_when_its_worker_is_killed(
    encrypting_rig: Rig, key: KeyPair, age_program: str, tmp_path: Path
) -> None:
    rig = encrypting_rig
    job_id = rig.start()
    held, child = hold_while_encrypting(rig, job_id)
    child.kill()
    again = rig.wait_for_claim(held, LEASE_SECONDS)
    assert (again["epoch"], again["stages_done"] >= 2) > (held["epoch"], True)
    assert rig.wait_for_end(job_id)["state"] == "completed"
    (stored,) = [name for name in rig.objects() if name.endswith(".tar.zst.age")]
    rig.fetch(stored, tmp_path / "bundle.age")
    plain = decrypt(age_program, key, tmp_path / "bundle.age", tmp_path / "bundle.tar.zst")
    listed = subprocess.run(
        ["tar", "--zstd", "-tf", str(plain)], check=True, capture_output=True, text=True
    ).stdout.splitlines()
    assert {"database.sql", "manifest.json"} <= set(listed)
    assert (rig.uploads(), rig.folder(held).exists()) == ([], False)


def test_nothing_is_left_when_it_is_stopped(encrypting_rig: Rig) -> None:
    rig = encrypting_rig
    before = rig.objects()
    job_id = rig.start()
    held, child = hold_while_encrypting(rig, job_id)
    assert rig.cluster.post(f"/api/v1/sites/{rig.site}/backup/stop").status == 202
    child.resume()
    assert rig.wait_for_end(job_id)["state"] == "stopped"
    wait_until(lambda: not rig.folder(held).exists(), 10, "the folder is removed")
    assert (rig.objects(), rig.uploads()) == (before, [])
