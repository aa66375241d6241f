"""Facts about a WordPress: what is read, what is only a warning, and how two sets compare."""

from __future__ import annotations

import os
import sqlite3
import tracemalloc
from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.servers.mariadb import MariaDBServer
from workers.engine.databases import open_database
from workers.engine.databases.base import Database, DatabaseSpec
from workers.engine.wordpress import attachments
from workers.engine.wordpress.attachments import MissingFiles, archive_path, uploads_folder
from workers.engine.wordpress.facts import (
    DatabaseFacts,
    compare_facts,
    serialised_strings,
    tree_facts,
)

ACTIVE = 'a:2:{i:0;s:19:"akismet/akismet.php";i:1;s:9:"hello.php";}'
NETWORK = 'a:1:{s:13:"net/wörk.php";i:1700000000;}'
SCHEMA = f"""
CREATE TABLE wp_options (
    option_id INTEGER PRIMARY KEY, option_name VARCHAR(191), option_value TEXT);
INSERT INTO wp_options VALUES (1, 'active_plugins', '{ACTIVE}'), (2, 'template', 'parent'),
    (3, 'stylesheet', 'child'), (4, 'db_version', '53496'), (5, 'upload_path', '');
CREATE TABLE wp_sitemeta (meta_id INTEGER PRIMARY KEY, meta_key VARCHAR(255), meta_value TEXT);
INSERT INTO wp_sitemeta VALUES (1, 'active_sitewide_plugins', '{NETWORK}');
CREATE TABLE wp_postmeta (meta_id INTEGER PRIMARY KEY, meta_key VARCHAR(255), meta_value TEXT);
CREATE TABLE wp_2_postmeta (meta_id INTEGER PRIMARY KEY, meta_key VARCHAR(255), meta_value TEXT);
INSERT INTO wp_2_postmeta VALUES (1, '_wp_attached_file', '2024/02/two.jpg');
""" + "".join(
    f"INSERT INTO wp_postmeta VALUES ({number}, '{key}', '2024/01/ü-{number}.jpg');\n"
    for number in range(1, 12)
    for key in ("_wp_attached_file" if number % 5 else "_edit_lock",)
)
TABLES = {"wp_options", "wp_sitemeta", "wp_postmeta", "wp_2_postmeta"}


@pytest.fixture
def sqlite_database(tmp_path: Path) -> Database:
    path = tmp_path / "site.sqlite"
    with sqlite3.connect(path) as connection:
        connection.executescript(SCHEMA)
    connection.close()
    return open_database(DatabaseSpec("sqlite", str(path)))


@pytest.fixture
def mysql_database(mariadb_server: MariaDBServer) -> Database:
    name = mariadb_server.create_database()
    mariadb_server.execute(SCHEMA, name)
    server = mariadb_server
    return open_database(
        DatabaseSpec(
            "mysql", name, host=server.host, port=server.port, user="root", password=server.password
        )
    )


@pytest.fixture(params=["sqlite_database", "mysql_database"])
def database(request: pytest.FixtureRequest) -> Database:
    return request.getfixturevalue(request.param)


def facts_of(
    database: Database, tables: Iterable[str] = TABLES, prefix: str = "wp_"
) -> DatabaseFacts:
    site = Path("/srv/site")
    return DatabaseFacts(
        database, prefix, set(tables), site=site, content=site / "wp-content", check=lambda: None
    )


