"""One installation that faults are injected into, and what tests ask and demand of it."""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from tests.faults.sites import SiteDatabase, make_large_site, make_small_site
from tests.faults.trees import WorkerTree
from tests.servers import wait_until
from tests.servers.cluster import ROOT, Cluster
from tests.servers.moto import S3Server
from tests.servers.redis import RedisServer

STAGES = ("backup_db", "backup_files", "create_bundle", "upload_remote", "cleanup")
LEASE_SECONDS = 6
CLAIM_SECONDS = 3
GRACE_SECONDS = 2
# What production measures in minutes, so that a test sees it in seconds.
SETTINGS = {
    "HOLDFAST_LEASE_SECONDS": str(LEASE_SECONDS),
    "HOLDFAST_CLAIM_SECONDS": str(CLAIM_SECONDS),
    "HOLDFAST_AGENT_SECONDS": "0.5",
    "HOLDFAST_HEARTBEAT_SECONDS": "2",
    "HOLDFAST_TIDY_SECONDS": "5",
    "HOLDFAST_GRACE_SECONDS": str(GRACE_SECONDS),
    "HOLDFAST_LEADER_SECONDS": "3",
    # The large site is backed up so often that its first backups would go.
    "HOLDFAST_RETENTION": "false",
}
# What is in the command of the process that an attempt starts for a stage's main work.
CHILDREN = {"backup_db": "--single-transaction", "backup_files": "reader_process"}
# So many files take a cleanup long enough to be met in it.
LITTER_FILES = 20_000
ANSWER_SECONDS = 30
# A stage may be over in no time; an end lasts, and whoever looks takes from those who work.
LOOK_SECONDS, END_LOOK_SECONDS = 0.03, 0.2


class Console:
    """Asks the installation's rows; see `tests.faults.console`."""

    def __init__(self, cluster: Cluster) -> None:
        environment = {**os.environ, **cluster.environment}
        self._log = (cluster.directory / "console.log").open("ab")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.console"],
            cwd=ROOT,
            env={**environment, "DJANGO_SETTINGS_MODULE": "panel.settings"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            bufsize=1,
        )
        assert self._read() == ["ready", None]

    def ask(self, name: str, **arguments: Any) -> Any:
        """Ask one question; what failed over there fails here, with its traceback."""
        self._process.stdin.write(json.dumps([name, arguments]) + "\n")
        answer, error = self._read()
        assert error is None, error
        return answer

    def close(self) -> None:
        self._process.stdin.close()
        self._process.wait(timeout=20)
        self._process.stdout.close()
        self._log.close()

    def _read(self) -> Any:
        ready, _, _ = select.select([self._process.stdout], [], [], ANSWER_SECONDS)
        assert ready, f"the console said nothing for {ANSWER_SECONDS} s"
        line = self._process.stdout.readline()
        assert line, "the console has ended, see console.log"
        return json.loads(line)


