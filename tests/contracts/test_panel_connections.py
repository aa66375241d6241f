"""A panel under uvicorn keeps its connections to MySQL and PostgreSQL, and replaces dead ones."""

from __future__ import annotations

import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import dj_database_url
import MySQLdb
import psycopg
import pytest

from panel.threads import KEPT_THREADS
from tests.servers import wait_until
from tests.servers.cluster import Cluster

pytestmark = pytest.mark.slow
VIEWERS = 12
MAKE_JOB = """
from pathlib import Path
from tests.workers.factories import dispatched_job, make_site
site = make_site(Path({directory!r}), "example.com")
dispatched_job(site)
print(site.pk)
"""
Query = Callable[[str], list[Any]]


@pytest.fixture(scope="module")
def panel(panel_database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    if panel_database_url.startswith("sqlite:"):
        pytest.skip("SQLite has no server")
    directory = tmp_path_factory.mktemp("panel")
    settings = {"HOLDFAST_DATABASE_CONNECTION_SECONDS": "60"}
    cluster = Cluster(directory, panel_database_url, "redis://127.0.0.1:9/0", settings)
    with cluster.warmed_up():
        cluster.set_up(directory)
        cluster.start_panel()
        yield cluster


@pytest.fixture
def sessions(panel: Cluster) -> Iterator[Callable[[], set[int]]]:
    """Return what tells the ids of the panel's connections, as the server sees them."""
    with _server(panel.database_url) as (query, name):
        mysql = f"SELECT id FROM information_schema.processlist WHERE db = '{name}'"
        postgres = f"SELECT pid FROM pg_stat_activity WHERE datname = '{name}'"
        sql = mysql if panel.database_url.startswith("mysql:") else postgres
        yield lambda: {row[0] for row in query(sql)}


@pytest.fixture
def kill(panel: Cluster) -> Iterator[Callable[[int], object]]:
    with _server(panel.database_url) as (query, _):
        is_mysql = panel.database_url.startswith("mysql:")
        how = "KILL {}" if is_mysql else "SELECT pg_terminate_backend({})"
        yield lambda session: query(how.format(session))


class _server:
    """A connection of our own to the server, in no database of the panel's."""

    def __init__(self, url: str) -> None:
        self._is_mysql = url.startswith("mysql:")
        self._parsed = dj_database_url.parse(url)

    def __enter__(self) -> tuple[Query, str]:
        parsed = self._parsed
        login = {"host": parsed["HOST"], "port": parsed["PORT"], "user": parsed["USER"]}
        self._connection: Any
        if self._is_mysql:
            self._connection = MySQLdb.connect(password=parsed["PASSWORD"], **login)
        else:
            self._connection = psycopg.connect(
                password=parsed["PASSWORD"], dbname="postgres", autocommit=True, **login
            )
        return self._query, parsed["NAME"]

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def _query(self, sql: str) -> list[Any]:
        cursor = self._connection.cursor()
        cursor.execute(sql)
        return list(cursor.fetchall()) if cursor.description else []


def ask(panel: Cluster, times: int, at_once: int = 1) -> None:
    with ThreadPoolExecutor(at_once) as pool:
        answers = list(pool.map(lambda _: panel.get("/api/v1/sites/").status, range(times)))
    assert answers == [200] * times


def test_requests_one_after_the_other_use_hardly_more_than_one_connection(
    panel: Cluster, sessions: Callable[[], set[int]]
) -> None:
    ask(panel, 5)
    before = sessions()
    ask(panel, 30)
    # A request that comes before the last one's thread is back gets another.
    assert before
    assert before <= sessions()
    assert len(sessions()) <= 3


def test_no_more_connections_stay_than_threads_are_kept(
    panel: Cluster, sessions: Callable[[], set[int]]
) -> None:
    ask(panel, 120, at_once=KEPT_THREADS + 10)
    wait_until(lambda: len(sessions()) <= KEPT_THREADS, 10)
    ask(panel, 20)
    assert 1 <= len(sessions()) <= KEPT_THREADS


def test_next_requests_succeed_when_all_connections_were_killed(
    panel: Cluster, sessions: Callable[[], set[int]], kill: Callable[[int], object]
) -> None:
    ask(panel, 20, at_once=4)
    killed = sessions()
    for session in killed:
        kill(session)
    wait_until(lambda: not sessions(), 10)
    ask(panel, 20, at_once=4)
    assert sessions().isdisjoint(killed)


def test_viewers_of_a_stream_hold_no_connection_each(
    panel: Cluster, sessions: Callable[[], set[int]]
) -> None:
    code = MAKE_JOB.format(directory=str(panel.directory))
    site = panel.manage("shell", "--verbosity", "0", "-c", code).stdout.strip()
    before = len(sessions())
    request = urllib.request.Request(
        f"http://127.0.0.1:{panel.port}/api/v1/daemon/backup/stream/{site}",
        headers={"Authorization": f"Bearer {panel.token}"},
    )
    with ExitStack() as stack:
        for _ in range(VIEWERS):
            answer = stack.enter_context(urllib.request.urlopen(request, timeout=20))
            # It streams by now.
            assert answer.readline()
        assert len(sessions()) <= max(before, 1) + 2