def test_options_and_attachments_are_read(database: Database, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(attachments, "PAGE_ROWS", 3)
    facts = facts_of(database)
    known = facts.read()
    assert known.warnings == []
    assert known.facts == {
        "table_prefix": "wp_",
        "database_version": "53496",
        "active_plugins": ["akismet/akismet.php", "hello.php", "net/wörk.php"],
        "active_themes": ["child", "parent"],
    }
    assert facts.count() == 10
    assert [path.decode() for path in facts.attachments()] == [
        *(f"wp-content/uploads/2024/01/ü-{number}.jpg" for number in (1, 2, 3, 4, 6, 7, 8, 9, 11)),
        "wp-content/uploads/sites/2/2024/02/two.jpg",
    ]


def test_nothing_is_known_when_there_are_no_such_tables(database: Database):
    facts = facts_of(database, tables=["other"])
    assert facts.read().facts == {}
    assert not facts.has_library
    assert list(facts.attachments()) == []


def test_it_is_a_warning_when_a_table_cannot_be_read(database: Database):
    facts = facts_of(database, tables=["no_options"], prefix="no_")
    known = facts.read()
    assert known.facts == {}
    assert "What the site's options say could not be read" in known.warnings[0]


def test_no_prefix_reaches_a_statement_that_is_none(database: Database):
    facts = facts_of(
        database,
        tables=["x; DROP TABLE wp_options; --options"],
        prefix="x; DROP TABLE wp_options; --",
    )
    assert facts.read().facts == {}
    with pytest.raises(ValueError, match="no table prefix"):
        attachments.count_attachments(database, "a b", check=lambda: None)


@pytest.mark.parametrize(
    ("upload_path", "expected"),
    [
        ("", "wp-content/uploads"),
        ("wp-content/uploads", "wp-content/uploads"),
        ("wp-content/files", "wp-content/files"),
        ("/srv/site/wp-content/media/", "wp-content/media"),
        ("/data/content/x", "wp-content/x"),
        ("/srv/elsewhere", None),
        ("files", None),
        ("wp-content/../x", None),
    ],
)
def test_uploads_are_where_the_option_says(upload_path: str, expected: str | None):
    assert uploads_folder(upload_path, Path("/srv/site"), Path("/data/content")) == expected


def test_it_is_a_warning_when_the_uploads_are_outside_of_the_bundle(
    sqlite_database: Database, tmp_path: Path
):
    with sqlite3.connect(tmp_path / "site.sqlite") as connection:
        connection.execute("UPDATE wp_options SET option_value = '/mnt/u' WHERE option_id = 5")
    connection.close()
    facts = facts_of(sqlite_database)
    assert "not in the backup" in facts.read().warnings[0]
    assert not facts.has_library


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2024/01/a.jpg", b"wp-content/uploads/2024/01/a.jpg"),
        ("./2024//a.jpg", b"wp-content/uploads/2024/a.jpg"),
        ("/old/place/wp-content/uploads/a.jpg", b"wp-content/uploads/a.jpg"),
        ("/a.jpg", b"wp-content/uploads/a.jpg"),
    ],
)
def test_a_file_is_where_its_attachment_says(value: str, expected: bytes):
    assert archive_path(value, "wp-content/uploads") == expected


def test_missing_files_are_counted_once_for_each_attachment():
    wanted = [b"a", b"b", b"b", b"c", b"c", b"d"]
    files = MissingFiles(lambda: iter(wanted))
    for path in (b"a", b"b", b"x", b"a"):
        files.tick(path)
    assert files.count == 6
    assert files.missing() == (3, ["c", "c", "d"])
    assert files.missing() == (3, ["c", "c", "d"])
    assert MissingFiles(lambda: iter(())).missing() == (0, [])


def test_memory_is_bounded_when_the_library_is_large():
    def wanted() -> Iterable[bytes]:
        return (
            b"wp-content/uploads/2024/01/a-usual-name-%d-300x200.jpg" % n for n in range(100_000)
        )

    tracemalloc.start()
    files = MissingFiles(wanted)
    kept, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept < 1 << 20
    assert peak < 8 << 20
    assert files.missing()[0] == 100_000


def write(path: Path, text: str | bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())


