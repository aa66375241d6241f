"""What every restorer in the registry must do, tried on real servers with their own clients."""

from __future__ import annotations

import json
from pathlib import Path

import psutil
import pytest

from tests.contracts.database_subjects import (
    CONTENT,
    ROWS,
    MySQLSubject,
    PostgreSQLSubject,
    SQLiteSubject,
    Subject,
)
from tests.contracts.restore_subjects import (
    CASES,
    dumped,
    everything,
    left,
    subject_of,
    write,
)
from tests.servers.postgres import PostgresServer
from workers.engine.databases import ENGINES, RESTORERS, open_database, open_restorer
from workers.engine.databases.base import DatabaseSpec
from workers.engine.errors import EngineError, Fenced, InterruptedWork, StopRequested
from workers.engine.progress import SilentReporter


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    path = tmp_path / "scratch"
    path.mkdir(mode=0o700)
    return path


@pytest.fixture(params=sorted(RESTORERS))
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def subject(request: pytest.FixtureRequest, engine: str) -> Subject:
    return subject_of(request, engine)


def test_there_is_a_restorer_for_every_engine() -> None:
    assert set(RESTORERS) == set(ENGINES) == set(CASES)
    with pytest.raises(EngineError, match="'oracle'"):
        open_restorer(DatabaseSpec("oracle", "x"))


def test_a_damaged_database_is_as_it_was_and_back_again_when_reverted(
    engine: str, subject: Subject, scratch: Path
) -> None:
    case = CASES[engine]
    spec = subject.create(case.adversarial)
    before = everything(subject, spec)
    text, facts = dumped(spec, scratch)
    write(subject, spec, case.damage)
    damaged = everything(subject, spec)
    assert damaged != before
    restorer, reporter = open_restorer(spec), SilentReporter()
    switch = restorer.prepare([text], label="a1", scratch_directory=str(scratch), reporter=reporter)
    assert everything(subject, spec) == damaged
    assert switch.tables == facts.tables
    assert reporter.bytes_done == len(text)
    record = json.loads(json.dumps(switch.record()))
    assert not spec.password or spec.password not in str(record)
    for _ in range(2):
        restorer.from_record(record).switch()
        after = everything(subject, spec)
    assert _without_mark(after) == _without_mark(before)
    for _ in range(2):
        restorer.from_record(record).revert()
    assert _without_mark(everything(subject, spec)) == _without_mark(damaged)
    restorer.from_record(record).switch()
    for _ in range(2):
        restorer.from_record(record).discard()
    assert everything(subject, spec) == before
    assert left(subject, spec) == []
    assert not list(scratch.iterdir())


def _without_mark(found: dict[str, object]) -> dict[str, object]:
    """Leave out SQLite's table that marks an exchange until it is settled."""
    schema = found.get("schema")
    if isinstance(schema, list):
        found["schema"] = [row for row in schema if b"_mark" not in row[1]]
    return {name: value for name, value in found.items() if not name.endswith("_mark")}


