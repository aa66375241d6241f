"""An installation with something of everything to look at."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.browser.people import PEOPLE_PASSWORD, created
from tests.browser.small_fleet import Fleet, running_fleet
from tests.servers.cluster import Cluster, running_sqlite_cluster
from tests.servers.redis import RedisServer
from tests.workers.stages.pipeline import make_sqlite_site

NODE_ADMIN, SITE_ADMIN = "node-admin@example.com", "site-admin@example.com"


@dataclass(frozen=True)
class Lived:
    """A cluster that has been at work: one site has a backup, the other's failed."""

    cluster: Cluster
    node_id: int
    good: dict[str, Any]
    failing: dict[str, Any]


def add_person(cluster: Cluster, email: str, role: str, **assigned: list[int]) -> None:
    """Add somebody who may sign in to the admin, and assign `nodes` or `sites` to them."""
    body = {"email": email, "role": role, "password": PEOPLE_PASSWORD, "is_staff": True}
    person = created(cluster, "/api/v1/users/", body)
    for kind, keys in assigned.items():
        path = f"/api/v1/users/{person['id']}/{kind}"
        answer = cluster.request("PUT", path, {f"{kind[:-1]}_ids": keys})
        assert answer.status == 200, answer


@pytest.fixture(scope="package")
def lived(redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lived]:
    """A cluster for all files that look at it, with a site that is safe and one that is not."""
    with running_sqlite_cluster(tmp_path_factory.mktemp("lived"), redis_server.url) as cluster:
        yield _lived(cluster)


def _lived(cluster: Cluster) -> Lived:
    folder = cluster.directory / "browsed"
    (folder / "store").mkdir(parents=True)
    (folder / "failing.example").mkdir()
    config = {"path": str(folder / "store")}
    body = {"name": "browsed", "type": "local", "config": config}
    storage = created(cluster, "/api/v1/storage/providers", body)
    node_id = cluster.get("/api/v1/nodes/").body[0]["id"]
    make_sqlite_site(folder / "good.example")
    sites = {}
    for name in ("good.example", "failing.example"):
        fields = {"node_id": node_id, "storage_id": storage["id"], "wp_path": str(folder / name)}
        sites[name] = created(cluster, "/api/v1/sites/", {"name": name, **fields})
    for site in sites.values():
        assert cluster.post(f"/api/v1/sites/{site['id']}/backup/start").status == 202
    good, failing = sites["good.example"], sites["failing.example"]
    assert cluster.wait_for_end(good["id"])["status"] == "completed"
    assert cluster.wait_for_end(failing["id"])["status"] == "failed"
    add_person(cluster, NODE_ADMIN, "node_admin", nodes=[node_id])
    add_person(cluster, SITE_ADMIN, "site_admin", sites=[good["id"]])
    return Lived(cluster, node_id, good, failing)


@pytest.fixture(scope="package")
def package_fleet(
    redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Fleet]:
    """A fleet for all files that look at the dashboard."""
    with running_fleet(tmp_path_factory.mktemp("fleet"), redis_server.url) as fleet:
        yield fleet


@pytest.fixture(scope="module")
def shared_fleet(package_fleet: Fleet) -> Fleet:
    """The fleet of all files, as it was at first."""
    package_fleet.begin_anew()
    return package_fleet
