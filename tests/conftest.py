"""What every test may use: the servers' fixtures, each in a module of its own."""

from __future__ import annotations

import os
from collections.abc import Generator
from pathlib import Path

import pytest

SERVERS = Path(__file__).parent / "servers"

# Servers use one another's modules: asserts in them are rewritten whoever imports them first.
pytest.register_assert_rewrite("tests.servers")

# Every module beside this folder's __init__.py holds the fixtures of one kind of server.
pytest_plugins = [
    f"tests.servers.{module.stem}"
    for module in sorted(SERVERS.glob("*.py"))
    if module.stem != "__init__"
]


def pytest_configure() -> None:
    """Find PostgreSQL's programs before Debian's scripts, which look for them each time anew.

    That look is a quarter of what a test of many short calls costs.
    """
    if programs := sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=_version):
        os.environ["PATH"] = os.pathsep.join([str(programs[-1]), os.environ["PATH"]])


def _version(folder: Path) -> tuple[int, ...]:
    return tuple(int(part) for part in folder.parent.name.split(".") if part.isdigit())


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Write out what of a test's output is no text: reports travel between processes as UTF-8."""
    report = yield
    report.sections = [(title, _as_text(content)) for title, content in report.sections]
    return report


def _as_text(content: str) -> str:
    return content.encode("utf-8", "backslashreplace").decode()


@pytest.fixture(scope="session")
def django_db_modify_db_settings(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keep the tests' SQLite in a file: threads and processes share it as they do in real life."""
    from django.conf import settings

    database = settings.DATABASES["default"]
    if database["ENGINE"].endswith("sqlite3"):
        name = str(tmp_path_factory.mktemp("database") / "panel.sqlite3")
        database.setdefault("TEST", {})["NAME"] = name


@pytest.fixture(scope="session", autouse=True)
def static_files_are_looked_for_when_they_are_asked_for() -> None:
    """Spare each new test client a walk through all of them, which takes longer than most tests."""
    from django.conf import settings

    settings.WHITENOISE_AUTOREFRESH = True


@pytest.fixture(autouse=True)
def refusals_of_this_test_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Count from zero: the audit trail sums up what came from one address in a minute."""
    from panel.audit import trail
    from panel.audit.flood import Flood

    monkeypatch.setattr(trail, "flood", Flood())


@pytest.fixture(autouse=True)
def storages_on_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the engine speak to the tests' own S3 servers, which are where else nothing may be."""
    from workers.engine import endpoints

    monkeypatch.setitem(endpoints._policy, "local", True)


@pytest.fixture(autouse=True)
def nothing_is_cached() -> None:
    """Forget what earlier tests left: throttles count by address, and tests share one."""
    from django.core.cache import cache

    cache.clear()
