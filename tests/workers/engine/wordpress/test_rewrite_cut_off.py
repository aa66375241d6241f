"""A rewrite that is cut off while the server carries it out has changed nothing."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable

import pytest

from tests.servers.mariadb import MariaDBServer
from workers.engine.databases.base import DatabaseSpec
from workers.engine.errors import StopRequested
from workers.engine.progress import SilentReporter
from workers.engine.wordpress.rewrite import rewrite_site

# The last row of many, so that most of the transaction has been carried out when it must wait.
ROWS = 3000
SCHEMA = f"""
CREATE TABLE wp_options (option_id INT PRIMARY KEY, option_name VARCHAR(191), option_value TEXT);
INSERT INTO wp_options SELECT seq, CONCAT('o', seq), 'http://old.example/' FROM seq_1_to_{ROWS};
"""
HELD = (
    f"START TRANSACTION; SELECT * FROM wp_options WHERE option_id = {ROWS} FOR UPDATE;"
    "SELECT SLEEP(300);"
)


def wait_until(is_so: Callable[[], bool]) -> None:
    give_up_at = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < give_up_at
        time.sleep(0.05)


@pytest.fixture
def database(mariadb_server: MariaDBServer) -> str:
    name = mariadb_server.create_database()
    mariadb_server.execute(SCHEMA, name)
    return name


def test_nothing_changes_when_it_is_stopped_amid_the_transaction(
    mariadb_server: MariaDBServer, database: str
):
    server = mariadb_server

    def running(words: str) -> bool:
        return words in server.execute(
            "SELECT INFO FROM information_schema.PROCESSLIST"
            f" WHERE DB = '{database}' AND ID <> CONNECTION_ID() AND INFO IS NOT NULL"
        )

    def connections() -> int:
        return int(
            server.execute(
                f"SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE DB = '{database}'"
            )
        )

    is_waiting = False
    reporter = SilentReporter()

    def check() -> None:
        nonlocal is_waiting
        # Asked for each row, and asking the server takes a while: only once it is its turn.
        if reporter.details[-1:] == ["Writing what was rewritten"] and running("UPDATE"):
            is_waiting = True
            raise StopRequested

    spec = DatabaseSpec(
        "mysql", database, host=server.host, port=server.port, user="root", password=server.password
    )
    holder = subprocess.Popen(
        [*server.client_argv, database, "-e", HELD],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_until(lambda: running("SLEEP"))
        with pytest.raises(StopRequested):
            rewrite_site(
                spec,
                prefix="wp_",
                old_url="http://old.example",
                new_url="https://new.example",
                check=check,
                reporter=reporter,
            )
    finally:
        holder.kill()
        holder.wait()
    assert is_waiting
    server.execute(
        "".join(
            f"KILL {number};"
            for number in server.execute(
                "SELECT ID FROM information_schema.PROCESSLIST"
                f" WHERE DB = '{database}' AND INFO LIKE '%SLEEP%' AND ID <> CONNECTION_ID()"
            ).split()
        )
        or "SELECT 1"
    )
    wait_until(lambda: connections() == 0)
    values = server.execute("SELECT DISTINCT option_value FROM wp_options", database).split()
    assert values == ["http://old.example/"]
