"""What `manage.py demo` does: backs a site up through the API, restores it with `tar`, compares."""

from __future__ import annotations

import secrets
import signal
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

from rich.console import Console

from workers.embedded import restoring
from workers.embedded.client import Client, Refused
from workers.embedded.cluster import Cluster, wait_quietly
from workers.embedded.folder import DemoFolder, open_folder
from workers.embedded.restoring import Source, Verdict
from workers.embedded.sample_site import FULL, Shape, make_sample_site
from workers.embedded.supervisor import supervise
from workers.engine.errors import EngineError

EMAIL = "admin@demo.example"
STORAGE = "demo"
SAMPLE_NAME = "demo.example"
FOLLOW_SECONDS = 0.5
# Site, bundle and restored files, of the sample; of somebody's own site only they know.
SAMPLE_ROOM_BYTES = 800_000_000
ENDED_BY_HAND = 130


class Follower(Protocol):
    """Shows the status objects of the wire contract as they come."""

    def show(self, status: dict[str, Any]) -> None:
        """Show one."""


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """What the person asked for. `site` is None for the sample, which has the size of `shape`."""

    root: Path
    site: Path | None = None
    exit_at_end: bool = False
    shape: Shape = FULL


class Demo:
    """One run of the demo. `run` returns the exit status."""

    def __init__(
        self,
        options: DemoOptions,
        console: Console,
        follow: Callable[[], AbstractContextManager[Follower]],
    ) -> None:
        self._options = options
        self._console = console
        self._follow = follow

    def run(self) -> int:
        """Do it all: 0 when the restored site is what was backed up, else 1.

        Raises `EngineError` when something could not even be tried.
        """
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, _interrupt)
        status = ENDED_BY_HAND
        with open_folder(self._options.root) as folder:
            site = self._site(folder)
            source = restoring.source_of(site, is_sample=self._options.site is None)
            self._say("Starting Redis, coordinator, worker and panel …")
            with supervise(folder.root, folder.logs, held=(folder.lock,)) as supervisor:
                try:
                    cluster = Cluster(folder, supervisor)
                    password = secrets.token_urlsafe(12)
                    # A wp-config.php may lie one folder above its site.
                    roots = {site, source.roots["wp-config.php"].parent}
                    cluster.start(email=EMAIL, password=password, roots=sorted(roots))
                    self._say_where(cluster, password)
                    status = self._back_up_and_compare(folder, cluster, site, source, password)
                    self._stay(cluster)
                except KeyboardInterrupt:
                    self._say("Ending …")
                finally:
                    # A second Ctrl-C must not leave behind what the first one is ending.
                    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                        signal.signal(number, signal.SIG_IGN)
        return status

    def _say(self, text: str) -> None:
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)

    def _say_where(self, cluster: Cluster, password: str) -> None:
        self._say(
            f"The dashboard is at {cluster.url}/admin/backup-maintenance/, "
            f"the API's description at {cluster.url}/docs"
        )
        self._say(f"Sign in as {EMAIL} with the password {password}")
        self._say("(It is kept as a hash only, and each start of the demo makes a new one.)")

    def _site(self, folder: DemoFolder) -> Path:
        if self._options.site is not None:
            return self._options.site.resolve()
        if not folder.site.exists():
            restoring.require_room(folder.root, SAMPLE_ROOM_BYTES)
            self._say(f"Making a sample site in {folder.site} …")
        make_sample_site(folder.site, self._options.shape)
        return folder.site

    def _back_up_and_compare(
        self, folder: DemoFolder, cluster: Cluster, site: Path, source: Source, password: str
    ) -> int:
        client = cluster.client
        client.sign_in(EMAIL, password)
        _add_storage(client, folder.bundles)
        name = "" if self._options.site else SAMPLE_NAME
        site_id = _site_id(client, cluster, site, name)
        status = self._back_up(client, cluster, site_id)
        if status["status"] != "completed":
            self._say(f"The backup {status['status']}: {status['error'] or status['message']}")
            return 1
        bundle = self._bundle(client, folder, site_id, status)
        command = restoring.restore(bundle, folder.restored, check=cluster.check)
        self._say(f"Restored with {command} into {folder.restored}")
        scratch = folder.root / "compared.sqlite3"
        return self._say_verdict(restoring.compare(source, folder.restored, scratch))

    def _back_up(self, client: Client, cluster: Cluster, site_id: int) -> dict[str, Any]:
        """Start the backup and show how it goes on; return the status it ended with."""
        try:
            started = client.post(f"/api/v1/sites/{site_id}/backup/start")
            self._say(f"{started['message']}, job {started['job_id']}")
        except Refused as error:
            if error.code != "backup_already_running":
                raise
            self._say("A backup that an earlier demo began goes on; following it")
        with self._follow() as follower:
            while True:
                status: dict[str, Any] = client.get(f"/api/v1/sites/{site_id}/backup/status")
                follower.show(status)
                if status["status"] != "running":
                    return status
                wait_quietly(cluster, FOLLOW_SECONDS)

    def _bundle(
        self, client: Client, folder: DemoFolder, site_id: int, status: dict[str, Any]
    ) -> Path:
        """Return the bundle's file once it is seen to be what the panel says it is."""
        backups = client.get(f"/api/v1/sites/{site_id}/backups")["backups"]
        backup = next(one for one in backups if one["job_id"] == status["job_id"])
        bundle = next(folder.bundles.rglob(backup["filename"]), None)
        if bundle is None:
            raise EngineError(f"{backup['filename']} is not below {folder.bundles}")
        if bundle.stat().st_size != backup["size_bytes"]:
            raise EngineError(f"{bundle} is not {backup['size_bytes']} bytes, as the panel says")
        if restoring.sha256_of(bundle) != backup["sha256"]:
            raise EngineError(f"{bundle} has another sha256 than the panel says")
        took = datetime.fromisoformat(status["finished_at"]) - datetime.fromisoformat(
            status["started_at"]
        )
        self._say(f"Bundle   {bundle}")
        self._say(f"size     {backup['size_bytes'] / 1e6:.1f} MB")
        self._say(f"time     {took.total_seconds():.1f} s")
        self._say(f"sha256   {backup['sha256']}")
        return bundle

    def _say_verdict(self, verdict: Verdict) -> int:
        for line in verdict.lines:
            self._say(f"  {line}")
        for problem in verdict.problems[: restoring.SHOWN_DIFFERENCES]:
            self._say(f"  DIFFERENT: {problem}")
        if verdict.problems:
            self._say(f"The restored site differs in {len(verdict.problems)} ways.")
            return 1
        self._say("The restored site is what was backed up.")
        return 0

    def _stay(self, cluster: Cluster) -> None:
        if self._options.exit_at_end:
            return
        self._say(f"The dashboard stays up at {cluster.url}/ until Ctrl-C.")
        while True:
            wait_quietly(cluster, 60)


def _interrupt(number: int, frame: FrameType | None) -> None:
    """End as Ctrl-C does: when the terminal closes, or somebody asks for it."""
    raise KeyboardInterrupt


def _add_storage(client: Client, bundles: Path) -> None:
    """Add the demo's storage through the API, at the first start."""
    if any(one["name"] == STORAGE for one in client.get("/api/v1/storage/providers")):
        return
    bundles.mkdir(mode=0o700, exist_ok=True)
    wanted = {
        "name": STORAGE,
        "type": "local",
        "config": {"path": str(bundles)},
        "is_default": True,
    }
    client.post("/api/v1/storage/providers", wanted)


def _site_id(client: Client, cluster: Cluster, path: Path, name: str) -> int:
    """Return the site at `path`, added through the API when it is new; an empty name is found."""
    for site in client.get("/api/v1/sites/?limit=100")["sites"]:
        if site["wp_path"] == str(path):
            return int(site["id"])
    wanted = {"path": str(path), "name": name} if name else {"path": str(path)}
    answer = client.post("/api/v1/sites/manual", wanted)
    while answer.get("code") == "pending":
        wait_quietly(cluster, FOLLOW_SECONDS)
        answer = client.get(answer["status_url"])
    return int(answer["id"])
