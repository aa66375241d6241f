from __future__ import annotations

import math
import os
import random
import sqlite3
import struct
import subprocess
import sys
import textwrap
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.engine.databases import sqlite as sqlite_module
from workers.engine.databases.base import DatabaseSpec, DumpFacts
from workers.engine.databases.sqlite import SQLiteDatabase
from workers.engine.databases.sqlite_text import TRAILER, SQLiteText, literal, text_or_raw
from workers.engine.errors import EngineError, StopRequested

ADVERSARIAL = r"""
PRAGMA user_version = 42;
PRAGMA application_id = 7;
CREATE TABLE plain (a, b TEXT, c BLOB, d REAL, e INTEGER);
CREATE TABLE spaced (id INTEGER PRIMARY KEY, v TEXT);
INSERT INTO spaced VALUES (-5, 'x'), (9223372036854775807, 'y');
CREATE TABLE unnumbered (v TEXT);
INSERT INTO unnumbered (rowid, v) VALUES (7, 'a'), (99, 'b');
CREATE TABLE "rowid too" (rowid TEXT, _rowid_ TEXT, v);
INSERT INTO "rowid too" (oid, rowid, _rowid_) VALUES (5, 'text', 'text');
CREATE TABLE allnumbers (rowid TEXT, _rowid_ TEXT, oid TEXT);
INSERT INTO allnumbers VALUES ('a', 'b', 'c');
CREATE TABLE keyed (a TEXT, b INT, PRIMARY KEY (a, b)) WITHOUT ROWID;
INSERT INTO keyed VALUES ('k', 1), ('k', 2);
CREATE TABLE strict (a INT, b ANY) STRICT;
INSERT INTO strict VALUES (1, 'text'), (2, 3.5), (3, x'00');
CREATE TABLE counted (id INTEGER PRIMARY KEY AUTOINCREMENT, v);
INSERT INTO counted (v) VALUES (1), (2), (3);
DELETE FROM counted WHERE id = 3;
CREATE TABLE computed (a INT, b INT AS (a * 2) VIRTUAL, c INT AS (a + 1) STORED, d INT);
INSERT INTO computed (a, d) VALUES (1, 2), (3, 4);
CREATE INDEX computed_index ON computed (b) WHERE a > 0;
CREATE UNIQUE INDEX plain_index ON plain (a, b COLLATE NOCASE);
CREATE TABLE parent (id INTEGER PRIMARY KEY);
CREATE TABLE child (id INTEGER REFERENCES parent (id), note TEXT -- last words
);
INSERT INTO child VALUES (404, 'an orphan');
CREATE TABLE log (v);
CREATE TRIGGER logs AFTER INSERT ON counted BEGIN INSERT INTO log VALUES ('again; COMMIT;'); END;
CREATE VIEW seen AS SELECT a, b FROM computed;
CREATE VIEW broken AS SELECT * FROM no_such_table;
CREATE TRIGGER instead INSTEAD OF INSERT ON seen BEGIN INSERT INTO log VALUES (new.a); END;
CREATE VIRTUAL TABLE search USING fts5(title, body);
INSERT INTO search VALUES ('Grüße', 'from the front page'), ('two', 'words');
CREATE VIRTUAL TABLE bare USING fts5(v, content='');
INSERT INTO bare (rowid, v) VALUES (1, 'indexed only');
CREATE VIRTUAL TABLE boxes USING rtree(id, x0, x1);
INSERT INTO boxes VALUES (1, 0.1, 0.7);
CREATE TABLE "quo""te 'd" ("col ""umn" TEXT, "select" TEXT);
INSERT INTO "quo""te 'd" VALUES ('it''s', '--');
ANALYZE;
"""

