"""What may stand in HOLDFAST_SCRATCH_DATABASES, and that no error shows what does."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from panel.env import read_environment
from panel.scratch_urls import ScratchServer, scratch_servers

SECRET = "do-not-show-this"


def test_servers_are_told_apart_by_engine_place_and_account() -> None:
    text = (
        "mysql://scratch:p%2Cq%40r@db.example.com:3307/, mariadb://me@localhost"
        f"?unix_socket=/run/mysqld/s\npostgres://trial:{SECRET}@[::1]"
    )
    servers = scratch_servers(text, "X")
    assert servers == [
        ScratchServer("mysql", "db.example.com", 3307, "", "scratch", "p,q@r"),
        ScratchServer("mysql", "", None, "/run/mysqld/s", "me", ""),
        ScratchServer("postgresql", "::1", None, "", "trial", SECRET),
    ]
    assert SECRET not in repr(servers)
    assert scratch_servers(" \n", "X") == []


@pytest.mark.parametrize(
    "url",
    [
        f"sqlite:///{SECRET}",
        f"mysql://:{SECRET}@host",
        f"mysql://me:{SECRET}@host/database",
        f"mysql://me:{SECRET}/x@host",
        f"mysql://me:{SECRET}@host?ssl=1",
        f"mysql://me:{SECRET}@host?unix_socket=relative",
        f"mysql://me:{SECRET}@",
        f"mysql://me:{SECRET}@host:0",
        f"mysql://me:{SECRET}@[host",
        SECRET,
    ],
)
def test_a_url_that_cannot_be_is_refused_by_its_number(url: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="X: URL number 2 is not usable") as refusal:
        scratch_servers(f"mysql://me@host,{url}", "X")
    assert SECRET not in str(refusal.value)


def test_they_may_be_in_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "scratch"
    file.write_text(f"mysql://a:{SECRET}@one\npostgresql://b@two\n")
    monkeypatch.setenv("HOLDFAST_SCRATCH_DATABASES_FILE", str(file))
    found = read_environment().scratch_databases
    assert [(server.engine, server.host) for server in found] == [
        ("mysql", "one"),
        ("postgresql", "two"),
    ]
