"""Many sites are due at once, and several coordinators start them: each exactly once."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from tests.servers.cluster import ROOT, Cluster

NODES, COORDINATORS = 20, 3
WINDOW_SECONDS = 3600
RACER = "import django; django.setup(); from tests.contracts.race import race; race()"
FILL = """
from datetime import timedelta
from django.utils import timezone
from backups.models import Node, Site, Storage
storage = Storage.objects.create(name="s", type="local", config={{"path": "/srv"}}, is_default=True)
nodes = [Node.objects.create(name=f"web-{{n:02}}", allowed_roots=["/srv"]) for n in range({nodes})]
due = timezone.now() - timedelta(minutes=5)
Site.objects.bulk_create(
    [
        Site(
            name=f"site-{{number:05}}.example.com", node=nodes[number % {nodes}],
            wp_path=f"/srv/{{number}}", schedule_frequency="daily", schedule_time="02:00",
            next_run_at=due, next_named_at=due,
        )
        for number in range({sites})
    ],
    batch_size=500,
)
"""
COUNTED = """
from django.db.models import Count
from django.utils import timezone
from backups.models import Job, Site
each = Job.objects.values("site").annotate(number=Count("pk"))
later = Site.objects.filter(next_run_at__gt=timezone.now())
starts = later.values("next_run_at").distinct().count()
print(Job.objects.filter(trigger="schedule").count(), each.count(), later.count(), starts)
"""


def start_together(url: str, directory: Path, sites: int) -> str:
    """Have so many sites started by three coordinators, see that each was started once.

    Returns how long it took, in words.
    """
    # Nobody listens on port 9: what is started here must only be recorded.
    cluster = Cluster(directory, url, "redis://127.0.0.1:9/0", {})
    cluster.migrate()
    fill = FILL.format(sites=sites, nodes=NODES)
    cluster.manage("shell", "--verbosity", "0", "-c", fill)
    environment = {**os.environ, **cluster.environment, "DJANGO_SETTINGS_MODULE": "panel.settings"}
    barrier = directory / "go"
    coordinators = [
        subprocess.Popen(
            [sys.executable, "-c", RACER, "start_all", str(barrier), ""],
            cwd=ROOT,
            env={**environment, "HOLDFAST_LOG_LEVEL": "ERROR"},
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(COORDINATORS)
    ]
    for coordinator in coordinators:
        assert coordinator.stdout.readline() == "ready\n"
    began = time.monotonic()
    barrier.touch()
    started = [int(coordinator.communicate()[0]) for coordinator in coordinators]
    seconds = time.monotonic() - began
    assert sum(started) == sites
    assert min(started) > 0, "all of them had a part in it"
    said = cluster.manage("shell", "--verbosity", "0", "-c", COUNTED).stdout.split()
    jobs, each, later, moments = map(int, said)
    assert (jobs, each, later) == (sites, sites, sites)
    # Were each second of the hour as likely, so many would be somebody's.
    expected = WINDOW_SECONDS * (1 - (1 - 1 / WINDOW_SECONDS) ** sites)
    assert moments > 0.9 * expected, "tomorrow they start spread over the hour"
    return f"{started} started in {seconds:.1f} s, {sites / seconds:.0f} a second"
