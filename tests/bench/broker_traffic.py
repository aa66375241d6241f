"""Measure what idle workers cost: the broker's traffic, memory and processors' time.

    python -m tests.bench.broker_traffic [--workers 10 20 40] [--seconds 60]

Every worker is a real `manage.py worker` with a node, a spool and one slot of its own, and the
settings of a new installation; a coordinator runs as well. Traffic is what Redis itself counts,
both ways, over so many seconds once everybody is up; memory is the proportional share (PSS) of all
processes of the workers, and processors' time what they used meanwhile.
"""

from __future__ import annotations

import argparse
import os
import time
from contextlib import suppress

import psutil
import redis

from tests.bench.installation import BenchCluster, installation
from tests.servers import wait_until

# Started so many at a time: each start takes a processor for seconds.
STARTED_AT_ONCE = 4
# Workers that have just come up still share out slots and look for what others left.
SETTLE_SECONDS = 20
START_SECONDS = 120

MAKE_NODES = """
from backups.models import Node
for number in range({begin}, {end}):
    Node.objects.create(name=f"idle-{{number:03}}", allowed_roots=["/srv"], slots=1)
print(Node.objects.count())
"""


def start_workers(cluster: BenchCluster, begin: int, end: int) -> None:
    """Start the workers of new nodes, a few at a time."""
    cluster.ask(MAKE_NODES.format(begin=begin, end=end))
    for first in range(begin, end, STARTED_AT_ONCE):
        waiting = []
        for number in range(first, min(first + STARTED_AT_ONCE, end)):
            name = f"idle-{number:03}"
            waiting.append(cluster.says(name, " ready."))
            cluster.start(
                name,
                *("manage.py", "worker", "--node", name),
                ready=lambda: True,
                environment={"HOLDFAST_SPOOL_DIRECTORY": str(cluster.directory / "spools" / name)},
            )
        wait_until(lambda: all(ready() for ready in waiting), START_SECONDS, "up")  # noqa: B023


def processes_of(cluster: BenchCluster) -> list[psutil.Process]:
    """All processes of the workers."""
    found = []
    for name, daemon in cluster.daemons.items():
        if name.startswith("idle-"):
            leader = psutil.Process(daemon.pid)
            found += [leader, *leader.children(recursive=True)]
    return found


def memory_of(processes: list[psutil.Process]) -> int:
    """The proportional memory of those that live."""
    total = 0
    for process in processes:
        with suppress(psutil.Error):
            total += process.memory_full_info().pss
    return total


def work_of(processes: list[psutil.Process]) -> float:
    """The seconds of processors' time that those that live have used."""
    total = 0.0
    for process in processes:
        with suppress(psutil.Error):
            times = process.cpu_times()
            total += times.user + times.system
    return total


def traffic_of(client: redis.Redis) -> tuple[int, int]:
    """The bytes that the broker has got and sent since it began."""
    stats = client.info("stats")
    return stats["total_net_input_bytes"], stats["total_net_output_bytes"]


def measure(cluster: BenchCluster, client: redis.Redis, workers: int, seconds: float) -> None:
    """Watch for a while, and print a line."""
    time.sleep(SETTLE_SECONDS)
    processes = processes_of(cluster)
    got, sent = traffic_of(client)
    worked, began = work_of(processes), time.monotonic()
    time.sleep(seconds)
    took = time.monotonic() - began
    got_later, sent_later = traffic_of(client)
    got_rate, sent_rate = (got_later - got) / took / 1000, (sent_later - sent) / took / 1000
    cores = (work_of(processes) - worked) / took
    memory = memory_of(processes) / 1e6
    print(
        f"{workers:8}{got_rate:9.2f}{sent_rate:9.2f}{got_rate + sent_rate:9.2f}"
        f"{(got_rate + sent_rate) / workers * 1000:11.1f}{len(processes):11}"
        f"{memory / workers:12.0f}{cores:8.2f}{os.getloadavg()[0]:7.1f}",
        flush=True,
    )


def main() -> None:
    """Measure with more and more workers."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", nargs="+", type=int, default=[10, 20, 40])
    parser.add_argument("--seconds", type=float, default=60)
    options = parser.parse_args()
    with installation() as cluster:
        cluster.start_coordinator()
        client = redis.Redis.from_url(cluster.broker_url)
        print(
            f"{'workers':>8}{'in kB/s':>9}{'out kB/s':>9}{'kB/s':>9}{'B/s each':>11}"
            f"{'processes':>11}{'MB each':>12}{'cores':>8}{'load':>7}"
        )
        running = 0
        for workers in sorted(options.workers):
            start_workers(cluster, running, workers)
            running = workers
            measure(cluster, client, workers, options.seconds)


if __name__ == "__main__":
    main()
