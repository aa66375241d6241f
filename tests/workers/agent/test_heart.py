"""The heartbeat, also on a host that is not well."""

from __future__ import annotations

from pathlib import Path

import pytest

from panel.scratch_urls import scratch_servers as scratch_databases
from tests.servers.age import make_key
from workers.agent.heart import read_host, readable_recipients, told_versions


def test_reading_holds_three_shares_when_all_is_well(
    tmp_path: Path, settings: pytest.FixtureRequest
) -> None:
    settings.HOLDFAST_SPOOL_DIRECTORY = tmp_path
    reading = read_host()
    shares = (reading.cpu_percent, reading.memory_percent, reading.disk_percent)
    assert all(share is not None and 0 <= share <= 100 for share in shares)
    assert reading.disk_free_bytes is not None and reading.disk_free_bytes > 0
    assert reading.load_average is not None and reading.load_average >= 0


def test_heart_goes_on_beating_when_the_spool_cannot_be_read(
    settings: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture
) -> None:
    settings.HOLDFAST_SPOOL_DIRECTORY = Path("/", "x" * 300)  # the kernel refuses such a name
    assert read_host().disk_percent is None
    assert "cannot be read" in caplog.text


def test_a_worker_tells_whose_bundles_it_can_open(
    tmp_path: Path, settings: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture
) -> None:
    readable_recipients.cache_clear()
    settings.HOLDFAST_AGE_IDENTITY_FILE = None
    assert readable_recipients() == ()
    key = make_key(tmp_path / "key")
    settings.HOLDFAST_AGE_IDENTITY_FILE = key.file
    readable_recipients.cache_clear()
    assert readable_recipients() == (key.recipient,)
    key.file.chmod(0o640)
    readable_recipients.cache_clear()
    assert readable_recipients() == ()
    assert "opens no encrypted bundle" in caplog.text
    assert key.secret not in caplog.text
    readable_recipients.cache_clear()


def test_a_worker_tells_which_engines_it_has_scratch_servers_for(
    settings: pytest.FixtureRequest,
) -> None:
    text = "postgres://a:pw-of-a@one,mysql://b@two mariadb://c@three:3307"
    settings.HOLDFAST_SCRATCH_DATABASES = scratch_databases(text, "X")
    assert told_versions()["scratch_engines"] == "mysql,postgresql"
    assert "pw-of-a" not in str(told_versions())
    settings.HOLDFAST_SCRATCH_DATABASES = []
    assert told_versions()["scratch_engines"] == ""
