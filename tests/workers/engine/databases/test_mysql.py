from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from tests.servers import wait_until
from tests.servers.mariadb import MariaDBServer
from workers.engine.databases.base import DatabaseSpec, DumpFacts, TableMark
from workers.engine.databases.mysql import MySQLDatabase, optional_arguments, tool_version
from workers.engine.errors import EngineError
from workers.engine.process import find_program

EVERY_BYTE = bytes(range(256)).hex()

ADVERSARIAL = f"""
SET SESSION sql_mode = '';
CREATE TABLE emoji (a VARCHAR(99) CHARACTER SET utf8mb4, b VARCHAR(99) CHARACTER SET latin1);
INSERT INTO emoji VALUES ('👩‍👩‍👧 \\'\\"\\\\ \\n(1),\\r\\n\\t\\0\\Z', 'ÿé'), ('(', ')'),
    ('UNLOCK TABLES;', '\\n');
CREATE TABLE bytes (a BLOB, b BINARY(4), c VARBINARY(300), d LONGBLOB);
INSERT INTO bytes VALUES (0x{EVERY_BYTE}, 0x00, 0x{EVERY_BYTE}, NULL), ('', 0x0A28, '', '');
CREATE TABLE dates (a DATE NOT NULL DEFAULT '0000-00-00', b DATETIME(6), c TIMESTAMP NULL);
INSERT INTO dates VALUES ('0000-00-00', '2020-02-30', NULL), ('2020-00-00', '0000-00-00', 1);
CREATE TABLE numbers (a BIT(5), b BIT(64), c DOUBLE, d DECIMAL(65, 30), e BIGINT UNSIGNED);
INSERT INTO numbers VALUES (b'10101', -1, 0.1 + 2e-17, 1e-30, -1 + 18446744073709551616);
CREATE TABLE json
    (a JSON, b GEOMETRY, c POINT, d ENUM('a', 'b''c'), e SET('x', 'y'), f UUID, g INET6);
INSERT INTO json VALUES ('{{"k": "v\\\\u00e9\\\\n"}}',
    ST_GeomFromText('POLYGON((0 0,1 0,1 1,0 0))'),
    POINT(1.5, -2), 'b''c', 'x,y', UUID(), '::1');
CREATE TABLE generated (a INT, b INT AS (a * 2) VIRTUAL, c INT AS (a + 1) STORED, KEY (b), d INT);
INSERT INTO generated (a, d) VALUES (1, 2), (3, 4);
CREATE TABLE parts (d DATE, KEY (d)) PARTITION BY RANGE (YEAR(d))
    (PARTITION p0 VALUES LESS THAN (2000), PARTITION p1 VALUES LESS THAN MAXVALUE);
INSERT INTO parts VALUES ('1999-01-01'), ('2020-01-01'), (NULL);
CREATE TABLE zero (id INT AUTO_INCREMENT PRIMARY KEY);
SET SESSION sql_mode = 'NO_AUTO_VALUE_ON_ZERO';
INSERT INTO zero VALUES (0), (-1), (5);
CREATE TABLE old (a INT) ENGINE=MyISAM;
INSERT INTO old VALUES (1), (2);
CREATE TABLE parent (id INT PRIMARY KEY);
CREATE TABLE child (id INT, FOREIGN KEY (id) REFERENCES parent (id));
INSERT INTO parent VALUES (1); INSERT INTO child VALUES (1);
CREATE SEQUENCE counter START WITH 7; SELECT NEXTVAL(counter);
CREATE TABLE log (a VARCHAR(99));
CREATE VIEW good AS SELECT a, d FROM generated;
CREATE VIEW again AS SELECT d FROM good;
DELIMITER ;;
CREATE TRIGGER logs AFTER INSERT ON generated FOR EACH ROW BEGIN
    INSERT INTO log VALUES ('x'); SET @text = '
--
-- Table structure for table `fake`
--
LOCK TABLES `log` WRITE;
INSERT INTO `log` VALUES
(1),
(2);
UNLOCK TABLES;
-- Dump completed on 2020-01-01
'; END;;
CREATE PROCEDURE count_all() BEGIN SELECT COUNT(*) FROM log; END;;
CREATE FUNCTION twice(n INT) RETURNS INT DETERMINISTIC RETURN n * 2;;
CREATE EVENT nightly ON SCHEDULE EVERY 1 DAY DO BEGIN DELETE FROM log; END;;
DELIMITER ;
"""
ROWS = {
    "emoji": 3, "bytes": 2, "dates": 2, "numbers": 1, "json": 1, "generated": 2, "parts": 3,
    "zero": 3, "old": 2, "parent": 1, "child": 1, "log": 0, "good": None, "again": None,
}  # fmt: skip


