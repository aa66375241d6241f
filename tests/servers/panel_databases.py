"""The databases that the panel's rows may live in, each as a URL to an empty one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest

PANEL_DATABASES = ("sqlite", "mariadb", "postgres")


def _sqlite(request: pytest.FixtureRequest, directory: Path) -> str:
    return f"sqlite:///{directory / 'panel.sqlite3'}"


def _mariadb(request: pytest.FixtureRequest, directory: Path) -> str:
    server = request.getfixturevalue("mariadb_server")
    password = quote(server.password, safe="")
    return f"mysql://root:{password}@127.0.0.1:{server.port}/{server.create_database()}"


def _postgres(request: pytest.FixtureRequest, directory: Path) -> str:
    server = request.getfixturevalue("postgres_server")
    login = f"{quote(server.user, safe='')}:{quote(server.password, safe='')}"
    return f"postgres://{login}@127.0.0.1:{server.port}/{server.create_database()}"


_MAKERS: dict[str, Callable[[pytest.FixtureRequest, Path], str]] = {
    "sqlite": _sqlite,
    "mariadb": _mariadb,
    "postgres": _postgres,
}


@pytest.fixture(scope="module", params=PANEL_DATABASES)
def panel_database_url(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> str:
    """A database of each kind in turn, empty at the module's first test."""
    return _MAKERS[request.param](request, tmp_path_factory.mktemp("panel"))
