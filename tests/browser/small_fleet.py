"""A fleet to look at in a browser: two nodes, one of them at work, and sites in every condition."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from playwright.sync_api import Page

from tests.browser.people import PEOPLE_PASSWORD, created
from tests.servers.browser import Tab
from tests.servers.cluster import Cluster, running_cluster

LARGE_BYTES = 12 << 20
# The large site's upload takes about this long.
SLOW_SECONDS = 12
SITES = {
    "good.example": "web-01",
    "failing.example": "web-01",
    "never.example": "web-01",
    "large.example": "web-01",
    "far.example": "web-02",
}
# Of what earlier files did: these sites were never backed up, and nothing is drained or rescaled.
FORGET = """
from backups.actions.usage import count_usage
from backups.models import Backup, Job, Node, Site
sites = Site.objects.filter(name__in=("never.example", "large.example", "far.example"))
Backup.objects.filter(site__in=sites).delete()
Job.objects.filter(site__in=sites).delete()
count_usage(sites)
Node.objects.update(is_draining=False, slots=2)
"""
SLOW_DOWN = "from backups.models import Node; Node.objects.update(upload_bytes_per_second={rate})"


@dataclass
class Fleet:
    """A running installation, and the ids of its nodes and sites by name."""

    cluster: Cluster
    nodes: dict[str, int]
    sites: dict[str, int]
    folder: Path

    def start(self, site: str) -> str:
        """Start a backup as somebody else would, by the API, and return the job's id."""
        answer = self.cluster.post(f"/api/v1/sites/{self.sites[site]}/backup/start")
        assert answer.status == 202, answer
        return str(answer.body["job_id"])

    def status(self, site: str) -> dict[str, Any]:
        body: dict[str, Any] = self.cluster.get(
            f"/api/v1/sites/{self.sites[site]}/backup/status"
        ).body
        return body

    def end_all(self) -> None:
        """Let no backup of an earlier test run on."""
        for job in self.cluster.get("/api/v1/jobs?status=running").body["jobs"]:
            assert self.cluster.request("DELETE", f"/api/v1/jobs/{job['id']}").status in (202, 409)
        for site in self.sites.values():
            self.cluster.wait_for_end(site)

    def break_site(self, site: str) -> None:
        """Take away what the site's backup needs."""
        content = self.folder / site / "wp-content"
        if content.exists():
            content.rename(self.folder / site / "wp-content.away")

    def mend_site(self, site: str) -> None:
        """Let the site's backup succeed from now on."""
        away = self.folder / site / "wp-content.away"
        if away.exists():
            away.rename(self.folder / site / "wp-content")

    def slow_down(self, seconds: int = SLOW_SECONDS) -> None:
        """Let the large site's upload take about so long from now on."""
        self.shell(SLOW_DOWN.format(rate=LARGE_BYTES // seconds))

    def begin_anew(self) -> None:
        """Be as at first: one site is backed up, one failed, the others never were."""
        self.end_all()
        self.slow_down()
        self.break_site("failing.example")
        if self.status("failing.example")["status"] != "failed":
            self.start("failing.example")
            assert self.cluster.wait_for_end(self.sites["failing.example"])["status"] == "failed"
        self.shell(FORGET)

    def shell(self, code: str) -> str:
        """Run code in the panel's shell, and return what it prints."""
        return self.cluster.manage("shell", "--verbosity", "0", "-c", code).stdout.strip()

    def add_person(self, email: str, role: str, *, is_staff: bool = True, **assigned: int) -> int:
        """Add somebody with a `node` or a `site` of theirs, and return their id."""
        body = {"email": email, "role": role, "password": PEOPLE_PASSWORD, "is_staff": is_staff}
        person = created(self.cluster, "/api/v1/users/", body)
        for kind, key in assigned.items():
            self.assign(person["id"], kind, key)
        return int(person["id"])

    def assign(self, person: int, kind: str, *keys: int) -> None:
        """Assign these nodes or sites, and no others, to a person."""
        path = f"/api/v1/users/{person}/{kind}s"
        answer = self.cluster.request("PUT", path, {f"{kind}_ids": list(keys)})
        assert answer.status == 200, answer


def make_site(folder: Path, size: int) -> None:
    """Make a WordPress-shaped folder without a database, with that much that does not compress."""
    uploads = folder / "wp-content" / "uploads"
    uploads.mkdir(parents=True)
    (folder / "wp-content" / "index.php").write_text("<?php // Silence is golden.\n")
    (uploads / "film.mp4").write_bytes(os.urandom(size))


def fill_in(page: Page, email: str, password: str) -> None:
    """Sign in on the page that asks for it."""
    page.locator("[name=username]").fill(email)
    page.locator("[name=password]").fill(password)
    page.locator("[type=submit]").first.click()


def sign_in_at(tab: Tab, path: str, email: str, password: str) -> Page:
    """Go to a page, be sent to sign in, and come back to it."""
    page = tab.open(path)
    fill_in(page, email, password)
    page.wait_for_url(lambda url: "sign-in" not in url and "login" not in url)
    return page


@contextmanager
def running_fleet(
    directory: Path, broker_url: str, settings: dict[str, str] | None = None
) -> Iterator[Fleet]:
    """Yield a fleet: one site is backed up, one failed, the others were never backed up."""
    url = f"sqlite:///{directory / 'panel.sqlite3'}"
    quick = {"HOLDFAST_HEARTBEAT_SECONDS": "2", **(settings or {})}
    with running_cluster(directory, url, broker_url, settings=quick) as cluster:
        fleet = _filled(cluster)
        fleet.start("good.example")
        fleet.break_site("failing.example")
        fleet.start("failing.example")
        assert cluster.wait_for_end(fleet.sites["good.example"])["status"] == "completed"
        assert cluster.wait_for_end(fleet.sites["failing.example"])["status"] == "failed"
        yield fleet


def _filled(cluster: Cluster) -> Fleet:
    folder = cluster.directory / "sites"
    (cluster.directory / "store").mkdir()
    cluster.manage("node", "add", "web-02", "--root", str(folder))
    nodes = {node["name"]: node["id"] for node in cluster.get("/api/v1/nodes/").body}
    config = {"path": str(cluster.directory / "store")}
    storage = created(
        cluster, "/api/v1/storage/providers", {"name": "folder", "type": "local", "config": config}
    )
    ids = {}
    for name, node in SITES.items():
        make_site(folder / name, LARGE_BYTES if name == "large.example" else 1000)
        body = {
            "name": name,
            "node_id": nodes[node],
            "storage_id": storage["id"],
            "wp_path": str(folder / name),
            "db_engine": "none",
        }
        ids[name] = int(created(cluster, "/api/v1/sites/", body)["id"])
    fleet = Fleet(cluster, nodes, ids, folder)
    fleet.slow_down()
    return fleet
