"""Measure how promptly a cluster obeys, on an installation with the product's own settings.

    python -m tests.bench.control [--only start stop recovery chains] [--databases sqlite …]

- start: from sending the POST to the first stage's claim, on an idle cluster, median and worst.
- stop: from sending the POST to the terminal state, of a job that waits for a slot, one whose dump
  waits for its database, and one whose upload waits for its storage.
- recovery: from a SIGKILL to the claim of the same stage by another attempt.
- chains: backups per second through one worker, of sites with almost nothing in them, and with
  stages that do nothing at all, so that only what is round them is left.

Times of what happened are the database's, on the same host as the clock of what was sent. The
MariaDB and PostgreSQL here write without syncing, as in the tests; SQLite is on the disk as it is.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import statistics
import time
from collections.abc import Callable, Sequence

import psutil

from tests.bench.installation import DATABASES, BenchCluster, installation
from tests.servers import wait_until
from tests.servers.faults import FaultProxy, hang
from tests.servers.moto import S3Server

EMPTY = ("-m", "tests.bench.empty_stages")
PRODUCT = ("manage.py",)


def measure_start(options: argparse.Namespace) -> None:
    """Start one backup after another, each on an idle cluster."""
    with installation() as cluster:
        run_everything(cluster)
        sent: dict[str, float] = {}
        answered: list[float] = []
        for site in cluster.make_sites("start", options.starts):
            began = time.time()
            job = cluster.post(f"/api/v1/sites/{site}/backup/start").body["job_id"]
            answered.append(time.time() - began)
            sent[job] = began
            cluster.wait_for_end(site)
        claims: dict[str, float] = {}
        for event in cluster.events():
            if event.kind == "claimed":
                claims.setdefault(event.job, event.at)
        show("start: POST to its answer", answered)
        show("start: POST to the first claim", [claims[job] - at for job, at in sent.items()])


def measure_stop(options: argparse.Namespace) -> None:
    """Stop jobs in three situations, one after another."""
    silent = socket.create_server(("127.0.0.1", 0))
    waits = {
        "db_engine": "mysql", "db_host": "127.0.0.1", "db_port": silent.getsockname()[1],
        "db_name": "x", "db_user": "u", "db_password": "p",
    }  # fmt: skip
    with silent, installation(slots=1) as cluster:
        run_everything(cluster)
        dumping = cluster.make_sites("dump", 1, **waits)[0]
        other = cluster.make_sites("queued", 1)[0]
        show(
            "stop: a dump that waits",
            [stop_in(cluster, dumping, "backup_db") for _ in range(options.stops)],
        )
        cluster.post(f"/api/v1/sites/{dumping}/backup/start")
        wait_for_stage(cluster, dumping, "backup_db")
        show("stop: queued", [stop_in(cluster, other, "") for _ in range(options.stops)])
        stop_now(cluster, dumping)
        uploading = cluster.make_sites("upload", 1)[0]
        proxy = hanging_storage(cluster)
        show(
            "stop: an upload that waits",
            [stop_in(cluster, uploading, "upload_remote") for _ in range(options.stops)],
        )
        proxy.close()


def hanging_storage(cluster: BenchCluster) -> FaultProxy:
    """Give new jobs an S3 storage that takes every request and answers none."""
    proxy = FaultProxy(0)
    proxy.fail(lambda seen: True, hang, times=1 << 30)
    config = S3Server(proxy.port, "backups", "bench-key", "bench-secret").config(read_timeout=600)
    code = f"""
from backups.models import Site, Storage
secrets = {{"secret_access_key": {config.pop("secret_access_key")!r}}}
storage = Storage.objects.create(name="s3", type="s3", config={config!r}, secrets=secrets)
print(Site.objects.update(storage=storage))
"""
    cluster.ask(code)
    return proxy


def stop_in(cluster: BenchCluster, site: int, stage: str) -> float:
    """Start a backup, stop it once it is in `stage`, and return how long the stop took."""
    answer = cluster.post(f"/api/v1/sites/{site}/backup/start")
    assert answer.status == 202, answer
    if stage:
        wait_for_stage(cluster, site, stage)
    return stop_now(cluster, site)


def wait_for_stage(cluster: BenchCluster, site: int, stage: str) -> None:
    """Wait until the site's backup is in a stage, and a moment longer: until it really works."""
    path = f"/api/v1/sites/{site}/backup/status"
    wait_until(lambda: cluster.get(path).body["stage"] == stage, 60, f"{stage} runs")
    time.sleep(0.5)


def stop_now(cluster: BenchCluster, site: int) -> float:
    """Stop the site's backup and return the seconds until its state is final."""
    path = f"/api/v1/sites/{site}/backup"
    began = time.time()
    answer = cluster.post(f"{path}/stop")
    assert answer.status == 202, answer
    wait_until(lambda: cluster.get(f"{path}/status").body["finished_at"], 60, "it is stopped")
    seconds = time.time() - began
    status = cluster.get(f"{path}/status").body
    assert status["status"] == "stopped", status
    return seconds


def measure_recovery(options: argparse.Namespace) -> None:
    """Kill parts of a worker that is busy, start again what an init system would start again."""
    with socket.create_server(("127.0.0.1", 0)) as silent, installation() as cluster:
        run_everything(cluster)
        port = silent.getsockname()[1]
        site = cluster.make_sites(
            "recovery", 1, db_engine="mysql", db_host="127.0.0.1", db_port=port, db_name="x",
            db_user="u", db_password="p",
        )[0]  # fmt: skip
        kills: dict[str, Callable[[BenchCluster], float]] = {
            "recovery: pool child": kill_pool_child,
            "recovery: Celery's main process": kill_celery,
            "recovery: whole worker": kill_worker,
        }
        for title, kill in kills.items():
            seconds = [recover_from(cluster, site, kill) for _ in range(options.kills)]
            show(title, seconds)