TEXTS = [
    "", "'", "''", "a\r\nb", "a\rb\nc", "<r0>\r\n<r1>", "\0", "a\0b'c", "\ufeff", "🎉", "%s",
    ";\n.quit\n",
    "\n.shell touch x\n", "/* ", "-- \n", "\\n", "\x01\x1a\x7f", "x" * 300_000, "\n" * 1000,
    "\ngo\n", "\n/\n", "\u2028",
]  # fmt: skip
NUMBERS = [
    0, -1, 2**63 - 1, -(2**63), 0.0, -0.0, 1.0, 0.1, 0.1 + 0.2, 1e15, 1e16, 1e-300, 5e-324,
    1.7976931348623157e308, math.inf, -math.inf, 1 / 3, math.pi * 1e100, 123456789012345.6,
]  # fmt: skip


def dumped(path: Path, scratch: Path) -> tuple[bytes, DumpFacts]:
    scratch.mkdir(exist_ok=True)
    database = SQLiteDatabase(DatabaseSpec("sqlite", str(path)))
    with database.dump(scratch_directory=str(scratch)) as dump:
        text = b"".join(piece for piece in dump if isinstance(piece, bytes))
    assert not list(scratch.iterdir())
    return text, dump.facts()


def by_shell(text: bytes, path: Path) -> None:
    answer = subprocess.run(
        ["sqlite3", "-bail", path], input=text, capture_output=True, check=False
    )
    assert (answer.returncode, answer.stderr) == (0, b"")


