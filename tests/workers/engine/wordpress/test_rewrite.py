"""Rewriting a site's database for another place: in MariaDB and SQLite, all or nothing."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.servers.mariadb import MariaDBServer
from workers.engine.databases.base import DatabaseSpec
from workers.engine.errors import EngineError, StopRequested
from workers.engine.progress import SilentReporter
from workers.engine.wordpress.rewrite import RewriteReport, rewrite_site, tables_of_site
from workers.engine.wordpress.tables import TableShape, open_tables

OLD, NEW = "http://old.example", "https://new.example/blog"
NOTE = 's:%d:"%s";'


def serialised(url: str) -> str:
    text = f"{url}/ü 🎉 \"'\\"
    return f'a:1:{{s:3:"url";s:{len(text.encode())}:"{text}";}}'


BROKEN = 'a:1:{s:3:"url";s:99:"http://old.example";}'
ROWS = {
    "wp_options": [
        (1, "siteurl", OLD),
        (2, "widget", serialised(OLD)),
        (3, "broken", BROKEN),
        (4, "wp_user_roles", "a:0:{}"),
        (5, "path", "/srv/old/wp-content"),
        (6, "wp_other", "untouched"),
    ],
    "wp_2_options": [(1, "siteurl", f"{OLD}/two"), (2, "wp_2_user_roles", "a:0:{}")],
    "wp_shop_options": [(1, "siteurl", OLD)],
    "wp_usermeta": [
        (1, "wp_capabilities", "a:0:{}"),
        (2, "wp_2_user_level", "10"),
        (3, "nickname", OLD),
        (4, "WP_capabilities", "another case"),
    ],
}
POSTS = [
    (1, f"<a href='{OLD}/a'>x</a> http://old.example.com", f"{OLD}/?p=1"),
    (2, "nothing", f"{OLD}/?p=2"),
    (3, f'{{"u":"{OLD}/"}}'.replace("/", "\\/"), "x"),
]

SCHEMA = [
    *(
        f"CREATE TABLE {name} (id BIGINT NOT NULL PRIMARY KEY, name VARCHAR(191) NOT NULL,"
        " value LONGTEXT)"
        for name in ROWS
    ),
    "CREATE TABLE wp_posts (ID BIGINT NOT NULL PRIMARY KEY, post_content LONGTEXT,"
    " guid VARCHAR(255))",
    "CREATE TABLE wp_shop_posts (ID BIGINT NOT NULL PRIMARY KEY)",
    "CREATE TABLE wp_shop_postmeta (ID BIGINT NOT NULL PRIMARY KEY)",
    "CREATE TABLE other (id BIGINT NOT NULL PRIMARY KEY, value TEXT)",
    "CREATE TABLE wp_named (url VARCHAR(100) NOT NULL PRIMARY KEY, value TEXT)",
]


@dataclass
class Site:
    spec: DatabaseSpec
    execute: Callable[[str], list[tuple[str, ...]]]

    def rewrite(self, **fields) -> RewriteReport:
        settings = {"prefix": "wp_", "check": lambda: None, "reporter": SilentReporter()}
        return rewrite_site(self.spec, **(settings | fields))

    def values(self, table: str, column: str = "value") -> list[str]:
        return [row[0] for row in self.execute(f"SELECT {column} FROM {table} ORDER BY 1")]

    def all(self) -> dict[str, list[tuple[str, ...]]]:
        names = [*ROWS, "wp_posts", "other", "wp_named"]
        return {name: self.execute(f"SELECT * FROM {name}") for name in names}


def literal(value: object) -> str:
    if isinstance(value, int):
        return str(value)
    return "CAST(X'" + str(value).encode().hex() + "' AS CHAR)"


def fill(execute: Callable[[str], object]) -> None:
    for statement in SCHEMA:
        for table in ("options", "usermeta"):
            if f"{table} (" in statement and "wp_named" not in statement:
                name, value = ("option_name", "option_value") if table == "options" else (
                    "meta_key", "meta_value",
                )  # fmt: skip
                statement = statement.replace(" name ", f" {name} ").replace(
                    " value ", f" {value} "
                )
        execute(statement)
    rows = {**ROWS, "wp_posts": POSTS, "other": [(1, OLD)], "wp_named": [(f"{OLD}/key", OLD)]}
    for table, lines in rows.items():
        for line in lines:
            execute(f"INSERT INTO {table} VALUES ({', '.join(map(literal, line))})")


@pytest.fixture
def sqlite_site(tmp_path: Path) -> Site:
    path = tmp_path / "site.sqlite"

    def execute(statement: str) -> list[tuple[str, ...]]:
        with sqlite3.connect(path) as connection:
            found = connection.execute(statement.replace(" AS CHAR)", " AS TEXT)")).fetchall()
        connection.close()
        return found

    fill(execute)
    return Site(DatabaseSpec("sqlite", str(path)), execute)


@pytest.fixture
def mysql_site(mariadb_server: MariaDBServer) -> Site:
    name = mariadb_server.create_database()

    def execute(statement: str) -> list[tuple[str, ...]]:
        answer = mariadb_server.execute(
            statement.replace("AS CHAR)", "AS CHAR CHARACTER SET utf8mb4)"), name
        )
        cells = (line.split("\t") for line in answer.splitlines())
        # The client escapes backslashes in what it writes out.
        return [tuple(cell.replace("\\\\", "\\") for cell in row) for row in cells]

    fill(execute)
    spec = DatabaseSpec(
        "mysql",
        name,
        host=mariadb_server.host,
        port=mariadb_server.port,
        user=mariadb_server.user,
        password=mariadb_server.password,
    )
    return Site(spec, execute)


@pytest.fixture(params=["sqlite_site", "mysql_site"])
def site(request: pytest.FixtureRequest) -> Site:
    return request.getfixturevalue(request.param)


def test_url_and_path_are_replaced_in_the_sites_tables_alone(site: Site):
    reporter = SilentReporter()
    report = site.rewrite(
        old_url=OLD, new_url=NEW, old_path="/srv/old", new_path="/home/www", reporter=reporter
    )
    assert report.tables == {
        "wp_options": 3, "wp_2_options": 1, "wp_usermeta": 1, "wp_posts": 2, "wp_named": 1,
    }  # fmt: skip
    assert report.rows == 8
    assert sorted(site.values("wp_options", "option_value")) == sorted(
        [NEW, serialised(NEW), BROKEN, "a:0:{}", "/home/www/wp-content", "untouched"]
    )
    assert site.values("wp_2_options", "option_value")[-1] == f"{NEW}/two"
    assert sorted(site.values("wp_posts", "post_content")) == sorted(
        [
            f"<a href='{NEW}/a'>x</a> http://old.example.com",
            "nothing",
            f'{{"u":"{NEW}/"}}'.replace("/", "\\/"),
        ]
    )
    assert site.values("wp_posts", "guid") == [f"{OLD}/?p=1", f"{OLD}/?p=2", "x"]
    assert site.execute("SELECT * FROM wp_named") == [(f"{OLD}/key", NEW)]
    assert site.values("wp_shop_options", "option_value") == [OLD]
    assert site.values("other") == [OLD]
    [left] = report.left
    assert (left.table, left.column, left.key) == ("wp_options", "option_value", "3")
    assert "looks serialised" in left.reason
    assert report.left_count == 1
    assert "Rewriting wp_posts" in reporter.details
    assert "1 values still hold the old URL" in reporter.warnings[0]


def test_guids_are_replaced_when_they_are_asked_for(site: Site):
    site.rewrite(old_url=OLD, new_url=NEW, skip_guids=False)
    assert site.values("wp_posts", "guid") == [f"{NEW}/?p=1", f"{NEW}/?p=2", "x"]


def test_nothing_changes_when_the_work_is_stopped(site: Site):
    before = site.all()
    calls = 0

    def check() -> None:
        nonlocal calls
        calls += 1
        if calls > 5:
            raise StopRequested

    with pytest.raises(StopRequested):
        site.rewrite(old_url=OLD, new_url=NEW, check=check)
    assert site.all() == before


def test_nothing_changes_when_one_statement_fails(mysql_site: Site):
    mysql_site.execute("CREATE UNIQUE INDEX own ON wp_usermeta (meta_value(50))")
    mysql_site.execute(f"INSERT INTO wp_usermeta VALUES (9, 'x', '{NEW}')")
    before = mysql_site.all()
    with pytest.raises(EngineError) as caught:
        mysql_site.rewrite(old_url=OLD, new_url=NEW)
    assert "Rewriting the database" in caught.value.message
    assert mysql_site.spec.password not in caught.value.sentences()
    assert mysql_site.all() == before


def test_keys_of_every_type_name_their_row(mysql_site: Site):
    keys = {
        "n DECIMAL(10,2)": "12.50",
        "d DATE": "2024-02-29",
        "b BINARY(4)": "\0a'\\",
        "s VARCHAR(9)": "ü'\\",
        "e ENUM('a','b')": "b",
        "l VARCHAR(9) CHARACTER SET latin1": "ü",
    }
    for number, (column, key) in enumerate(keys.items()):
        mysql_site.execute(
            f"CREATE TABLE wp_k{number} ({column} NOT NULL, m INT NOT NULL, value TEXT,"
            f" changed TIMESTAMP DEFAULT '2001-02-03 04:05:06' ON UPDATE CURRENT_TIMESTAMP,"
            f" twice TEXT AS (CONCAT(value, value)) STORED,"
            f" PRIMARY KEY ({column.split()[0]}, m))"
        )
        shown = f"X'{key.encode().hex()}'" if "BINARY" in column else literal(key)
        for second in (1, -2):
            mysql_site.execute(
                f"INSERT INTO wp_k{number} ({column.split()[0]}, m, value)"
                f" VALUES ({shown}, {second}, '{OLD}{second}')"
            )
    report = mysql_site.rewrite(old_url=OLD, new_url=f"{NEW}")
    # "http://old.example1" is another host; "-2" goes on a name as well.
    assert not any(name.startswith("wp_k") for name in report.tables)
    for number in range(len(keys)):
        mysql_site.execute(
            f"UPDATE wp_k{number} SET value = CONCAT('{OLD}/', m), changed = changed"
        )
    report = mysql_site.rewrite(old_url=OLD, new_url=NEW)
    for number in range(len(keys)):
        assert report.tables[f"wp_k{number}"] == 2
        found = mysql_site.execute(f"SELECT m, value, changed, twice FROM wp_k{number} ORDER BY m")
        assert found == [
            (str(m), f"{NEW}/{m}", "2001-02-03 04:05:06", f"{NEW}/{m}" * 2) for m in (-2, 1)
        ]


def test_what_does_not_fit_is_left_and_told(mysql_site: Site):
    mysql_site.execute("CREATE TABLE wp_short (id INT PRIMARY KEY, url VARCHAR(20), t TINYTEXT)")
    mysql_site.execute(
        f"INSERT INTO wp_short VALUES (7, '{OLD}', CONCAT('{OLD} ', REPEAT('x', 235)))"
    )
    mysql_site.execute("CREATE TABLE wp_keyless (url VARCHAR(20))")
    report = mysql_site.rewrite(old_url=OLD, new_url=NEW)
    assert [(left.column, left.key) for left in report.left if left.table == "wp_short"] == [
        ("url", "7"),
        ("t", "7"),
    ]
    assert "wp_short" not in report.tables
    assert report.notes == ["Table wp_keyless has no primary key and was not looked through"]


def test_bytes_that_are_no_text_come_through_when_a_value_changes(mysql_site: Site):
    mysql_site.execute("CREATE TABLE wp_raw (id INT PRIMARY KEY, v LONGTEXT CHARACTER SET latin1)")
    raw = b"\x00\x01\r\n\t\\'\"\xff\xfe\x1a"
    old, new = (url.encode().hex() for url in (OLD, NEW))
    mysql_site.execute(f"INSERT INTO wp_raw VALUES (1, X'{raw.hex()}{old}')")
    mysql_site.rewrite(old_url=OLD, new_url=NEW)
    [(found,)] = mysql_site.execute("SELECT HEX(v) FROM wp_raw")
    assert found.lower() == raw.hex() + new


def test_a_value_larger_than_the_servers_packets_is_left_and_told(mysql_site: Site):
    mysql_site.execute("CREATE TABLE wp_large (id INT PRIMARY KEY, v LONGTEXT)")
    with open_tables(mysql_site.spec, check=lambda: None) as client:
        most = client.most_value_bytes
    megabytes = (most >> 20) + 2
    mysql_site.execute(f"INSERT INTO wp_large VALUES (1, CONCAT('{OLD} ', REPEAT('x', 1048576)))")
    for _ in range(megabytes.bit_length()):
        mysql_site.execute("UPDATE wp_large SET v = CONCAT(v, v) WHERE LENGTH(v) < 60000000 / 2")
    [(size,)] = mysql_site.execute("SELECT LENGTH(v) FROM wp_large")
    if int(size) <= most:
        pytest.skip("this server takes packets of any size")
    report = mysql_site.rewrite(old_url=OLD, new_url=NEW)
    assert "wp_large" not in report.tables
    assert any(left.table == "wp_large" and "larger" in left.reason for left in report.left)


def test_a_networks_domain_follows(site: Site):
    site.execute(
        "CREATE TABLE wp_blogs (blog_id BIGINT NOT NULL PRIMARY KEY, domain VARCHAR(200),"
        " path VARCHAR(100))"
    )
    site.execute("INSERT INTO wp_blogs VALUES (1, 'old.example', '/')")
    site.execute("INSERT INTO wp_blogs VALUES (2, 'own.example', '/')")
    report = site.rewrite(old_url=OLD, new_url="https://new.example")
    assert site.values("wp_blogs", "domain") == ["new.example", "own.example"]
    assert "DOMAIN_CURRENT_SITE" in report.notes[0]


@pytest.mark.parametrize(
    "fields",
    [
        {"prefix": "wp_'; --"},
        {"old_url": "old.example", "new_url": NEW},
    ],
)
def test_an_error_says_so_when_a_name_is_unusable(sqlite_site: Site, fields: dict[str, str]):
    with pytest.raises(EngineError) as caught:
        sqlite_site.rewrite(**fields)
    assert caught.value.code == "move_unusable"


def test_an_engine_that_wordpress_does_not_use_is_refused():
    with (
        pytest.raises(EngineError) as caught,
        open_tables(DatabaseSpec("postgresql", "x"), check=lambda: None),
    ):
        pass
    assert caught.value.code == "rewrite_unsupported"


def test_a_plugins_table_named_options_is_the_sites_own():
    own = [f"wp_{name}" for name in ["options", "posts", "postmeta", "seo_options", "seo_links"]]
    own += [f"wp_2_{name}" for name in ["options", "posts", "postmeta"]]
    others = [f"wp_b_{name}" for name in ["options", "posts", "postmeta", "x"]]
    shapes = [TableShape(name, True, ()) for name in [*own, *others, "x"]]
    assert [table.name for table in tables_of_site(shapes, "wp_")] == own