def recover_from(cluster: BenchCluster, site: int, kill: Callable[[BenchCluster], float]) -> float:
    """Kill in mid-stage and return the seconds until the next claim; then stop the job."""
    job = cluster.post(f"/api/v1/sites/{site}/backup/start").body["job_id"]
    wait_for_stage(cluster, site, "backup_db")
    killed_at = kill(cluster)
    restart_worker_if_dead(cluster)

    def claims() -> list[float]:
        return [one.at for one in cluster.events() if (one.job, one.kind) == (job, "claimed")]

    wait_until(lambda: len(claims()) == 2, 200, "claimed again")
    stop_now(cluster, site)
    return claims()[-1] - killed_at


def restart_worker_if_dead(cluster: BenchCluster) -> None:
    """Do what systemd does: start the worker again once its main process has ended."""
    worker = cluster.daemons["worker"]
    deadline = time.monotonic() + 5
    while worker.alive and time.monotonic() < deadline:
        time.sleep(0.1)
    if not worker.alive:
        worker.kill()
        cluster.start_worker()


def kill_pool_child(cluster: BenchCluster) -> float:
    """Kill the process of the pool that runs the stage."""
    code = "from backups.models import Job; print(Job.objects.get(state='running').process_id)"
    return _kill(cluster.ask(code))


def kill_celery(cluster: BenchCluster) -> float:
    """Kill the main process of Celery, the agent's only child."""
    return _kill(psutil.Process(cluster.daemons["worker"].pid).children()[0].pid)


def kill_worker(cluster: BenchCluster) -> float:
    """Kill the agent, and with it everything: what it forked has a parent-death signal."""
    return _kill(cluster.daemons["worker"].pid)


def _kill(pid: int) -> float:
    os.kill(pid, signal.SIGKILL)
    return time.time()


def measure_chains(options: argparse.Namespace) -> None:
    """Let one worker do many queued backups at once."""
    for database in options.databases:
        for title, program, number in (
            ("almost empty sites", PRODUCT, options.chains),
            ("empty stages", EMPTY, options.chains * 2),
        ):
            rate, work = chains_per_second(database, program, number, options.slots)
            print(f"chains: {database}, {title}: {rate:.2f}/s, {work:.2f} s of CPU each "
                  f"({number} jobs, {options.slots} slots, load {os.getloadavg()[0]:.1f})",
                  flush=True)  # fmt: skip


def chains_per_second(
    database: str, program: Sequence[str], number: int, slots: int
) -> tuple[float, float]:
    """Queue backups while nobody gives them out, then time the first claim to the last end.

    Returns the rate, and the seconds of processors' time that the worker took for each, which
    other load on the machine disturbs less.
    """
    with installation(database, slots) as cluster:
        cluster.start_panel()
        cluster.make_sites("chain", number, start=True)
        ready = cluster.says("worker", " ready.")
        cluster.start("worker", *program, "worker", "--node", "web-01", ready=ready)
        worked = work_of_worker(cluster)
        cluster.start_coordinator()
        path = "/api/v1/jobs?status=completed&limit=1"
        try:
            wait_until(lambda: _pause() or cluster.get(path).body["total"] == number, 600)
        except AssertionError as error:
            error.add_note(cluster.logs())
            raise
        worked = work_of_worker(cluster) - worked
        events = cluster.events()
        first = min(one.at for one in events if one.kind == "claimed")
        last = max(one.at for one in events if one.kind == "completed")
        claimed = sum(one.kind == "claimed" for one in events)
        assert claimed == number * 5, f"{claimed} claims for {number} jobs"
        return number / (last - first), worked / number


def work_of_worker(cluster: BenchCluster) -> float:
    """Return the processors' time that the worker's processes have used, with what they ran."""
    leader = psutil.Process(cluster.daemons["worker"].pid)
    return sum(sum(one.cpu_times()[:4]) for one in [leader, *leader.children(recursive=True)])


def _pause() -> None:
    # Asking takes a share of the processors that are measured.
    time.sleep(1)


def run_everything(cluster: BenchCluster) -> None:
    """Start the cluster's processes."""
    cluster.start_panel()
    cluster.start_coordinator()
    cluster.start_worker()


def show(title: str, seconds: list[float]) -> None:
    """Print the median and the worst."""
    print(
        f"{title:34} median {statistics.median(seconds):7.3f} s   worst {max(seconds):7.3f} s   "
        f"of {len(seconds)}, load {os.getloadavg()[0]:.1f}",
        flush=True,
    )


MEASURES = {
    "start": measure_start,
    "stop": measure_stop,
    "recovery": measure_recovery,
    "chains": measure_chains,
}


def main() -> None:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=MEASURES, default=list(MEASURES))
    parser.add_argument("--databases", nargs="+", choices=DATABASES, default=list(DATABASES))
    parser.add_argument("--starts", type=int, default=50)
    parser.add_argument("--stops", type=int, default=20)
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--chains", type=int, default=40, help="backups of almost empty sites")
    parser.add_argument("--slots", type=int, default=2, help="of the node, for the chains")
    options = parser.parse_args()
    for name in options.only:
        MEASURES[name](options)


if __name__ == "__main__":
    main()
