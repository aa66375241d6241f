"""One limit for all uploads of a host, whoever sends them, and whatever happens to its file."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.contracts.store_sources import BytesSource, PutCall, digest_of, pattern, start_put
from tests.servers import wait_until
from tests.servers.moto import S3Server
from workers.engine.errors import StopRequested
from workers.engine.progress import SilentReporter
from workers.engine.stores import open_store
from workers.engine.throttle import (
    BURST_SECONDS,
    FURTHEST_SECONDS,
    GRANT_SECONDS,
    LEAST_GRANT_BYTES,
    SharedThrottle,
)

ROOT = Path(__file__).parents[3]
RATE = 1_000_000
KEY = "node/site/site.tar.zst"

# Takes all it gets for a while, and tells when it might have sent how much.
SENDER = """
import sys, time
from pathlib import Path
from workers.engine.throttle import SharedThrottle
throttle = SharedThrottle(Path(sys.argv[1]), int(sys.argv[2]))
end = time.monotonic() + float(sys.argv[3])
while time.monotonic() < end:
    taken = throttle.take(16384, time.sleep)
    print(time.clock_gettime_ns(time.CLOCK_BOOTTIME), taken)
"""


def start_sender(file: Path, rate: int, seconds: float) -> subprocess.Popen[str]:
    argv = [sys.executable, "-c", SENDER, str(file), str(rate), str(seconds)]
    return subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def assert_within_limit(sent: list[tuple[int, int]], rate: int, senders: int) -> None:
    """In no window, however short or long, was more sent than the limit allows."""
    grant = max(LEAST_GRANT_BYTES, rate * GRANT_SECONDS)
    burst = rate * BURST_SECONDS + (senders + 1) * grant
    sent = sorted(sent)
    # The most that any window exceeds the limit by is that of the largest rise above the line.
    lowest, total = float("inf"), 0
    for moment, size in sent:
        line = rate * moment / 1e9
        lowest = min(lowest, total - line)
        total += size
        assert total - line - lowest <= burst


@pytest.mark.parametrize("rate", [RATE, 40_000_000, 8192])
def test_processes_stay_together_at_the_limit_in_every_window(rate: int, tmp_path: Path) -> None:
    senders = [start_sender(tmp_path / "limit", rate, 2) for _ in range(3)]
    sent = []
    for sender in senders:
        output, _ = sender.communicate(timeout=60)
        assert sender.returncode == 0
        sent += [tuple(map(int, line.split())) for line in output.splitlines()]
    assert_within_limit(sent, rate, len(senders))
    moments = [moment for moment, _ in sent]
    seconds = (max(moments) - min(moments)) / 1e9
    # Enough came through for the bound to say something: it is a limit and not a stop.
    assert sum(size for _, size in sent) >= rate * seconds * 0.1


def test_threads_share_the_limit(tmp_path: Path) -> None:
    throttle = SharedThrottle(tmp_path / "limit", RATE)
    sent: list[tuple[int, int]] = []

    def send() -> None:
        end = time.monotonic() + 1
        while time.monotonic() < end:
            taken = throttle.take(16384, time.sleep)
            sent.append((time.clock_gettime_ns(time.CLOCK_BOOTTIME), taken))

    threads = [threading.Thread(target=send) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert_within_limit(sent, RATE, len(threads))


def test_nobody_waits_for_the_lock_of_a_frozen_process(tmp_path: Path) -> None:
    file = tmp_path / "limit"
    file.touch()
    holder = subprocess.Popen(["flock", str(file), "sleep", "60"], start_new_session=True)
    try:
        wait_until(lambda: is_locked(file), 10, "somebody holds the lock")
        os.kill(holder.pid, signal.SIGSTOP)
        throttle, began = SharedThrottle(file, RATE), time.monotonic()
        for _ in range(10):
            assert throttle.take(1000, time.sleep)
        # Once a second is lost to it, not once for each grant.
        assert time.monotonic() - began < 3
    finally:
        os.killpg(holder.pid, signal.SIGKILL)
        holder.wait()


def is_locked(file: Path) -> bool:
    with file.open() as opened:
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def moment_file(file: Path, moment: int, boot: bytes) -> Path:
    from workers.engine import throttle

    file.write_bytes(throttle._RECORD.pack(moment, boot))
    return file


@pytest.mark.parametrize("ahead_seconds", [60, FURTHEST_SECONDS + 60])
def test_what_an_earlier_boot_left_holds_nobody_up(ahead_seconds: int, tmp_path: Path) -> None:
    now = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    boot = Path("/proc/sys/kernel/random/boot_id").read_bytes()[:36]
    other = boot if ahead_seconds > FURTHEST_SECONDS else b"0" * 36
    file = moment_file(tmp_path / "limit", now + ahead_seconds * 10**9, other)
    waits: list[float] = []
    SharedThrottle(file, RATE).take(1000, waits.append)
    assert waits == []


def test_others_grants_are_waited_for(tmp_path: Path) -> None:
    now = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    boot = Path("/proc/sys/kernel/random/boot_id").read_bytes()[:36]
    file = moment_file(tmp_path / "limit", now + 60 * 10**9, boot)
    waits: list[float] = []
    SharedThrottle(file, RATE).take(1000, waits.append)
    assert 59 < sum(waits) < 61


@pytest.mark.parametrize("spoil", [Path.mkdir, lambda path: path.symlink_to("/nowhere/at/all")])
def test_limit_still_holds_for_each_process_when_the_file_cannot_be_used(
    spoil: Callable[[Path], None], tmp_path: Path
) -> None:
    spoil(tmp_path / "limit")
    throttle, waits = SharedThrottle(tmp_path / "limit", RATE), list[float]()
    taken = sum(throttle.take(16384, waits.append) for _ in range(100))
    assert taken / RATE - BURST_SECONDS - GRANT_SECONDS <= max(waits)


class StoppingReporter(SilentReporter):
    """Asked to stop after a while, as by a person."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.asked_at = time.monotonic() + seconds

    def check(self) -> None:
        if time.monotonic() > self.asked_at:
            raise StopRequested