@pytest.fixture
def spec_of(mariadb_server: MariaDBServer) -> Callable[[str], DatabaseSpec]:
    def spec(name: str) -> DatabaseSpec:
        server = mariadb_server
        return DatabaseSpec(
            "mysql", name, server.host, server.port, user=server.user, password=server.password
        )

    return spec


def dumped(spec: DatabaseSpec, scratch: Path) -> tuple[bytes, DumpFacts]:
    with MySQLDatabase(spec).dump(scratch_directory=str(scratch)) as dump:
        text = b"".join(piece for piece in dump if isinstance(piece, bytes))
    return text, dump.facts()


def checksums(server: MariaDBServer, database: str) -> list[str]:
    names = server.execute(
        "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE()"
        " AND TABLE_TYPE = 'BASE TABLE'",
        database,
    ).split()
    answer = server.execute(
        f"CHECKSUM TABLE {','.join(f'`{name}`' for name in names)} EXTENDED", database
    )
    return sorted(answer.replace(f"{database}.", "").splitlines())


def code_of(server: MariaDBServer, database: str) -> list[str]:
    """Everything but rows: definitions of tables, views, triggers, routines and events."""
    answers = [
        server.execute(f"SHOW CREATE {kind} `{name}`", database)
        for kind, name in (
            *(("TABLE", table) for table in ROWS if table not in {"good", "again"}),
            ("VIEW", "good"),
            ("VIEW", "again"),
            ("TRIGGER", "logs"),
            ("EVENT", "nightly"),
            ("PROCEDURE", "count_all"),
            ("FUNCTION", "twice"),
            ("SEQUENCE", "counter"),
        )
    ]
    created = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d\d"  # of a trigger

    return [re.sub(created, "", answer).replace(database, "") for answer in answers]


def test_the_adversarial_database_comes_back(
    mariadb_server: MariaDBServer, spec_of: Callable[[str], DatabaseSpec], tmp_path: Path
) -> None:
    source, target = mariadb_server.create_database(), mariadb_server.create_database()
    mariadb_server.execute(ADVERSARIAL, source)
    text, facts = dumped(spec_of(source), tmp_path)
    mariadb_server.execute(text, target)
    assert len(checksums(mariadb_server, source)) == 12
    assert checksums(mariadb_server, target) == checksums(mariadb_server, source)
    assert code_of(mariadb_server, target) == code_of(mariadb_server, source)
    # A sequence goes on past the numbers that its server had set aside, as after a crash.
    assert int(mariadb_server.execute("SELECT NEXTVAL(counter)", target)) >= 8
    assert facts.tables == ROWS
    assert facts.tool == "mariadb-dump"
    assert "MariaDB" in facts.tool_version
    [warning] = facts.warnings
    assert "old (MyISAM)" in warning


def test_columns_are_reported_when_the_server_rounds_their_values(
    mariadb_server: MariaDBServer, spec_of: Callable[[str], DatabaseSpec], tmp_path: Path
) -> None:
    source, target = mariadb_server.create_database(), mariadb_server.create_database()
    mariadb_server.execute(
        "CREATE TABLE a (exact DOUBLE, rounded FLOAT); INSERT INTO a VALUES (1/3e0, 1/3)", source
    )
    text, facts = dumped(spec_of(source), tmp_path)
    mariadb_server.execute(text, target)
    [warning] = facts.warnings
    assert "a.rounded" in warning
    assert "exact" not in warning.rsplit(":", 1)[1]
    both = f"{source}.a JOIN {target}.a b"
    same = mariadb_server.execute(f"SELECT a.exact = b.exact, a.rounded = b.rounded FROM {both}")
    assert same.split() == ["1", "0"]


def test_the_dump_is_for_every_client_when_the_tool_begins_with_its_sandbox(
    mariadb_server: MariaDBServer, spec_of: Callable[[str], DatabaseSpec], tmp_path: Path
) -> None:
    text, _ = dumped(spec_of(mariadb_server.create_database()), tmp_path)
    assert text.startswith(b"-- MariaDB dump")
    assert b"\\-" not in text