def by_library(text: bytes, path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(text.decode())


RESTORES = pytest.mark.parametrize("restore", [by_shell, by_library])
Restore = Callable[[bytes, Path], None]


def content(path: Path) -> dict[str, object]:
    """Everything in a database: schema, rows with their numbers and types, pragmas."""
    with closing(sqlite3.connect(path)) as connection:
        connection.text_factory = bytes
        schema = connection.execute("SELECT type, name, sql FROM sqlite_master").fetchall()
        found: dict[str, object] = {
            "schema": sorted((kind, name, (sql or b"").strip()) for kind, name, sql in schema)
        }
        for pragma in ("user_version", "application_id", "encoding"):
            found[pragma] = connection.execute(f"PRAGMA {pragma}").fetchone()
        for kind, name, sql in schema:
            if kind != b"table" or name in {b"sqlite_stat4"}:
                continue
            quoted = '"' + name.decode().replace('"', '""') + '"'
            columns = connection.execute(f"SELECT * FROM {quoted} LIMIT 0").description
            shown = [f'"{column[0]}"'.replace('"col "umn"', '"col ""umn"') for column in columns]
            numbered = b"WITHOUT ROWID" not in (sql or b"").upper() and name != b"allnumbers"
            number = ["oid"] if numbered and not name.startswith(b"sqlite_") else []
            kinds = [f"typeof({column})" for column in shown]
            rows = connection.execute(f"SELECT {','.join(number + shown + kinds)} FROM {quoted}")
            found[name.decode()] = sorted(map(repr, rows.fetchall()))
        return found


@pytest.fixture
def adversarial(tmp_path: Path) -> Path:
    path = tmp_path / "source.sqlite3"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(ADVERSARIAL)
        rows = [(n, text, text.encode("utf-8"), 0.5, n) for n, text in enumerate(TEXTS)]
        rows += [(1000 + n, None, bytes(range(256)), number, number)
                 for n, number in enumerate(NUMBERS)]  # fmt: skip
        connection.executemany("INSERT INTO plain VALUES (?, ?, ?, ?, ?)", rows)
        connection.commit()
    return path


@RESTORES
def test_the_adversarial_database_comes_back(
    adversarial: Path, tmp_path: Path, restore: Restore
) -> None:
    text, facts = dumped(adversarial, tmp_path / "scratch")
    target = tmp_path / "target.sqlite3"
    restore(text, target)
    assert content(target) == content(adversarial)
    assert facts.tables["plain"] == len(TEXTS) + len(NUMBERS)
    assert facts.tables["search"] is None
    assert facts.tables["seen"] is None
    assert facts.tables["counted"] == 2
    assert text.endswith(f"COMMIT;\n{TRAILER}".encode())
    with closing(sqlite3.connect(target)) as connection:
        query = "SELECT title FROM search WHERE search MATCH 'front'"
        assert connection.execute(query).fetchall() == [("Grüße",)]
        assert connection.execute("SELECT rowid FROM bare WHERE bare MATCH 'only'").fetchall()
        assert connection.execute("SELECT id FROM boxes WHERE x1 > 0.5").fetchall() == [(1,)]
        assert connection.execute("INSERT INTO counted (v) VALUES (9)").lastrowid == 4
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


@RESTORES
def test_text_that_is_no_utf8_comes_back(tmp_path: Path, restore: Restore) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    with closing(sqlite3.connect(source)) as connection:
        connection.executescript(
            "CREATE TABLE t (a TEXT); INSERT INTO t VALUES (CAST(x'ff27e9' AS TEXT))"
        )
    text, _ = dumped(source, tmp_path / "scratch")
    text.decode()
    restore(text, target)
    assert content(target) == content(source)


@RESTORES
@pytest.mark.parametrize("encoding", ["UTF-16le", "UTF-16be"])
def test_other_encodings_come_back(tmp_path: Path, restore: Restore, encoding: str) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    with closing(sqlite3.connect(source)) as connection:
        connection.executescript(f"PRAGMA encoding = '{encoding}'; CREATE TABLE t (a TEXT)")
        connection.executemany("INSERT INTO t VALUES (?)", [(text,) for text in TEXTS])
        connection.commit()
    text, _ = dumped(source, tmp_path / "scratch")
    restore(text, target)
    assert content(target) == content(source)
    assert content(target)["encoding"] == (encoding.encode(),)


@given(st.floats(allow_nan=False))
def test_every_real_reads_back_exactly(value: float) -> None:
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute("CREATE TABLE t (a)")
        connection.execute(f"INSERT INTO t VALUES ({literal(value, 'UTF-8')})")
        [(read, kind)] = connection.execute("SELECT a, typeof(a) FROM t")
    assert (read, kind) == (value, "real")


def test_reals_read_back_exactly_when_their_digits_are_many() -> None:
    numbers = random.Random(1)
    values = [struct.unpack("d", numbers.randbytes(8))[0] for _ in range(5000)]
    values += [float(f"{numbers.uniform(-1e9, 1e9):.15g}") for _ in range(5000)]
    values = [value for value in values if not math.isnan(value)]
    with closing(sqlite3.connect(":memory:")) as connection:
        for value in values:
            [(read,)] = connection.execute(f"SELECT {literal(value, 'UTF-8')}")
            assert read == value, value


@given(st.text())
def test_every_text_reads_back_exactly(value: str) -> None:
    value = value.encode("utf-8", "replace").decode()
    with closing(sqlite3.connect(":memory:")) as connection:
        [(read,)] = connection.execute(f"SELECT {literal(value, 'UTF-8')}")
    assert read == value
    assert "\r" not in literal(value, "UTF-8")


def test_raw_text_is_told_from_text() -> None:
    assert text_or_raw("é".encode()) == "é"
    assert not isinstance(text_or_raw(b"\xff"), str)


@pytest.mark.parametrize("journal", ["wal", "delete"])
def test_the_live_file_is_not_touched(tmp_path: Path, journal: str) -> None:
    source = tmp_path / "live.sqlite3"
    with closing(sqlite3.connect(source)) as writer:
        writer.execute(f"PRAGMA journal_mode = {journal}")
        writer.execute("PRAGMA wal_autocheckpoint = 0")
        writer.execute("CREATE TABLE t (a)")
        writer.execute("INSERT INTO t VALUES (1)")
        writer.commit()
        files = [source] + ([tmp_path / "live.sqlite3-wal"] if journal == "wal" else [])
        before = [(path.read_bytes(), path.stat().st_mtime_ns) for path in files]
        _, facts = dumped(source, tmp_path / "scratch")
        after = [(path.read_bytes(), path.stat().st_mtime_ns) for path in files]
        assert facts.tables == {"t": 1}
        assert after == before
        writer.execute("INSERT INTO t VALUES (2)")
        writer.commit()
    assert dumped(source, tmp_path / "scratch")[1].tables == {"t": 2}


WRITER = """
    import sqlite3, sys, time
    connection = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=60)
    print("ready", flush=True)
    while True:
        connection.executescript("BEGIN; UPDATE a SET n = n + 1; UPDATE z SET n = n + 1; COMMIT")
        time.sleep(0.002)
"""


@pytest.mark.parametrize("journal", ["wal", "delete"])
def test_the_copy_is_of_one_moment_when_another_process_writes_all_the_time(
    tmp_path: Path, journal: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_module, "STEP_BYTES", 1 << 16)
    source, target = tmp_path / "source", tmp_path / "target"
    with closing(sqlite3.connect(source)) as connection:
        connection.execute(f"PRAGMA journal_mode = {journal}")
        connection.executescript(
            "CREATE TABLE a (n); INSERT INTO a VALUES (1); CREATE TABLE filler (b);"
            "INSERT INTO filler VALUES (randomblob(20000000)); CREATE TABLE z (n);"
            "INSERT INTO z VALUES (1)"
        )
    writer = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(WRITER), source], stdout=subprocess.PIPE
    )
    try:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"ready\n"
        text, _ = dumped(source, tmp_path / "scratch")
    finally:
        writer.kill()
        writer.communicate()
    by_shell(text, target)
    with closing(sqlite3.connect(target)) as connection:
        [(first, last)] = connection.execute("SELECT a.n, z.n FROM a, z")
    assert first == last


