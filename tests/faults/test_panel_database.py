"""The panel's database: restarted in mid-stage, gone for longer than the lease, and its clock."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import psutil
import pytest

from tests.faults.checks import assert_completed_once
from tests.faults.clock import wrong_clock
from tests.faults.conftest import RigMaker
from tests.faults.rig import CHILDREN, LEASE_SECONDS, STAGES, Rig
from tests.faults.trees import is_alive
from tests.servers import wait_until
from tests.servers.mariadb import MariaDBServer, start_mariadb
from tests.servers.postgres import PostgresServer, start_postgres

pytestmark = pytest.mark.slow

Server = MariaDBServer | PostgresServer
# Five hours off UTC.
ELSEWHERE, ELSEWHERE_BY_NAME = "+05:00", "Asia/Karachi"
# An attempt gives itself up after two thirds of its lease; it looks twice a second.
FENCED_SECONDS = LEASE_SECONDS * 2 / 3 + 3.0
# Every process has to find out by itself that the database is back.
BACK_SECONDS = 2 * LEASE_SECONDS
# How wrong a worker's clock is, beside each database.
WRONG_BY_SECONDS = {MariaDBServer: +3600, PostgresServer: -3600}


def start_server(kind: str, stack: ExitStack) -> tuple[Server, str]:
    """Start a database server; return it with the URL of an empty database."""
    server: Server = start_mariadb(stack) if kind == "mariadb" else start_postgres(stack)
    scheme = "mysql" if kind == "mariadb" else "postgres"
    login = f"{quote(server.user, safe='')}:{quote(server.password, safe='')}"
    return server, f"{scheme}://{login}@127.0.0.1:{server.port}/{server.create_database()}"


def move_elsewhere(server: Server) -> None:
    """Give sessions a time zone far from UTC, unless they ask for another one."""
    if isinstance(server, MariaDBServer):
        server.execute(f"SET GLOBAL time_zone = '{ELSEWHERE}'")
    else:
        server.execute(f"ALTER SYSTEM SET timezone = '{ELSEWHERE_BY_NAME}'")
        server.execute("SELECT pg_reload_conf()")


@pytest.fixture(scope="module", params=["mariadb", "postgres"])
def server_and_rig(
    request: pytest.FixtureRequest, make_rig: RigMaker
) -> Iterator[tuple[Server, Rig]]:
    with ExitStack() as stack:
        server, url = start_server(request.param, stack)
        # A store in a folder: object stores refuse requests whose clock is wrong.
        rig = stack.enter_context(make_rig(url, is_local=True))
        yield server, rig


@pytest.fixture
def server(server_and_rig: tuple[Server, Rig]) -> Server:
    server, _ = server_and_rig
    if not server.alive:
        server.restart()
    move_elsewhere(server)
    return server


@pytest.fixture
def own_rig(server_and_rig: tuple[Server, Rig], server: Server) -> Rig:
    _, rig = server_and_rig
    rig.make_ready()
    return rig


def test_job_completes_when_the_database_is_restarted_in_mid_stage(
    own_rig: Rig, server: Server
) -> None:
    rig = own_rig
    with rig.held_dump():
        job_id = rig.start()
        inside = rig.wait_until_inside(job_id, "backup_db")
        (dump,) = rig.worker.children_of(inside, CHILDREN["backup_db"])
        server.stop_at_once()
    # The stage ends while nobody can be told.
    wait_until(lambda: not is_alive(dump), LEASE_SECONDS / 2, "the dump has ended")
    server.restart()
    assert_completed_once(rig, job_id)
    assert [event["stage"] for event in rig.events(job_id, "claimed")] == list(STAGES)


def test_attempt_fences_itself_and_goes_on_when_the_database_was_gone_for_longer_than_the_lease(
    own_rig: Rig, server: Server
) -> None:
    rig = own_rig
    with rig.held_dump():
        job_id = rig.start()
        inside = rig.wait_until_inside(job_id, "backup_db")
        (dump,) = rig.worker.children_of(inside, CHILDREN["backup_db"])
        assert is_alive(dump)
        server.stop_at_once()
        gone_at = time.monotonic()
        wait_until(lambda: not is_alive(dump), FENCED_SECONDS, "the dump was killed")
        fenced_after = time.monotonic() - gone_at
        assert psutil.pid_exists(inside["process_id"]), "the pool's process itself lives on"
        wait_until(lambda: time.monotonic() > gone_at + LEASE_SECONDS, 2 * LEASE_SECONDS)
        server.restart()
    began = time.monotonic()
    rig.wait_for_claim(inside, BACK_SECONDS)
    took = time.monotonic() - began
    assert_completed_once(rig, job_id)
    print(
        f"database gone: fenced after {fenced_after:.1f} s, goes on {took:.1f} s after it is back"
    )


def test_nothing_is_taken_for_lost_when_the_workers_clock_is_wrong(
    own_rig: Rig, server: Server
) -> None:
    rig = own_rig
    rig.end_worker(rig.worker)
    shift = WRONG_BY_SECONDS[type(server)]
    rig.start_worker(wait=True, environment=wrong_clock(rig.cluster.directory, shift))
    with rig.held_dump():
        job_id = rig.start()
        inside = rig.wait_until_inside(job_id, "backup_db")
        # Long enough for every renewal but the last to be out of date.
        until = time.monotonic() + LEASE_SECONDS + 1
        now = rig.wait_for_job(
            job_id, lambda job: time.monotonic() > until, LEASE_SECONDS + 5, "the lease is over"
        )
        assert (now["state"], now["token"]) == ("running", inside["token"])
        node = rig.cluster.get(f"/api/v1/nodes/{rig.node['id']}").body
        assert node["status"] == "online", node
    # What is read back is the time in UTC, whatever the session's and the worker's may be.
    started_at = datetime.fromisoformat(inside["started_at"])
    assert abs(datetime.now(UTC) - started_at) < timedelta(minutes=2)
    assert_completed_once(rig, job_id)
    assert {event["epoch"] for event in rig.events(job_id)} == {1}
    rig.end_worker(rig.worker)
