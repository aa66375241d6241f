"""Secrets in files, passwords apart from their URLs, and the file that `node join` writes."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from backups.environment_file import read_private
from panel.env import Environment, read_environment

KEY = "a-secret-key-in-a-file-that-is-long-enough-for-anybody-at-all"
FERNET = "3kKqYPtv5yXc0mZr8vB7WQd1nT4sJ6uL9eHfGgAoIxE="
# Everything that a URL, a shell or an environment file could trip over.
PASSWORD = "p@ss/w%rd:#? [x]'\"\\ $HOME ü"
ENCODED = "p%40ss%2Fw%25rd%3A%23%3F%20%5Bx%5D%27%22%5C%20%24HOME%20%C3%BC"


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Begin with nothing, and with a home that holds nothing."""
    for name in [name for name in os.environ if name.startswith("HOLDFAST_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(os, "geteuid", lambda: 1000)


def environment_of(monkeypatch: pytest.MonkeyPatch, **values: object) -> Environment:
    for name, value in values.items():
        monkeypatch.setenv(f"HOLDFAST_{name}", str(value))
    return read_environment()


def file_with(path: Path, content: str | bytes, mode: int = 0o600) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    path.chmod(mode)
    return path


def test_secrets_are_read_from_files_when_files_are_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    environment = environment_of(
        monkeypatch,
        ENVIRONMENT="production",
        SECRET_KEY_FILE=file_with(tmp_path / "secret", f"\n{KEY}\n"),
        ENCRYPTION_KEYS_FILE=file_with(tmp_path / "keys", f"{FERNET} ,{FERNET}\r\n"),
        DATABASE_URL_FILE=file_with(tmp_path / "database", "postgres://me:pw@db.example.com/x\n"),
        BROKER_URL_FILE=file_with(tmp_path / "broker", "rediss://:pw@redis.example.com/3"),
    )
    assert environment.secret_key == KEY
    assert environment.encryption_keys == [FERNET, FERNET]
    assert environment.database["HOST"] == "db.example.com"
    assert environment.broker_url == "rediss://:pw@redis.example.com/3"


def test_passwords_become_part_of_their_urls_whatever_is_in_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    environment = environment_of(
        monkeypatch,
        DATABASE_URL="mysql://holdfast@db.example.com:3307/panel?charset=utf8mb4",
        DATABASE_PASSWORD=PASSWORD,
        BROKER_URL="redis://redis.example.com:6379/0",
        BROKER_PASSWORD_FILE=file_with(tmp_path / "redis", f"{PASSWORD}\n"),
    )
    assert environment.database["PASSWORD"] == PASSWORD
    assert (environment.database["USER"], environment.database["PORT"]) == ("holdfast", 3307)
    assert environment.broker_url == f"redis://:{ENCODED}@redis.example.com:6379/0"
    # Other hosts reach both under the same names, so they get the same.
    assert f":{ENCODED}@db.example.com:3307/" in environment.node_database_url
    assert environment.node_broker_url == environment.broker_url


def test_nodes_get_urls_of_their_own_with_the_password_filled_in(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    environment = environment_of(
        monkeypatch,
        DATABASE_URL="mysql://holdfast@mariadb/panel",
        DATABASE_PASSWORD="pw",
        NODE_DATABASE_URL="mysql://holdfast@db.example.com/panel",
        BROKER_URL="redis://127.0.0.1/0",
        BROKER_PASSWORD="pw",
        NODE_BROKER_URL="rediss://node:other@redis.example.com/0",
    )
    assert environment.node_database_url == "mysql://holdfast:pw@db.example.com/panel"
    assert environment.node_broker_url == "rediss://node:other@redis.example.com/0"


@pytest.mark.parametrize(
    "url",
    [
        "sqlite:///panel.sqlite3",
        "mysql://me@localhost/x",
        "mysql://me@127.0.0.1/x",
        "postgres://me@[::1]/x",
        "postgres://me@%2fvar%2frun%2fpostgresql/x",
    ],
)
def test_nodes_have_no_url_when_it_means_something_else_on_another_host(
    monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    environment = environment_of(monkeypatch, DATABASE_URL=url)
    assert (environment.node_database_url, environment.node_broker_url) == ("", "")


SECRET = "do-not-show-this"
WRONG: dict[str, tuple[dict[str, str], str]] = {
    "a secret given twice": (
        {"SECRET_KEY": SECRET, "SECRET_KEY_FILE": "{good}"},
        "HOLDFAST_SECRET_KEY and HOLDFAST_SECRET_KEY_FILE are both set",
    ),
    "a file that is not there": (
        {"BROKER_URL_FILE": "{missing}"},
        "HOLDFAST_BROKER_URL_FILE names {missing}, which cannot be read (No such file",
    ),
    "a folder for a file": ({"BROKER_URL_FILE": "{folder}"}, "cannot be read (Is a directory)"),
    "an empty file": ({"DATABASE_URL_FILE": "{empty}"}, "{empty}, which is empty"),
    "a file that is no text": ({"DATABASE_URL_FILE": "{bytes}"}, "{bytes}, which is no text"),
    "a file with something else": (
        {"DATABASE_URL_FILE": "{good}"},
        "HOLDFAST_DATABASE_URL is not a usable database URL",
    ),
    "a password for SQLite": (
        {"DATABASE_URL": "sqlite:///x.sqlite3", "DATABASE_PASSWORD": SECRET},
        "HOLDFAST_DATABASE_PASSWORD is set, but HOLDFAST_DATABASE_URL is SQLite's",
    ),
    "two passwords": (
        {"BROKER_URL": f"redis://:{SECRET}@host", "BROKER_PASSWORD": SECRET},
        "HOLDFAST_BROKER_URL holds a password of its own",
    ),
    "brackets that do not close": (
        {"BROKER_URL": f"redis://:{SECRET}@[host"},
        '"HOLDFAST_BROKER_URL": Must be redis://',
    ),
    "a password that is not encoded": (
        {"BROKER_URL": f"redis://:{SECRET}/{SECRET}@host:6379/0"},
        '"HOLDFAST_BROKER_URL": Must be redis://',
    ),
    "a password that is not encoded, for nodes": (
        {"NODE_BROKER_URL": f"redis://:{SECRET}#{SECRET}@host:6379/0"},
        "with special characters in the password percent-encoded",
    ),
    "a database of another kind for nodes": (
        {"NODE_DATABASE_URL": f"oracle9://me:{SECRET}@host/name"},
        "HOLDFAST_NODE_DATABASE_URL is not a usable database URL",
    ),
    "a broker of another kind for nodes": (
        {"NODE_BROKER_URL": f"amqp://me:{SECRET}@host"},
        '"HOLDFAST_NODE_BROKER_URL": Must be redis://',
    ),
    "an agent without a pause": ({"AGENT_SECONDS": "0"}, '"HOLDFAST_AGENT_SECONDS": Must be'),
    "a negative grace": ({"GRACE_SECONDS": "-1"}, '"HOLDFAST_GRACE_SECONDS": Must be'),
    "a node's file that is not there": ({"NODE_FILE": "{missing}"}, "{missing} cannot be read"),
    "a node's file that others may read": ({"NODE_FILE": "{open}"}, "chmod 600 {open}"),
    "a line that is none": ({"NODE_FILE": "{good}"}, "{good}, line 1: not NAME=value"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_sentence_without_the_secret_says_what_is_wrong_with(
    wrong: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    places = {
        "good": file_with(tmp_path / "good", SECRET),
        "open": file_with(tmp_path / "open", f"HOLDFAST_SECRET_KEY={SECRET}", 0o640),
        "empty": file_with(tmp_path / "empty", " \n"),
        "bytes": file_with(tmp_path / "bytes", b"\xff\xfe"),
        "folder": tmp_path,
        "missing": tmp_path / "missing",
    }
    values, expected = WRONG[wrong]
    with pytest.raises(ImproperlyConfigured) as caught:
        environment_of(monkeypatch, **{n: v.format(**places) for n, v in values.items()})
    assert expected.format(**places) in str(caught.value)
    assert SECRET not in str(caught.value)


def test_the_nodes_file_is_found_in_the_home_and_the_environment_wins(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    lines = f"""
# Made by node join
HOLDFAST_NODE=web-07
HOLDFAST_SECRET_KEY={KEY}
export HOLDFAST_LEASE_SECONDS = "77"
HOLDFAST_CLAIM_SECONDS='11'
"""
    file_with(tmp_path / ".config/holdfast/node.env", lines)
    environment = environment_of(monkeypatch, CLAIM_SECONDS=12)
    assert (environment.node, environment.secret_key) == ("web-07", KEY)
    assert (environment.lease_seconds, environment.claim_seconds) == (77, 12)
    assert environment.node_file == tmp_path / ".config/holdfast/node.env"


def test_a_secret_of_the_environment_wins_over_a_file_that_the_nodes_file_names(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = file_with(tmp_path / "node.env", "HOLDFAST_SECRET_KEY_FILE=/nowhere")
    assert environment_of(monkeypatch, NODE_FILE=path, SECRET_KEY=KEY).secret_key == KEY


def test_no_file_is_read_when_it_is_switched_off(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file_with(tmp_path / ".config/holdfast/node.env", "HOLDFAST_NODE=web-07")
    environment = environment_of(monkeypatch, NODE_FILE="")
    assert (environment.node, environment.node_file) == ("", None)


def test_values_are_read_as_systemd_and_compose_read_them(tmp_path: Path) -> None:
    lines = r"""
; a comment of systemd's
PLAIN=redis://:p%40w@host/0?a=b#c
EMPTY=
SINGLE='$HOME "\n"'
DOUBLE="it's \"here\" \\ \$1"
"""
    assert read_private(file_with(tmp_path / "file", lines)) == {
        "PLAIN": "redis://:p%40w@host/0?a=b#c",
        "EMPTY": "",
        "SINGLE": '$HOME "\\n"',
        "DOUBLE": 'it\'s "here" \\ $1',
    }


@pytest.mark.parametrize(
    "line", ["A", "=x", "A B=x", "A='x", "A='x'y", 'A="x', "A=x y", "A=$HOME", 'A="$HOME"', "A=\\n"]
)
def test_a_line_that_programs_read_differently_is_refused(line: str, tmp_path: Path) -> None:
    with pytest.raises(ImproperlyConfigured, match="line 2"):
        read_private(file_with(tmp_path / "file", f"GOOD=x\n{line}\n"))


@pytest.mark.parametrize(("command", "bound"), [("check", 120), ("migrate", None)])
def test_statements_on_mysql_are_bounded_but_those_of_a_migration(
    monkeypatch: pytest.MonkeyPatch, command: str, bound: int | None
) -> None:
    monkeypatch.setattr(sys, "argv", ["manage.py", command])
    environment = environment_of(monkeypatch, DATABASE_URL="mysql://holdfast@db.example.com/panel")
    assert environment.database["OPTIONS"].get("read_timeout") == bound