def test_broken_views_are_reported_and_the_rest_comes_back(
    mariadb_server: MariaDBServer, spec_of: Callable[[str], DatabaseSpec], tmp_path: Path
) -> None:
    source, target = mariadb_server.create_database(), mariadb_server.create_database()
    views = "".join(f"CREATE VIEW ok{n} AS SELECT a FROM kept;" for n in range(5))
    mariadb_server.execute(
        "CREATE TABLE kept (a INT); INSERT INTO kept VALUES (1); CREATE TABLE lost (a INT);"
        f"CREATE OR REPLACE USER leaver@localhost; {views}"
        "CREATE VIEW tableless AS SELECT a FROM lost;"
        "CREATE DEFINER=leaver@localhost VIEW `definer less` AS SELECT a FROM kept;"
        "CREATE DEFINER=leaver@localhost SQL SECURITY INVOKER VIEW invoked AS SELECT a FROM kept;"
        "DROP TABLE lost; DROP USER leaver@localhost",
        source,
    )
    estimate = MySQLDatabase(spec_of(source)).estimate()
    text, facts = dumped(spec_of(source), tmp_path)
    mariadb_server.execute(text, target)
    assert len(estimate.warnings) == len(facts.warnings) == 2
    assert any("tableless" in warning and "invalid table" in warning for warning in facts.warnings)
    assert any("definer less" in warning and "definer" in warning for warning in facts.warnings)
    restored = set(mariadb_server.execute("SHOW TABLES", target).split())
    assert restored == {"kept", "invoked", *(f"ok{n}" for n in range(5))}
    assert b"-- definer leaver@localhost, security DEFINER: CREATE VIEW `definer less`" in text
    assert set(facts.tables) == {table.name for table in estimate.tables}


def test_the_rest_is_dumped_when_the_user_may_not_read_routines_and_events(
    mariadb_server: MariaDBServer, spec_of: Callable[[str], DatabaseSpec], tmp_path: Path
) -> None:
    source = mariadb_server.create_database()
    mariadb_server.execute(ADVERSARIAL, source)
    mariadb_server.execute(
        "CREATE OR REPLACE USER reader@'%' IDENTIFIED BY 'p';"
        f"GRANT SELECT, SHOW VIEW, EXECUTE ON {source}.* TO reader@'%'"
    )
    spec = DatabaseSpec(
        "mysql", source, mariadb_server.host, mariadb_server.port, user="reader", password="p"
    )
    _, facts = dumped(spec, tmp_path)
    assert {name: rows for name, rows in facts.tables.items() if rows} == {
        name: rows for name, rows in ROWS.items() if rows
    }
    assert any("routines" in warning and "twice" in warning for warning in facts.warnings)
    assert any("events" in warning for warning in facts.warnings)


def test_error_is_permanent_when_the_user_may_not_read_a_table(
    mariadb_server: MariaDBServer, tmp_path: Path
) -> None:
    source = mariadb_server.create_database()
    mariadb_server.execute("CREATE TABLE a (a INT); CREATE TABLE b (a INT)", source)
    mariadb_server.execute(
        "CREATE OR REPLACE USER half@'%' IDENTIFIED BY 'p';"
        f"GRANT SELECT ON {source}.a TO half@'%'; GRANT INSERT ON {source}.b TO half@'%'"
    )
    spec = DatabaseSpec(
        "mysql", source, mariadb_server.host, mariadb_server.port, user="half", password="p"
    )
    with pytest.raises(EngineError) as failure:
        dumped(spec, tmp_path)
    assert failure.value.code == "privileges_missing"
    assert failure.value.permanent


def test_a_large_row_comes_back_and_is_reported(
    mariadb_server: MariaDBServer, spec_of: Callable[[str], DatabaseSpec], tmp_path: Path
) -> None:
    source, target = mariadb_server.create_database(), mariadb_server.create_database()
    mariadb_server.execute(
        "CREATE TABLE a (a LONGBLOB); INSERT INTO a VALUES (REPEAT('x', 12000000)), ('y')", source
    )
    text, facts = dumped(spec_of(source), tmp_path)
    mariadb_server.client_options = ["--max-allowed-packet=64M"]
    try:
        mariadb_server.execute(text, target)
    finally:
        mariadb_server.client_options = []
    assert checksums(mariadb_server, target) == checksums(mariadb_server, source)
    [warning] = facts.warnings
    assert "Table a has a row of 22 MiB" in warning
    assert facts.tables == {"a": 2}


def test_the_socket_is_used_when_given(mariadb_server: MariaDBServer) -> None:
    spec = DatabaseSpec("mysql", "mysql", host="ignored", socket=mariadb_server.socket, user="root")
    [(where,)] = MySQLDatabase(spec).query("SELECT HOST FROM information_schema.PROCESSLIST")
    assert where == "localhost"