@dataclass
class Rig:
    """A running installation with a large site in MariaDB and on disk, stored in S3."""

    cluster: Cluster
    redis: RedisServer
    s3: S3Server
    console: Console
    database: SiteDatabase
    local_store: Path | None = None
    site: int = 0
    node: dict[str, Any] = field(default_factory=dict)
    trees: dict[str, WorkerTree] = field(default_factory=dict)
    _numbers: Iterator[int] = field(default_factory=lambda: count(1))

    # -- setting up -------------------------------------------------------------------------

    def set_up(self) -> None:
        """Add the storage and the large site; the worker runs already."""
        storage: dict[str, Any] = {"type": "s3", "config": self.s3.config()}
        if self.local_store is not None:
            self.local_store.mkdir()
            storage = {"type": "local", "config": {"path": str(self.local_store)}}
        body = {"name": "store", "is_default": True, **storage}
        answer = self.cluster.post("/api/v1/storage/providers", body)
        assert answer.status == 201, answer
        self.node = self.console.ask("node")
        path = make_large_site(self.cluster.directory / "large.example.com", self.database)
        self.site = self.add_site(path)

    def add_site(self, path: Path) -> int:
        answer = self.cluster.post("/api/v1/sites/manual", {"path": str(path), "name": path.name})
        assert answer.status in (200, 201), answer
        return int(answer.body["id"])

    def add_small_sites(self, number: int) -> list[int]:
        """Add sites whose backups take next to no time."""
        names = [f"small-{next(self._numbers)}.example.com" for _ in range(number)]
        return [self.add_site(make_small_site(self.cluster.directory / name)) for name in names]

    # -- workers ----------------------------------------------------------------------------

    @property
    def worker(self) -> WorkerTree:
        """The worker that was started last."""
        return list(self.trees.values())[-1]

    def start_worker(
        self, *, wait: bool = False, environment: Mapping[str, str] | None = None
    ) -> WorkerTree:
        """Start one more worker of the node; nothing is waited for unless asked."""
        name = f"worker-{next(self._numbers)}"
        daemon = self.cluster.start_worker(name, environment=environment, wait=wait)
        self.trees[name] = WorkerTree(name, daemon)
        return self.trees[name]

    def end_worker(self, tree: WorkerTree) -> None:
        """Be rid of a worker, whatever state it is in; one that is frozen never wakes."""
        tree.kill_all()
        self.trees.pop(tree.name, None)
        self.cluster.daemons.pop(tree.name, None)

    def make_ready(self) -> None:
        """Undo what an earlier test left broken: one failure must not be the next one's cause."""
        if not self.redis.alive:
            self.redis.start()
        self.redis.thaw()
        for tree in list(self.trees.values()):
            if not tree.is_whole():
                self.end_worker(tree)
        for tree in list(self.trees.values())[1:]:
            self.end_worker(tree)
        if not self.trees:
            self.start_worker(wait=True)
        for job_id in self.console.ask("active_jobs"):
            site = self.job(job_id)["site_id"]
            self.cluster.post(f"/api/v1/daemon/backup/reset/{site}")

    # -- storage ----------------------------------------------------------------------------

    @property
    def prefix(self) -> str:
        """What every key of this installation's begins with."""
        return f"{self.node['uuid']}/"

    def objects(self) -> dict[str, str]:
        """The keys in the store, each with what changes when its content does."""
        if self.local_store is not None:
            return {
                str(path.relative_to(self.local_store)): str(path.stat().st_mtime_ns)
                for path in self.local_store.rglob("*")
                if path.is_file() and not _is_companion(path)
            }
        answer = self.s3.client().list_objects_v2(Bucket=self.s3.bucket, Prefix=self.prefix)
        return {
            one["Key"]: f"{one['ETag']} {one['LastModified']}" for one in answer.get("Contents", [])
        }

    def uploads(self) -> list[str]:
        """The keys of unfinished uploads."""
        return [] if self.local_store is not None else self.s3.uploads(self.prefix)

    def fetch(self, key: str, path: Path) -> None:
        """Get a stored bundle."""
        if self.local_store is not None:
            shutil.copyfile(self.local_store / key, path)
        else:
            self.s3.client().download_file(self.s3.bucket, key, str(path))

    # -- jobs -------------------------------------------------------------------------------

    def start(self, site: int | None = None) -> str:
        """Start a backup and return the job's id."""
        answer = self.cluster.post(f"/api/v1/sites/{site or self.site}/backup/start")
        assert answer.status == 202, answer
        return str(answer.body["job_id"])

    def job(self, job_id: str) -> dict[str, Any]:
        row: dict[str, Any] = self.console.ask("job", job_id=job_id)
        return row

    def events(self, job_id: str, kind: str = "") -> list[dict[str, Any]]:
        found = self.console.ask("events", job_id=job_id)
        return [event for event in found if not kind or event["kind"] == kind]

    def folder(self, job: Mapping[str, Any]) -> Path:
        return self.cluster.spool / str(job["folder_name"])

    def wait_for_job(
        self,
        job_id: str,
        condition: Callable[[dict[str, Any]], object],
        timeout: float,
        what: str,
        pause: float = LOOK_SECONDS,
    ) -> dict[str, Any]:
        """Return the job once a condition of its row holds."""
        deadline = time.monotonic() + timeout
        while True:
            job = self.job(job_id)
            if condition(job):
                return job
            if time.monotonic() > deadline:
                events = self.events(job_id)[-8:]
                lines = "\n".join(f"{one['created_at']} {one['message']}" for one in events)
                raise AssertionError(
                    f"not within {timeout} s: {what}; {job['state']} at stage "
                    f"{job['stages_done']}, {job['error_message']}\n{lines}"
                )
            time.sleep(pause)

    def wait_until_inside(self, job_id: str, stage: str, timeout: float = 60) -> dict[str, Any]:
        """Return the job once an attempt is in the middle of a stage, and not just at its door."""
        if stage == "cleanup":
            self._litter(job_id)
        return self.wait_for_job(
            job_id, lambda job: self._is_inside(job, stage), timeout, f"inside {stage}"
        )

    def wait_for_claim(self, job: Mapping[str, Any], timeout: float) -> dict[str, Any]:
        """Return the job once another attempt than that of `job` has begun, or it has gone on."""
        then = (job["epoch"], job["stages_done"])
        return self.wait_for_job(
            str(job["id"]),
            lambda now: (
                (now["epoch"], now["stages_done"]) > then
                and (now["token"] or now["state"] == "completed")
            ),
            timeout,
            f"somebody went on with stage {job['stages_done']} of epoch {job['epoch']}",
        )

    def wait_for_end(self, job_id: str, timeout: float = 90) -> dict[str, Any]:
        """Return the job once it is at its end."""
        ends = ("completed", "failed", "stopped", "reset")
        return self.wait_for_job(
            job_id, lambda job: job["state"] in ends, timeout, "the end", END_LOOK_SECONDS
        )

    def hold(self, job_id: str, stage: str) -> dict[str, Any]:
        """Freeze the process of the attempt in the middle of a stage, and return the job.

        Not while it holds a lock on the rows: that is a fault of its own.
        """
        while True:
            job = self.wait_until_inside(job_id, stage)
            child = self.worker.stage_process(job)
            child.suspend()
            if self.console.ask("writable"):
                break
            child.resume()
        held = self.job(job_id)
        assert (held["state"], held["token"]) == ("running", job["token"]), f"{stage} was too short"
        return held

    @contextlib.contextmanager
    def held_dump(self) -> Iterator[None]:
        """Let no dump of the large site end: somebody has locked a table."""
        with self.database.locked_table():
            yield

    def queued_messages(self) -> list[bytes]:
        """The messages that wait in Redis for the node's workers."""
        messages: list[bytes] = self.redis.client().lrange(self.node["queue"], 0, -1)
        return messages

    def _is_inside(self, job: Mapping[str, Any], stage: str) -> bool:
        position = STAGES.index(stage)
        assert job["stages_done"] <= position, f"{stage} is over already"
        if job["state"] != "running" or job["stages_done"] != position:
            return False
        if stage == "upload_remote":
            return bool(job["stages"][stage]["checkpoint"])
        if stage == "cleanup":
            return True
        token = str(job["token"]).replace("-", "")
        is_writing = (self.folder(job) / f"{stage}-{job['epoch']}-{token}").is_dir()
        # A dump and a reading of files have processes of their own, which must not survive.
        if not is_writing or stage not in CHILDREN:
            return is_writing
        return any(self.worker.children_of(job, CHILDREN[stage]))

    def _litter(self, job_id: str) -> None:
        """Put so much into the job's folder that its removal takes a while."""
        litter = self.cluster.directory / f"litter-{next(self._numbers)}"
        litter.mkdir()
        for number in range(LITTER_FILES):
            os.close(os.open(litter / str(number), os.O_CREAT | os.O_WRONLY))
        folder = self.folder(self.job(job_id))
        wait_until(folder.exists, 30, f"{folder} exists")
        litter.rename(folder / "litter")


def _is_companion(path: Path) -> bool:
    """Whether it holds what a folder cannot know of the object beside it, such as its checksum."""
    name = path.name.removeprefix(".holdfast-").removesuffix(".json")
    return name != path.name and path.with_name(name).is_file()