def test_plugins_and_themes_are_read_from_their_headers(tmp_path: Path):
    content = tmp_path / "wp-content"
    write(
        content / "plugins/akismet/akismet.php",
        "<?php\n/**\n * Plugin Name: Akismet – „x“\n * Version: 5.3 \n */",
    )
    write(content / "plugins/akismet/other.php", "<?php // no header")
    write(content / "plugins/hello.php", "<?php /* Plugin Name: Hello */\r\n# version:1.7.2\r\n")
    write(content / "plugins/late/late.php", "<?php" + " " * 9000 + "\n/* Plugin Name: Too late */")
    write(content / "plugins/.hidden/x.php", "<?php\n/* Plugin Name: Hidden */")
    write(content / "plugins/deep/er/x.php", "<?php\n/* Plugin Name: Deeper */")
    write(content / "plugins/raw/raw.php", b"<?php\n/* Plugin Name: \xff */")
    write(content / "mu-plugins/must.php", "<?php // without a header")
    write(content / "themes/child/style.css", "/*\nTheme Name: Child\nVersion: 2\n*/")
    write(content / "themes/none/style.css", "body {}")
    write(tmp_path / "outside/o.php", "<?php\n/* Plugin Name: Outside */")
    (content / "plugins/linked").symlink_to(tmp_path / "outside")
    (content / "plugins/linked.php").symlink_to(tmp_path / "outside/o.php")
    os.mkfifo(content / "plugins/akismet/pipe.php")
    known = tree_facts(content, "6.8.1")
    assert known.warnings == []
    assert known.facts == {
        "version": "6.8.1",
        "plugins": [
            {"file": "akismet/akismet.php", "name": "Akismet – „x“", "version": "5.3"},
            {"file": "hello.php", "name": "Hello", "version": "1.7.2"},
            {"file": "mu-plugins/must.php", "name": "must.php", "version": ""},
            {"file": "raw/raw.php", "name": "\\xff", "version": ""},
        ],
        "themes": [{"file": "child", "name": "Child", "version": "2"}],
    }


def test_a_site_without_plugins_has_none(tmp_path: Path):
    assert tree_facts(tmp_path).facts == {"plugins": [], "themes": []}


def test_it_is_a_warning_when_the_plugins_are_elsewhere(tmp_path: Path):
    (tmp_path / "real").mkdir()
    (tmp_path / "plugins").symlink_to(tmp_path / "real")
    known = tree_facts(tmp_path)
    assert "plugins" not in known.facts
    assert "plugins cannot be listed" in known.warnings[0]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (ACTIVE, ["akismet/akismet.php", "hello.php"]),
        (NETWORK, ["net/wörk.php"]),
        ("a:0:{}", []),
        ("", []),
        ("NULL", []),
        ('a:1:{i:0;s:999:"x";}', ['x";}']),
    ],
)
def test_strings_of_a_serialised_list_are_found(value: str, expected: list[str]):
    assert serialised_strings(value) == expected


def fact(**changes: object) -> dict[str, object]:
    wordpress = {
        "version": "6.8",
        "database_version": "1",
        "plugins": [{"file": "a.php", "name": "A", "version": "1"}],
        "themes": [],
        "active_plugins": ["a.php"],
        "active_themes": ["t"],
        "attachments": {"count": 10, "missing": 1, "changed": 2},
    }
    folders = changes.pop("folders", {"wp-content/uploads": {"files": 3, "bytes": 30}})
    return {"wordpress": wordpress | changes, "folders": folders}


@pytest.mark.parametrize(
    ("changes", "sentences"),
    [
        ({}, []),
        ({"version": None}, []),
        ({"attachments": None}, []),
        ({"version": "6.9"}, ["WordPress: 6.8 was backed up, 6.9 came back"]),
        ({"plugins": []}, ["plugin a.php was backed up and did not come back"]),
        (
            {"plugins": [{"file": "a.php", "name": "A", "version": "2"}]},
            ["plugin a.php: version 1 was backed up, 2 came back"],
        ),
        (
            {"active_plugins": ["b.php"]},
            [
                "active plugin a.php was backed up and did not come back",
                "active plugin b.php came back and was not backed up",
            ],
        ),
        ({"attachments": {"count": 12, "missing": 0}}, []),
        (
            {"attachments": {"count": 13, "missing": 4}},
            [
                "attachments: 10 were backed up, 13 came back",
                "attachments without their file: 1 were backed up, 4 came back",
            ],
        ),
        (
            {"folders": {"": {"files": 1, "bytes": 2}}},
            [
                "folder /: 0 files of 0 bytes were backed up, 1 of 2 came back",
                "folder wp-content/uploads: 3 files of 30 bytes were backed up, 0 of 0 came back",
            ],
        ),
    ],
)
def test_each_difference_is_a_sentence(changes: dict[str, object], sentences: list[str]):
    assert compare_facts(fact(), fact(**changes)) == sentences


def test_what_one_side_does_not_know_is_no_difference():
    assert compare_facts({}, fact()) == []
    assert compare_facts(fact(), {}) == []
    assert compare_facts({"wordpress": None}, fact()) == []