def test_error_is_permanent_when_the_file_is_damaged(tmp_path: Path) -> None:
    source = tmp_path / "source"
    with closing(sqlite3.connect(source)) as connection:
        connection.executescript("CREATE TABLE t (a TEXT); CREATE INDEX i ON t (a)")
        connection.executemany("INSERT INTO t VALUES (?)", [("x" * 500,)] * 1000)
        connection.commit()
    data = bytearray(source.read_bytes())
    data[40_000:80_000] = os.urandom(40_000)
    source.write_bytes(data)
    with pytest.raises(EngineError, match=r"damaged|malformed") as failure:
        dumped(source, tmp_path / "scratch")
    assert failure.value.code == "table_damaged"
    assert failure.value.permanent


def test_error_is_temporary_when_another_program_holds_the_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_module, "BUSY_SECONDS", 0.05)
    source = tmp_path / "source"
    with closing(sqlite3.connect(source, isolation_level=None)) as writer:
        writer.executescript("CREATE TABLE t (a); BEGIN EXCLUSIVE; INSERT INTO t VALUES (1)")
        with pytest.raises(EngineError) as failure:
            dumped(source, tmp_path / "scratch")
    assert failure.value.code == "server_busy"
    assert not failure.value.permanent


def test_error_says_what_to_do_when_a_writer_crashed(tmp_path: Path) -> None:
    source = tmp_path / "source"
    crash = f"""
        import os, sqlite3
        connection = sqlite3.connect({str(source)!r}, isolation_level=None)
        connection.executescript("PRAGMA cache_size = 5; CREATE TABLE t (a); BEGIN")
        for _ in range(500):
            connection.execute("INSERT INTO t VALUES (randomblob(1000))")
        os._exit(0)
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(crash)], check=True)
    assert Path(f"{source}-journal").stat().st_size > 0
    before = source.read_bytes()
    with pytest.raises(EngineError) as failure:
        dumped(source, tmp_path / "scratch")
    assert failure.value.code == "database_needs_recovery"
    assert failure.value.hint
    assert source.read_bytes() == before


def test_statements_stop_when_check_raises(adversarial: Path) -> None:
    def check() -> None:
        raise StopRequested

    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT MAX(i) FROM n"
    with pytest.raises(StopRequested):
        SQLiteDatabase(DatabaseSpec("sqlite", str(adversarial))).query(endless, check=check)


def test_pieces_stay_small_when_the_table_is_large(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "source")) as connection:
        connection.executescript(
            "CREATE TABLE t (a); INSERT INTO t WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL"
            " SELECT i + 1 FROM n WHERE i < 3000) SELECT hex(zeroblob(1000)) FROM n"
        )
        sizes = [len(piece) for piece in SQLiteText(connection) if isinstance(piece, bytes)]
    assert sum(sizes) > 6_000_000
    assert max(sizes) < 400_000
