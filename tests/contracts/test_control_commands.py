"""Control from a shell, as a process of its own, on every database that the rows may live in."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.servers.cluster import Cluster

pytestmark = pytest.mark.slow

MAKE_JOBS = """
from pathlib import Path
from tests.workers.factories import make_site, dispatched_job
from backups.actions import attempts
for name in ("one.example", "two.example"):
    job = dispatched_job(make_site(Path({directory!r}), name))
    print(job.pk)
attempts.claim_stage(job_id=str(job.pk), epoch=1, stage_name="backup_db", worker="w@h")
"""


@pytest.fixture(scope="module")
def cluster(panel_database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    # Nobody listens on port 9: nothing here waits for a broker.
    directory = tmp_path_factory.mktemp("control")
    cluster = Cluster(directory, panel_database_url, "redis://127.0.0.1:9/0")
    with cluster.warmed_up():
        cluster.migrate()
        yield cluster


def test_jobs_and_nodes_are_controlled_from_a_shell(cluster: Cluster) -> None:
    code = MAKE_JOBS.format(directory=str(cluster.directory))
    waiting, running = cluster.manage("shell", "--verbosity", "0", "-c", code).stdout.split()
    listed = cluster.manage("job", "list").stdout.splitlines()
    assert {line.split()[0] for line in listed[1:]} == {waiting, running}
    # By the beginning of the id, which each database keeps in a form of its own.
    assert f"job {running}" in cluster.manage("job", "show", running[:13]).stdout
    assert "Backup of one.example stopped" in cluster.manage("job", "stop", waiting).stdout
    reset = cluster.manage("job", "reset", running).stdout
    assert "5 tasks revoked" in reset
    retried = cluster.manage("job", "retry", waiting).stdout
    assert "one.example begins again from the beginning" in retried
    refused = cluster.manage("job", "retry", running, check=False)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "failed or was stopped" in refused.stderr
    assert "Stages at once on web-01: 7" in cluster.manage("node", "scale", "web-01", "7").stdout
    assert cluster.manage("node", "list").stdout.splitlines()[1].split()[:5] == [
        *("web-01", "offline", "7", "0", "1")
    ]