def test_the_users_own_option_file_is_not_heeded(
    mariadb_server: MariaDBServer,
    spec_of: Callable[[str], DatabaseSpec],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / ".my.cnf").write_text("[client]\npassword=another\n[mysqldump]\nno-data\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    source = mariadb_server.create_database()
    mariadb_server.execute("CREATE TABLE a (a INT); INSERT INTO a VALUES (1)", source)
    assert dumped(spec_of(source), tmp_path)[1].tables == {"a": 1}


def test_the_snapshot_is_of_one_moment_when_rows_are_written_meanwhile(
    mariadb_server: MariaDBServer, spec_of: Callable[[str], DatabaseSpec], tmp_path: Path
) -> None:
    source = mariadb_server.create_database()
    mariadb_server.execute(
        "CREATE TABLE a (id INT, body TEXT); CREATE TABLE z (id INT);"
        "INSERT INTO a SELECT seq, REPEAT('x', 1000) FROM seq_1_to_20000; INSERT INTO z VALUES (1)",
        source,
    )
    with MySQLDatabase(spec_of(source)).dump(scratch_directory=str(tmp_path)) as dump:
        for piece in dump:
            if isinstance(piece, TableMark) and piece.name == "a":
                # Not blocked by the dump, and not in it.
                mariadb_server.execute("INSERT INTO z VALUES (2); DELETE FROM a LIMIT 9", source)
    assert dump.facts().tables == {"a": 20000, "z": 1}


@pytest.fixture
def large(own_mariadb_server: MariaDBServer) -> DatabaseSpec:
    """A database that is too large to be in the pipes' buffers when its dump is cut off."""
    server = own_mariadb_server
    name = server.create_database()
    server.execute(
        "CREATE TABLE a (id INT, body TEXT);"
        "INSERT INTO a SELECT seq, REPEAT(MD5(seq), 40) FROM seq_1_to_60000",
        name,
    )
    return DatabaseSpec(
        "mysql", name, server.host, server.port, user=server.user, password=server.password
    )


def tool_of(process: psutil.Process) -> Iterator[psutil.Process]:
    return (child for child in process.children() if "dump" in child.name())


@pytest.mark.parametrize("cut", ["connection", "server", "tool"])
def test_error_is_temporary_and_names_the_cause_when_the_dump_is_cut_off(
    own_mariadb_server: MariaDBServer, large: DatabaseSpec, tmp_path: Path, cut: str
) -> None:
    def cut_off() -> None:
        if cut == "server":
            own_mariadb_server.kill()
        elif cut == "tool":
            [tool] = tool_of(psutil.Process())
            os.kill(tool.pid, signal.SIGKILL)
        else:
            [number] = own_mariadb_server.execute(
                "SELECT ID FROM information_schema.PROCESSLIST WHERE INFO LIKE '%FROM `a`%'"
                " AND ID <> CONNECTION_ID()"
            ).split()
            own_mariadb_server.execute(f"KILL {number}")

    database = MySQLDatabase(large)
    size = 0
    with (
        pytest.raises(EngineError) as failure,
        database.dump(scratch_directory=str(tmp_path)) as dump,
    ):
        for piece in dump:
            size += len(piece) if isinstance(piece, bytes) else 0
            if size and cut:
                cut_off()
                cut = ""
    assert 0 < size < 60_000_000
    assert not failure.value.permanent
    assert failure.value.code in {"connection_lost", "database_failed"}
    assert large.name in failure.value.message
    assert "Lost connection" in failure.value.message or "signal 9" in failure.value.message
    assert not list(tmp_path.iterdir())


def test_the_dump_works_again_when_the_server_is_back(
    own_mariadb_server: MariaDBServer, large: DatabaseSpec, tmp_path: Path
) -> None:
    own_mariadb_server.kill()
    with pytest.raises(EngineError) as failure:
        MySQLDatabase(large).estimate()
    assert failure.value.code == "server_unreachable"
    own_mariadb_server.restart()
    wait_until(lambda: MySQLDatabase(large).query("SELECT 1"), message="the server answers")
    assert dumped(large, tmp_path)[1].tables == {"a": 60000}


def test_error_is_permanent_when_a_table_is_damaged(
    own_mariadb_server: MariaDBServer, tmp_path: Path
) -> None:
    server = own_mariadb_server
    name = server.create_database()
    server.execute(
        "CREATE TABLE a (a INT) ENGINE=MyISAM; INSERT INTO a VALUES (1); FLUSH TABLES", name
    )
    (server.directory / "data" / name / "a.MYI").write_bytes(b"")
    spec = DatabaseSpec("mysql", name, server.host, server.port, "", server.user, server.password)
    with pytest.raises(EngineError) as failure:
        dumped(spec, tmp_path)
    assert failure.value.code == "table_damaged", failure.value
    assert failure.value.permanent


def test_the_tool_is_asked_for_its_version_and_options() -> None:
    tool = find_program("mariadb-dump", "mysqldump")
    assert tool_version(tool)[0].isdigit()
    assert optional_arguments(tool) == ("--no-tablespaces",)
