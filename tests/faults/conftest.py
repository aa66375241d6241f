"""Installations for the fault tests. They are dear: each is made once and shared."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path

import pytest

from tests.faults.rig import SETTINGS, Console, Rig
from tests.faults.sites import SiteDatabase
from tests.servers import server_directory
from tests.servers.cluster import running_cluster
from tests.servers.mariadb import MariaDBServer
from tests.servers.moto import S3Server
from tests.servers.redis import RedisServer

RigMaker = Callable[..., AbstractContextManager[Rig]]


@pytest.fixture(scope="session")
def site_database(mariadb_server: MariaDBServer) -> SiteDatabase:
    return SiteDatabase(mariadb_server)


@pytest.fixture(scope="session")
def make_rig(site_database: SiteDatabase, moto_s3: S3Server) -> RigMaker:
    """What makes an installation with a Redis of its own; without a database URL, on SQLite."""

    @contextmanager
    def make(database_url: str = "", *, is_local: bool = False) -> Iterator[Rig]:
        with server_directory("faults") as directory, server_directory("redis") as redis_folder:
            redis = RedisServer(redis_folder)
            redis.start()
            url = database_url or f"sqlite:///{directory / 'panel.sqlite3'}"
            try:
                yield from _running(directory, url, redis, is_local)
            finally:
                redis.kill()

    def _running(directory: Path, url: str, redis: RedisServer, is_local: bool) -> Iterator[Rig]:
        with (
            running_cluster(directory, url, redis.url, settings=SETTINGS, workers=0) as cluster,
            closing(Console(cluster)) as console,
        ):
            store = directory / "store" if is_local else None
            rig = Rig(cluster, redis, moto_s3, console, site_database, local_store=store)
            rig.start_worker(wait=True)
            rig.set_up()
            yield rig

    return make


@pytest.fixture(scope="package")
def shared_rig(make_rig: RigMaker) -> Iterator[Rig]:
    with make_rig() as rig:
        yield rig


@pytest.fixture
def rig(shared_rig: Rig) -> Rig:
    """The shared installation, whole again whatever the test before did to it."""
    shared_rig.make_ready()
    return shared_rig


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show what the processes of an installation said when a test in it fails."""
    report = yield
    for argument in getattr(item, "funcargs", {}).values():
        if report.failed and isinstance(argument, Rig):
            report.sections.append(("the installation's logs", argument.cluster.logs()))
    return report
