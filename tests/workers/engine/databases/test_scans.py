"""The scans of dump texts, fed in every way a pipe may cut them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.engine.databases import mysql_scan
from workers.engine.databases.base import TableMark
from workers.engine.databases.mysql_scan import MySQLScan
from workers.engine.databases.postgresql_scan import PostgreSQLScan
from workers.engine.errors import EngineError


def mysql_table(name: str, body: str) -> str:
    return (
        f"\n--\n-- Table structure for table `{name}`\n--\n\nDROP TABLE IF EXISTS `{name}`;\n"
        f"CREATE TABLE `{name}` (\n  `a` int\n)\n(PARTITION x);\n\n"
        f"--\n-- Dumping data for table `{name}`\n--\n\nLOCK TABLES `{name}` WRITE;\n"
        f"/*!40000 ALTER TABLE `{name}` DISABLE KEYS */;\n{body}"
        f"/*!40000 ALTER TABLE `{name}` ENABLE KEYS */;\nUNLOCK TABLES;\n"
    )


MYSQL = (
    "/*M!999999\\- enable the sandbox mode */ \n-- MariaDB dump\n"
    + mysql_table("one", "INSERT INTO `one` VALUES\n(1),\n(2);\nINSERT INTO `one` VALUES\n(3);\n")
    + "DELIMITER ;;\nCREATE TRIGGER x BEGIN\n(1);\nLOCK TABLES `one` WRITE;\n(2)\nEND ;;\n"
    + mysql_table("none", "")
    + mysql_table("ora``cle", "INSERT INTO `ora``cle` VALUES (1),(2);\n")
    + "\n--\n-- Temporary table structure for view `seen`\n--\n\nDROP TABLE IF EXISTS `seen`;\n"
    "\n--\n-- Table structure for table `said in a trigger`\n--\n"
    + mysql_table("last", "INSERT INTO `last` VALUES\n" + "(1,'x\\n(2)'),\n" * 200 + "(3);\n")
    + "\n-- Dump completed on 2026-01-01  0:00:00\n"
)
MYSQL_ROWS = {"one": 3, "none": 0, "ora`cle": None, "seen": None, "last": 201}


def postgresql_table(name: str, body: str) -> str:
    return (
        f"\n--\n-- Data for Name: x; Type: TABLE DATA; Schema: public; Owner: -\n--\n\n"
        f"COPY {name} (a, b) FROM stdin;\n{body}\\.\n\n"
    )


POSTGRESQL = (
    "--\n-- PostgreSQL database dump\n--\n\n\\restrict abc\n\n"
    "CREATE FUNCTION public.f() AS $$\nCOPY public.fake (a) FROM stdin;\n1\n$$;\n"
    "\n--\n-- Name: v; Type: VIEW; Schema: public; Owner: -\n--\n\n"
    "CREATE VIEW public.v AS\n SELECT 1;\n"
    + postgresql_table("public.one", "1\tx\n2\t\\\\.\n")
    + postgresql_table("public.none", "")
    + postgresql_table('other."Q""uoted. (x"', "\n\n\n")
    + "\n--\n-- PostgreSQL database dump complete\n--\n\n\\unrestrict abc\n\n"
)
POSTGRESQL_ROWS = {"v": None, "one": 2, "none": 0, 'other.Q"uoted. (x': 3}

CUTS = st.lists(st.integers(min_value=1, max_value=400), min_size=1, max_size=50)


def fed(scan: MySQLScan | PostgreSQLScan, text: str, cuts: list[int]) -> tuple[bytes, list[str]]:
    """Feed `text` in pieces of the sizes `cuts`, round and round; return text and marks' places."""
    data, pieces, at, turn = text.encode(), [], 0, 0
    while at < len(data):
        size = cuts[turn % len(cuts)]
        pieces += scan.feed(data[at : at + size])
        at, turn = at + size, turn + 1
    pieces += scan.finish()
    passed, marks = b"", []
    for piece in pieces:
        if isinstance(piece, TableMark):
            marks.append(f"{piece.name}@{len(passed)}")
        else:
            passed += piece
    assert scan.bytes_total == len(passed)
    return passed, marks


@given(CUTS)
def test_a_mysql_dump_is_read_alike_however_it_is_cut(cuts: list[int]) -> None:
    scan = MySQLScan()
    passed, marks = fed(scan, MYSQL, cuts)
    expected = MYSQL.split("\n", 1)[1].encode()
    assert passed == expected
    assert scan.tables == MYSQL_ROWS
    for mark in marks:
        name, at = mark.rsplit("@", 1)
        written = name.replace("`", "``")
        assert expected[int(at) :].startswith(
            f"--\n-- Table structure for table `{written}`".encode()
        )
    assert [mark.split("@")[0] for mark in marks] == ["one", "none", "ora`cle", "last"]


@given(CUTS)
def test_a_postgresql_dump_is_read_alike_however_it_is_cut(cuts: list[int]) -> None:
    scan = PostgreSQLScan()
    passed, marks = fed(scan, POSTGRESQL, cuts)
    assert passed == POSTGRESQL.encode()
    assert scan.tables == POSTGRESQL_ROWS
    assert len(marks) == 3
    for mark in marks:
        assert passed[int(mark.rsplit("@", 1)[1]) :].startswith(b"--\n-- Data for Name")


@pytest.mark.parametrize(
    ("kind", "text"),
    [(MySQLScan, MYSQL), (PostgreSQLScan, POSTGRESQL)],
    ids=["mysql", "postgresql"],
)
def test_an_incomplete_dump_is_refused_wherever_it_ends(
    kind: type[MySQLScan] | type[PostgreSQLScan], text: str
) -> None:
    whole = text.rstrip().removesuffix("\\unrestrict abc").rstrip()
    for end in range(0, len(whole) - 1, 7):
        scan = kind()
        scan.feed(text.encode()[:end])
        with pytest.raises(EngineError) as failure:
            scan.finish()
        assert failure.value.code == "dump_incomplete"
        assert not failure.value.permanent


def test_the_appendix_stands_before_the_trailer_when_there_is_one() -> None:
    scan = MySQLScan()
    pieces = scan.feed(MYSQL.encode()) + scan.finish(b"-- kept\n")
    text = b"".join(piece for piece in pieces if isinstance(piece, bytes))
    assert text.endswith(b"\n-- kept\n-- Dump completed on 2026-01-01  0:00:00\n")


def test_large_rows_are_reported_when_they_span_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mysql_scan, "LARGE_ROW_BYTES", 5000)
    body = "INSERT INTO `big` VALUES\n(1),\n('" + "x" * 9000 + "'),\n(2);\n"
    scan = MySQLScan()
    fed(scan, "\n" + mysql_table("big", body) + "\n-- Dump completed\n", [300])
    assert scan.tables == {"big": 3}
    assert 8700 <= scan.large_rows["big"] <= 9010
