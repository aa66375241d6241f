"""What every database engine in the registry must do, tried on real servers and real clients."""

from __future__ import annotations

import stat
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from tests.contracts.database_subjects import (
    CONTENT,
    PLACES,
    ROWS,
    SUBJECTS,
    Subject,
    unreachable,
)
from workers.engine.databases import ENGINES, open_database
from workers.engine.databases.base import DatabaseSpec, DumpFacts, TableMark
from workers.engine.errors import EngineError, Fenced, InterruptedWork, StopRequested

SERVERS = [engine for engine in ENGINES if engine != "sqlite"]


@dataclass
class Dumped:
    text: bytes
    parts: dict[str, bytes]
    facts: DumpFacts


def dumped(spec: DatabaseSpec, scratch: Path) -> Dumped:
    text, parts, table = b"", {}, ""
    pieces: list[bytes] = []
    with open_database(spec).dump(scratch_directory=str(scratch)) as dump:
        for piece in dump:
            if isinstance(piece, TableMark):
                assert piece.name not in parts
                table = piece.name
                parts[table] = b""
            else:
                pieces.append(piece)
                if table:
                    parts[table] += piece[:10_000]
    text = b"".join(pieces)
    facts = dump.facts()
    assert facts.bytes_total == len(text)
    return Dumped(text, parts, facts)


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    path = tmp_path / "scratch"
    path.mkdir(mode=0o700)
    return path


@pytest.fixture(params=sorted(ENGINES))
def subject(request: pytest.FixtureRequest) -> Subject:
    return SUBJECTS[request.param](request.getfixturevalue(PLACES[request.param]))


@pytest.fixture(params=sorted(SERVERS))
def server_subject(request: pytest.FixtureRequest) -> Subject:
    return SUBJECTS[request.param](request.getfixturevalue(PLACES[request.param]))


def test_every_engine_is_tested_when_one_is_added() -> None:
    assert set(SUBJECTS) == set(ENGINES)


def test_error_lists_the_known_engines_when_the_engine_is_unknown() -> None:
    with pytest.raises(EngineError, match="'oracle'") as failure:
        open_database(DatabaseSpec("oracle", "x"))
    assert failure.value.permanent
    for engine in ENGINES:
        assert engine in failure.value.hint


def test_everything_comes_back_when_restored_with_the_client_alone(
    subject: Subject, scratch: Path
) -> None:
    spec = subject.create(CONTENT)
    result = dumped(spec, scratch)
    restored = subject.restore(result.text)
    assert subject.fingerprint(restored) == subject.fingerprint(spec)
    assert result.facts.tables == ROWS
    assert set(result.parts) == {"posts", "blank", "options"}
    for table, text in result.parts.items():
        assert table.encode() in text
    assert "Grüße 🎉" in result.text.decode()
    assert result.facts.tool_version[0].isdigit()
    assert result.facts.server_version[0].isdigit()
    assert result.facts.warnings == ()


def test_estimate_names_what_the_dump_will_hold(subject: Subject, scratch: Path) -> None:
    spec = subject.create(CONTENT)
    subject.fill(spec, 2)
    estimate = open_database(spec).estimate()
    result = dumped(spec, scratch)
    assert {table.name for table in estimate.tables} == set(result.facts.tables)
    assert 0.3 < estimate.bytes_total / result.facts.bytes_total < 3
    assert estimate.server_version == result.facts.server_version


def test_an_empty_database_comes_back_empty(subject: Subject, scratch: Path) -> None:
    spec = subject.create()
    result = dumped(spec, scratch)
    assert result.facts.tables == {}
    assert result.parts == {}
    assert subject.fingerprint(subject.restore(result.text)) == {}


def test_rows_are_counted_when_they_span_many_pieces(subject: Subject, scratch: Path) -> None:
    spec = subject.create(CONTENT)
    subject.fill(spec, 8)
    result = dumped(spec, scratch)
    assert result.facts.tables == ROWS | {"filler": 8000}
    assert subject.fingerprint(subject.restore(result.text)) == subject.fingerprint(spec)


@pytest.mark.slow
def test_two_thousand_tables_come_back(subject: Subject, scratch: Path) -> None:
    names = [f"wp_{number}_options" for number in range(2000)]
    spec = subject.create(
        "".join(
            f"CREATE TABLE {name} (id INTEGER PRIMARY KEY, v VARCHAR(9));"
            f"INSERT INTO {name} VALUES ({number}, 'x');"
            for number, name in enumerate(names)
        )
    )
    result = dumped(spec, scratch)
    assert result.facts.tables == dict.fromkeys(names, 1)
    assert set(result.parts) == set(names)
    restored = dumped(subject.restore(result.text), scratch)
    assert restored.facts.tables == result.facts.tables


def test_reserved_words_and_odd_names_come_back(subject: Subject, scratch: Path) -> None:
    quote = "`" if isinstance(subject, SUBJECTS["mysql"]) else '"'  # type: ignore[arg-type]
    names = ["select", "order table", "Größe", "a.b", "-- x", f"q{quote}q"]
    spec = subject.create(
        "".join(
            f"CREATE TABLE {quote}{name.replace(quote, quote * 2)}{quote}"
            f" ({quote}group{quote} INTEGER);"
            f"INSERT INTO {quote}{name.replace(quote, quote * 2)}{quote} VALUES (1), (2);"
            for name in names
        )
    )
    result = dumped(spec, scratch)
    assert result.facts.tables == dict.fromkeys(names, 2)
    restored = dumped(subject.restore(result.text), scratch)
    assert restored.facts.tables == result.facts.tables