@pytest.fixture(params=["local", "rclone_s3"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, dict[str, object]]:
    if request.param == "local":
        (tmp_path / "store").mkdir()
        return "local", {"path": str(tmp_path / "store")}
    server: S3Server = request.getfixturevalue(request.param)
    return "s3", server.config(prefix=f"throttle/{tmp_path.name}", part_size=5 << 20)


@pytest.mark.slow
def test_two_uploads_at_once_stay_together_at_the_limit(
    storage: tuple[str, dict[str, object]], tmp_path: Path
) -> None:
    kind, config = storage
    # Slow enough that starting the processes cannot hide a limit that each has for itself.
    rate, size = 2 << 20, 10 << 20
    path = tmp_path / "bundle"
    path.write_bytes(pattern(size))
    request = {"kind": kind, "config": config, "path": str(path)}
    request |= {"throttle": [str(tmp_path / "limit"), rate]}
    began = time.monotonic()
    putting = [start_put(request | {"key": f"{KEY}.{number}"}) for number in range(2)]
    for process in putting:
        output, _ = process.communicate(timeout=120)
        assert process.returncode == 0, output
    seconds = time.monotonic() - began
    allowed = rate * (seconds + BURST_SECONDS + 10 * GRANT_SECONDS)
    assert 2 * size <= allowed, f"{2 * size} bytes in {seconds:.2f} s"
    store = open_store(kind, config)
    assert digest_of(store, f"{KEY}.1") == digest_of(store, f"{KEY}.0")


def test_stop_is_heard_while_an_upload_waits_for_the_limit(
    storage: tuple[str, dict[str, object]], tmp_path: Path
) -> None:
    kind, config = storage
    store = open_store(kind, config, None, SharedThrottle(tmp_path / "limit", 1024))
    reporter = StoppingReporter(1)
    with pytest.raises(StopRequested):
        PutCall(store, KEY, reporter=reporter)(BytesSource(pattern(20 << 20)))
    assert time.monotonic() - reporter.asked_at < 2
    assert store.stat(KEY) is None