def test_debians_scripts_serve_as_the_programs_that_they_call(
    postgres_server: PostgresServer, scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not all(Path("/usr/bin", name).is_symlink() for name in ("psql", "pg_dump")):
        pytest.skip("this is no Debian")
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    subject = PostgreSQLSubject(postgres_server)
    spec = subject.create(CASES["postgresql"].adversarial)
    before = everything(subject, spec)
    text, _ = dumped(spec, scratch)
    write(subject, spec, CASES["postgresql"].damage)
    switch = open_restorer(spec).prepare([text], label="deb", scratch_directory=str(scratch))
    switch.switch()
    switch.discard()
    assert everything(subject, spec) == before
    assert left(subject, spec) == []


def test_another_database_becomes_the_same(engine: str, subject: Subject, scratch: Path) -> None:
    case = CASES[engine]
    source, target = subject.create(case.adversarial), subject.create(CONTENT)
    text, facts = dumped(source, scratch)
    switch = open_restorer(target).prepare([text], label="b2", scratch_directory=str(scratch))
    switch.switch()
    switch.discard()
    found = open_database(target).checksums(scratch_directory=str(scratch))
    assert {name: each.checksum for name, each in found.items()} == facts.checksums
    assert left(subject, target) == []


def test_some_tables_come_back_and_the_rest_stays(
    engine: str, subject: Subject, scratch: Path
) -> None:
    case = CASES[engine]
    spec = subject.create(case.adversarial)
    database = open_database(spec)
    text, facts = dumped(spec, scratch)
    write(subject, spec, case.damage)
    damaged = everything(subject, spec)
    sums = database.checksums(scratch_directory=str(scratch))
    restorer = open_restorer(spec)
    switch = restorer.prepare(
        [text[at : at + 1000] for at in range(0, len(text), 1000)],
        label="c3",
        tables=case.chosen,
        scratch_directory=str(scratch),
    )
    assert switch.tables == {name: facts.tables[name] for name in case.chosen}
    record = json.loads(json.dumps(switch.record()))
    for _ in range(2):
        restorer.from_record(record).switch()
    for _ in range(2):
        restorer.from_record(record).revert()
    restorer.from_record(record).discard()
    assert everything(subject, spec) == damaged
    switch = restorer.prepare(
        [text], label="c4", tables=case.chosen, scratch_directory=str(scratch)
    )
    switch.switch()
    switch.discard()
    after = database.checksums(scratch_directory=str(scratch))
    for name, found in after.items():
        chosen = name in case.chosen
        assert found.checksum == (facts.checksums[name] if chosen else sums[name].checksum), name
    assert left(subject, spec) == []


def test_parts_of_a_dump_are_enough_for_some_tables(
    engine: str, subject: Subject, scratch: Path
) -> None:
    if engine == "sqlite":
        pytest.skip("indexes and triggers stand at the end of a SQLite dump: it is read whole")
    spec = subject.create(CONTENT)
    parts: dict[str, bytes] = {"": b""}
    with open_database(spec).dump(scratch_directory=str(scratch)) as dump:
        name = ""
        for piece in dump:
            if isinstance(piece, bytes):
                parts[name] = parts.get(name, b"") + piece
            else:
                name = piece.name
    write(subject, spec, "DELETE FROM posts; DELETE FROM options")
    switch = open_restorer(spec).prepare(
        [parts[""], parts["posts"]], label="d4", tables=["posts"], scratch_directory=str(scratch)
    )
    switch.switch()
    switch.discard()
    question = "SELECT (SELECT COUNT(*) FROM posts), (SELECT COUNT(*) FROM options)"
    assert open_database(spec).query(question) == [("3", "0")]


def test_error_names_the_table_that_the_dump_has_not(subject: Subject, scratch: Path) -> None:
    spec = subject.create(CONTENT)
    text, _ = dumped(spec, scratch)
    with pytest.raises(EngineError, match="titles") as failure:
        open_restorer(spec).prepare(
            [text], label="e5", tables=["posts", "titles"], scratch_directory=str(scratch)
        )
    assert failure.value.code == "table_missing"
    assert failure.value.permanent
    assert left(subject, spec) == []


@pytest.mark.parametrize("share", [0.2, 0.6, 0.95, 0.999])
def test_a_dump_that_was_cut_short_is_refused_and_leaves_nothing(
    subject: Subject, scratch: Path, share: float
) -> None:
    spec = subject.create(CONTENT)
    before = everything(subject, spec)
    text, _ = dumped(spec, scratch)
    # What follows the last line is not missed.
    cut = text[: int(text.rindex(b"omplete") * share)]
    with pytest.raises(EngineError):
        open_restorer(spec).prepare([cut], label="f6", scratch_directory=str(scratch))
    assert everything(subject, spec) == before
    assert left(subject, spec) == []


def test_a_statement_that_fails_is_told_and_leaves_nothing(subject: Subject, scratch: Path) -> None:
    spec = subject.create(CONTENT)
    before = everything(subject, spec)
    text, _ = dumped(spec, scratch)
    wrong = text.replace(b"CREATE TABLE ", b"CREATE TABEL ", 1)
    with pytest.raises(EngineError, match="TABEL"):
        open_restorer(spec).prepare([wrong], label="f7", scratch_directory=str(scratch))
    assert everything(subject, spec) == before
    assert left(subject, spec) == []


@pytest.mark.parametrize("error", [StopRequested(), Fenced()])
def test_nothing_is_left_when_stopped_while_loading(
    subject: Subject, scratch: Path, error: InterruptedWork
) -> None:
    spec = subject.create(CONTENT)
    subject.fill(spec, 4)
    text, _ = dumped(spec, scratch)

    def pieces():
        yield text[: len(text) // 2]
        raise error

    with pytest.raises(type(error)):
        open_restorer(spec).prepare(pieces(), label="g7", scratch_directory=str(scratch))
    assert left(subject, spec) == []
    assert not list(scratch.iterdir())
    assert not [child for child in psutil.Process().children() if child.name() in CLIENTS]


CLIENTS = {"mariadb", "mysql", "psql"}


def test_a_scratch_database_has_the_same_checksums_and_goes(
    engine: str, subject: Subject, scratch: Path
) -> None:
    spec = subject.create(CASES[engine].adversarial)
    text, facts = dumped(spec, scratch)
    restorer = open_restorer(spec)
    with restorer.scratch([text], label="h8", scratch_directory=str(scratch)) as database:
        found = database.checksums(scratch_directory=str(scratch))
    assert {name: each.checksum for name, each in found.items()} == facts.checksums
    assert {name: each.rows for name, each in found.items()} == {
        name: rows for name, rows in facts.tables.items() if rows is not None
    }
    with (
        pytest.raises(ZeroDivisionError),
        restorer.scratch([text], label="h9", scratch_directory=str(scratch)),
    ):
        raise ZeroDivisionError
    assert left(subject, spec) == []
    assert not list(scratch.iterdir())


def test_a_lost_row_a_changed_one_and_a_doubled_one_change_the_checksum(
    subject: Subject, scratch: Path
) -> None:
    spec = subject.create(CONTENT)
    subject.fill(spec, 2)
    database = open_database(spec)
    seen = {database.checksums(scratch_directory=str(scratch))["filler"].checksum}
    for change in (
        "DELETE FROM filler WHERE id = 1000",
        "UPDATE filler SET body = NULL WHERE id = 999",
        "UPDATE filler SET body = '' WHERE id = 999",
        "INSERT INTO filler SELECT 1000, body FROM filler WHERE id = 998",
    ):
        write(subject, spec, change)
        seen.add(database.checksums(scratch_directory=str(scratch))["filler"].checksum)
    assert len(seen) == 5


def test_leftovers_go_and_what_was_begun_is_taken_back(
    engine: str, subject: Subject, scratch: Path
) -> None:
    case = CASES[engine]
    spec = subject.create(case.adversarial)
    text, _ = dumped(spec, scratch)
    restorer = open_restorer(spec)
    before = everything(subject, spec)
    restorer.prepare([text], label="i1", scratch_directory=str(scratch))
    restorer.prepare([text], label="i2", tables=case.chosen[:1], scratch_directory=str(scratch))
    assert left(subject, spec)
    restorer.drop_leftovers(["i1", "i2", "never"])
    assert left(subject, spec) == []
    assert everything(subject, spec) == before


def test_an_unsettled_restore_is_not_overwritten(subject: Subject, scratch: Path) -> None:
    spec = subject.create(CONTENT)
    text, facts = dumped(spec, scratch)
    restorer = open_restorer(spec)
    switch = restorer.prepare([text], label="j1", scratch_directory=str(scratch))
    switch.switch()
    with pytest.raises(EngineError) as failure:
        restorer.prepare([text], label="j1", scratch_directory=str(scratch))
    assert failure.value.code == "restore_unsettled"
    switch.revert()
    switch.discard()
    assert facts.tables == ROWS
    assert left(subject, spec) == []


def test_error_is_permanent_when_there_is_nothing_to_switch_to(
    subject: Subject, scratch: Path
) -> None:
    spec = subject.create(CONTENT)
    text, _ = dumped(spec, scratch)
    switch = open_restorer(spec).prepare([text], label="k1", scratch_directory=str(scratch))
    switch.revert()
    switch.discard()
    with pytest.raises(EngineError) as failure:
        switch.switch()
    assert failure.value.code == "restore_lost"
    assert failure.value.permanent
    assert isinstance(subject, MySQLSubject | SQLiteSubject) or left(subject, spec) == []


@pytest.mark.parametrize("label", ["", "A", "a-b", "x" * 17, "a/b", "`"])
def test_what_is_no_label_is_refused(subject: Subject, scratch: Path, label: str) -> None:
    with pytest.raises(EngineError, match="label"):
        open_restorer(subject.create()).prepare([], label=label, scratch_directory=str(scratch))
