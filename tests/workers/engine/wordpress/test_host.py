"""DB_HOST."""

from __future__ import annotations

import pytest

from workers.engine.wordpress import DatabaseHost, parse_database_host


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("localhost", DatabaseHost("localhost")),
        ("", DatabaseHost()),
        (" db.example.com ", DatabaseHost("db.example.com")),
        ("db:3307", DatabaseHost("db", 3307)),
        ("db:", DatabaseHost("db")),
        ("p:db:3307", DatabaseHost("db", 3307)),
        ("localhost:/run/my.sock", DatabaseHost("localhost", None, "/run/my.sock")),
        (":/run/my:sql.sock", DatabaseHost("", None, "/run/my:sql.sock")),
        ("db:3307:/run/s", DatabaseHost("db", 3307, "/run/s")),
        ("127.0.0.1:3306", DatabaseHost("127.0.0.1", 3306)),
        ("::1", DatabaseHost("::1")),
        ("[::1]", DatabaseHost("::1")),
        ("[::1]:3307", DatabaseHost("::1", 3307)),
        ("2001:db8::7334", DatabaseHost("2001:db8::7334")),
        ("[::ffff:10.0.0.1]:3306", DatabaseHost("::ffff:10.0.0.1", 3306)),
    ],
)  # fmt: skip
def test_host_port_and_socket_are_taken_apart_when_they_are_written_so(text, host):
    assert parse_database_host(text) == host


@pytest.mark.parametrize("text", ["a:b:c", "db:99999", "db:0", "db/x", "[::1", "/run/s", "db:x"])
def test_nothing_is_guessed_when_it_is_no_host(text: str):
    assert parse_database_host(text) is None
