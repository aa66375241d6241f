"""A cluster with hundreds of sites and months behind it, though nothing of it ever ran.

Its rows are `fleet_rows`', after the plan of `fleet_plan`. There is neither a coordinator nor a
worker: one would take the jobs that seem to run for lost, the other is on none of the nodes.
`start_heart` is what moves.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.browser.fleet_plan import DAYS
from tests.servers import Daemon
from tests.servers.cluster import Cluster

FILL = "from tests.browser.fleet_rows import fill; fill({sites}, {nodes}, {days})"
BEAT = "from tests.browser.fleet import keep_alive; keep_alive()"
BEAT_SECONDS = 1.0
BYTES_PER_SECOND = 21_400_000


@contextmanager
def fleet(
    directory: Path, broker_url: str, sites: int = 300, nodes: int = 6, days: int = DAYS
) -> Iterator[Cluster]:
    """Yield a cluster whose panel runs, with that many sites on that many nodes."""
    cluster = Cluster(directory, f"sqlite:///{directory / 'panel.sqlite3'}", broker_url)
    with cluster.warmed_up():
        try:
            cluster.set_up(directory)
            seed(cluster, sites, nodes, days)
            cluster.start_panel()
            yield cluster
        except BaseException as error:
            error.add_note(cluster.logs())
            raise


def seed(cluster: Cluster, sites: int = 300, nodes: int = 6, days: int = DAYS) -> None:
    """Fill an installation that was set up; in a process that has its settings."""
    code = FILL.format(sites=sites, nodes=nodes, days=days)
    cluster.manage("shell", "--verbosity", "0", "-c", code)


def start_heart(cluster: Cluster) -> Daemon:
    """Start what keeps the nodes online and moves the jobs that run, until the cluster stops."""
    argv = ("manage.py", "shell", "--verbosity", "0", "-c", BEAT)
    return cluster.start("heart", *argv, ready=cluster.says("heart", "beats"))


def keep_alive() -> None:
    """Beat for ever: life signs of the nodes that are online, and bytes of the jobs that run."""
    from django.db.models import F
    from django.db.models.functions import Least, Now

    from backups.models import Job, Node, Stage, Worker

    while True:
        Node.objects.filter(workers__isnull=False).update(last_seen_at=Now())
        Worker.objects.update(last_seen_at=Now())
        moved = Least(F("bytes_processed") + int(BYTES_PER_SECOND * BEAT_SECONDS), "bytes_total")
        Stage.objects.filter(state="running").update(bytes_processed=moved)
        for stage in Stage.objects.filter(state="running"):
            share = stage.bytes_processed / stage.bytes_total
            progress = min(99, int((stage.position + share) * 20))
            Job.objects.filter(pk=stage.job_id).update(progress=progress)
        print("beats", flush=True)
        time.sleep(BEAT_SECONDS)