def test_query_answers_as_text(subject: Subject) -> None:
    spec = subject.create(CONTENT)
    database = open_database(spec)
    assert database.query("SELECT id, body FROM posts ORDER BY id") == [
        ("1", "one"),
        ("2", "it's (two)"),
        ("3", "x"),
    ]
    assert database.query("SELECT title FROM posts WHERE id = 1") == [("Grüße 🎉",)]
    assert database.query("SELECT id FROM posts WHERE id > 9") == []


def test_query_keeps_line_breaks_and_tabs_apart(subject: Subject) -> None:
    spec = subject.create("CREATE TABLE t (a VARCHAR(99), b VARCHAR(99))")
    expression = "REPLACE('a-b', '-', CHR(10))"
    if isinstance(subject, SUBJECTS["sqlite"]):  # type: ignore[arg-type]
        expression = expression.replace("CHR", "CHAR")
    assert open_database(spec).query(f"SELECT {expression}, '\t', 2") == [("a\nb", "\t", "2")]


def test_query_is_refused_when_it_would_write(subject: Subject) -> None:
    spec = subject.create(CONTENT)
    with pytest.raises(EngineError, match=r"(?i)read.?only"):
        open_database(spec).query("INSERT INTO blank VALUES (1)")
    assert open_database(spec).query("SELECT COUNT(*) FROM blank") == [("0",)]


def test_errors_are_permanent_and_say_what_to_do_when_trying_again_is_no_use(
    subject: Subject, scratch: Path
) -> None:
    for code, spec in subject.refused(subject.create(CONTENT)).items():
        for attempt in (
            lambda spec=spec: open_database(spec).estimate(),
            lambda spec=spec: dumped(spec, scratch),
        ):
            with pytest.raises(EngineError) as failure:
                attempt()
            assert failure.value.code == code, failure.value
            assert failure.value.permanent
            assert failure.value.hint
            assert not spec.password or spec.password not in failure.value.message
            assert not list(scratch.iterdir())


def test_error_is_temporary_when_nobody_listens(server_subject: Subject, scratch: Path) -> None:
    spec = unreachable(server_subject.create())
    with pytest.raises(EngineError) as failure:
        dumped(spec, scratch)
    assert failure.value.code == "server_unreachable"
    assert not failure.value.permanent


@pytest.mark.parametrize("error", [StopRequested(), Fenced()])
def test_nothing_is_left_when_stopped_in_mid_dump(
    subject: Subject, scratch: Path, error: InterruptedWork
) -> None:
    spec = subject.create(CONTENT)
    subject.fill(spec, 8)
    with (
        pytest.raises(type(error)),
        open_database(spec).dump(scratch_directory=str(scratch)) as dump,
    ):
        next(iter(dump))
        raise error
    assert not list(scratch.iterdir())
    assert not [child for child in psutil.Process().children() if "dump" in child.name()]


def test_the_dump_ends_when_check_raises(
    subject: Subject, scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.engine.process.CHECK_SECONDS", 0.001)
    spec = subject.create(CONTENT)
    subject.fill(spec, 20)
    stop = False

    def check() -> None:
        if stop:
            raise StopRequested

    with (
        pytest.raises(StopRequested),
        open_database(spec).dump(scratch_directory=str(scratch), check=check) as dump,
    ):
        for _ in dump:
            stop = True
        pytest.fail("the dump ended before it was checked")
    assert not list(scratch.iterdir())


def test_facts_are_refused_when_the_dump_was_not_read(subject: Subject, scratch: Path) -> None:
    spec = subject.create(CONTENT)
    with open_database(spec).dump(scratch_directory=str(scratch)) as dump:
        pass
    with pytest.raises(AssertionError, match="not read"):
        dump.facts()


def test_the_password_is_nowhere_to_be_seen_while_dumping(
    server_subject: Subject, scratch: Path
) -> None:
    spec = server_subject.create(CONTENT)
    server_subject.fill(spec, 20)
    with open_database(spec).dump(scratch_directory=str(scratch)) as dump:
        iterator = iter(dump)
        next(iterator)
        children = psutil.Process().children(recursive=True)
        seen = [part for child in children for part in _visible(child)]
        files = [path for path in scratch.rglob("*") if path.is_file()]
        assert files
        for path in files:
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        for _ in iterator:
            pass
    assert any("dump" in part for part in seen)
    assert not any(spec.password in part for part in seen)
    assert not list(scratch.iterdir())
    assert spec.password not in repr(spec)


def _visible(process: psutil.Process) -> list[str]:
    """Return arguments and environment of one child that is not a test's server."""
    if process.username() == "nobody":
        return []
    return [*process.cmdline(), *process.environ().values()]


@pytest.mark.parametrize("password", ["a b ", " #;=x", "q'u\"o\\te", "\\n%s", "ünï", "x" * 70])
def test_any_password_signs_in(server_subject: Subject, password: str) -> None:
    spec = server_subject.create(CONTENT)
    user = f"user_{password.encode().hex()[:20]}"
    if spec.engine == "mysql":
        escaped = password.replace("\\", "\\\\").replace("'", "''")
        server_subject.server.execute(  # type: ignore[attr-defined]
            f"CREATE OR REPLACE USER {user}@'%' IDENTIFIED BY '{escaped}';"
            f"GRANT ALL ON {spec.name}.* TO {user}@'%'"
        )
    else:
        escaped = password.replace("'", "''")
        create = f"CREATE USER {user} PASSWORD '{escaped}'"
        server_subject.server.execute(create)  # type: ignore[attr-defined]
    own = DatabaseSpec(spec.engine, spec.name, spec.host, spec.port, user=user, password=password)
    assert open_database(own).query("SELECT 1") == [("1",)]
