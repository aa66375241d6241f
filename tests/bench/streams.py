"""Measure what a thousand people who watch cost one panel process, and how soon they are told.

    python -m tests.bench.streams [--only one-10 one-1000 many-1000 dashboards] [--seconds 60]

One uvicorn process as in production, and a MariaDB server; each scenario has a new panel. Streams
are opened with `interval=1`, half with a session and half with a ticket, each of its own, of 50
people of all roles, so that the rights that are looked at again differ.

- one-10, one-1000: so many viewers of one job, which is written to every 1.5 to 2.5 s.
- many-1000: a viewer for each of 1,000 jobs, each written to every 2.5 s.
- dashboards: 100 viewers of the list of running jobs, of which there are 1,000.

Shown: the panel's memory (its peak), its share of one processor, its queries per second, and the
time from just before a write to the arrival of its event (a superseded one is not counted). Ends
with 1 where the delay's 99th percentile or the memory is beyond its limit.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import random
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from tests.bench.installation import BenchCluster, installation
from tests.bench.stream_rows import Running, make_jobs, make_people, sessions_of, tickets_of

JOBS = 1000
SETTLE_SECONDS = 6.0
LIMIT_SECONDS, LIMIT_MEGABYTES = 1.2, 300
STAMP = "at "
BATCH = 20
UPDATE = "UPDATE backups_stage SET detail = %s, bytes_processed = bytes_processed + 1 WHERE id IN "


@dataclass(frozen=True)
class Scenario:
    """Who watches what: `path` is that of the stream of the viewer's site."""

    viewers: int
    jobs: int
    path: str = "/api/v1/daemon/backup/stream/{site}?interval=1"
    needs_session: bool = False


SCENARIOS = {
    "one-10": Scenario(10, 1),
    "one-1000": Scenario(1000, 1),
    "many-1000": Scenario(1000, JOBS),
    "dashboards": Scenario(
        100, JOBS, "/admin/backup-maintenance/running-sse?interval=1", needs_session=True
    ),
}


class Clients:
    """The process that watches."""

    def __init__(self, port: int, requests: list[tuple[str, str]]) -> None:
        self._popen = subprocess.Popen(
            [sys.executable, "-m", "tests.bench.stream_clients"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._order = {"port": port, "requests": requests, "stamp": STAMP}
        self.open_worst = self.open_all = 0.0

    def open(self) -> None:
        """Open all streams, and note how long all of them and the slowest took."""
        began = time.monotonic()
        self._say(json.dumps(self._order))
        self.open_worst = self._hear()["open_worst"]
        self.open_all = time.monotonic() - began

    def forget(self) -> None:
        """Let it count from now on."""
        self._say("")

    def end(self) -> dict[str, Any]:
        """Return what came."""
        assert self._popen.stdin is not None
        self._popen.stdin.close()
        heard = self._hear()
        self._popen.wait()
        return heard

    def kill(self) -> None:
        """End it, whatever it does."""
        self._popen.kill()
        self._popen.wait()

    def _say(self, line: str) -> None:
        assert self._popen.stdin is not None
        self._popen.stdin.write(f"{line}\n")
        self._popen.stdin.flush()

    def _hear(self) -> dict[str, Any]:
        assert self._popen.stdout is not None
        line = self._popen.stdout.readline()
        assert line, f"the clients ended with {self._popen.wait()}"
        heard: dict[str, Any] = json.loads(line)
        return heard


@dataclass
class Meter:
    """What the panel has used up to now."""

    at: float
    processor: float
    selects: int
    statements: int


def read_meter(panel: psutil.Process) -> Meter:
    """Ask the kernel and the database's server."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("SHOW GLOBAL STATUS WHERE Variable_name IN ('Com_select', 'Questions')")
        counts = dict(cursor.fetchall())
    return Meter(
        time.monotonic(),
        sum(panel.cpu_times()[:2]),
        int(counts["Com_select"]),
        int(counts["Questions"]),
    )


def write_for(seconds: float, write: Callable[[], float]) -> int:
    """Write again and again, each time after the pause that `write` returns; return how often."""
    end, written = time.monotonic() + seconds, 0
    while (left := end - time.monotonic()) > 0:
        written += 1
        time.sleep(min(left, write()))
    return written


def writer(jobs: list[Running]) -> Callable[[], float]:
    """Return what writes to the next of the jobs, with the time of day as what it says."""
    from django.db import connection

    chance = random.Random(7)
    batches = [jobs[begin : begin + BATCH] for begin in range(0, len(jobs), BATCH)]
    in_turn = itertools.cycle(batches)

    def write() -> float:
        stages = [job.stage for job in next(in_turn)]
        places = ", ".join(["%s"] * len(stages))
        with connection.cursor() as cursor:
            cursor.execute(f"{UPDATE}({places})", [f"{STAMP}{time.time():.4f}", *stages])
        return chance.uniform(1.5, 2.5) if len(batches) == 1 else 2.5 / len(batches)

    return write


def requests_of(
    scenario: Scenario, jobs: list[Running], people: list[Any]
) -> list[tuple[str, str]]:
    """Return a path and a cookie for each viewer."""
    cookies = iter(sessions_of(people, scenario.viewers))
    tickets = iter(tickets_of(people, scenario.viewers))
    found = []
    for viewer in range(scenario.viewers):
        path = scenario.path.format(site=jobs[viewer % len(jobs)].site)
        if scenario.needs_session or viewer % 2:
            found.append((path, next(cookies)))
        else:
            found.append((f"{path}&ticket={next(tickets)}", ""))
    return found


def measure(
    cluster: BenchCluster, name: str, jobs: list[Running], people: list[Any], seconds: float
) -> bool:
    """Run one scenario on a new panel; return whether it is within the limits."""
    scenario = SCENARIOS[name]
    daemon = cluster.start_panel()
    panel = psutil.Process(daemon.pid)
    empty = panel.memory_info().rss / 2**20
    jobs = jobs[: scenario.jobs]
    requests, write = requests_of(scenario, jobs, people), writer(jobs)
    clients = Clients(cluster.port, requests)
    try:
        clients.open()
        write_for(SETTLE_SECONDS, write)
        before = read_meter(panel)
        clients.forget()
        written = write_for(seconds, write)
        after = read_meter(panel)
        heard = clients.end()
        peak = _peak_megabytes(daemon.pid)
    finally:
        clients.kill()
        daemon.stop()
    took = after.at - before.at
    delays = sorted(heard["delays"])
    worst = statistics.quantiles(delays, n=100)[98]
    selects = after.selects - before.selects
    others = after.statements - before.statements - selects - written - 1
    print(
        f"{name:11} opened in {clients.open_all:5.1f} s (worst {clients.open_worst:5.2f})  "
        f"memory {empty:4.0f} -> {peak:4.0f} MB  "
        f"CPU {(after.processor - before.processor) / took:5.0%}  "
        f"selects {selects / took:6.1f}/s, others {others / took:5.1f}/s  "
        f"events {heard['events'] / took:6.0f}/s  "
        f"delay median {statistics.median(delays):.3f} s p99 {worst:.3f} s "
        f"worst {delays[-1]:.3f} s of {len(delays)}, load {os.getloadavg()[0]:.1f}",
        flush=True,
    )
    return worst <= LIMIT_SECONDS and peak <= LIMIT_MEGABYTES


def _peak_megabytes(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    line = next(line for line in lines if line.startswith("VmHWM:"))
    return int(line.split()[1]) / 1024


def main() -> int:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=SCENARIOS, default=list(SCENARIOS))
    parser.add_argument("--seconds", type=float, default=60)
    options = parser.parse_args()
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    # The panel, too, has a file for each stream, and gets the limit from here.
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    with installation("mariadb") as cluster:
        # As in production: else each look at the database makes a connection first.
        cluster.settings = {**cluster.settings, "HOLDFAST_DATABASE_CONNECTION_SECONDS": "60"}
        os.environ.update(cluster.environment, DJANGO_SETTINGS_MODULE="panel.settings")
        import django

        django.setup()
        jobs, people = make_jobs(JOBS), make_people()
        good = [measure(cluster, name, jobs, people, options.seconds) for name in options.only]
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
