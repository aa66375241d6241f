"""The scripts behind `make`: what they say where something is missing."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = ROOT / ".ci"
TOOLS = ("sh", "id", "grep", "cat", "rm", "env")


def _run(
    script: str, *arguments: str, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(SCRIPTS / script), *arguments],
        cwd=ROOT,
        env={**os.environ, **(environment or {})},
        capture_output=True,
        text=True,
        timeout=240,
    )


def _program(folder: Path, name: str, script: str) -> Path:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """A folder for the PATH with next to nothing in it."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for tool in TOOLS:
        found = shutil.which(tool)
        assert found
        (folder / tool).symlink_to(found)
    return folder


def test_a_virtual_environment_is_made_over_the_ruins_of_another(tmp_path: Path) -> None:
    (tmp_path / "venv").mkdir()
    (tmp_path / "venv/left behind").touch()
    done = _run("virtualenv", sys.executable, str(tmp_path / "venv"))
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "venv/left behind").exists()
    pip = subprocess.run([tmp_path / "venv/bin/python", "-m", "pip", "--version"], check=False)
    assert pip.returncode == 0


def test_the_python_is_named_when_there_is_none(tmp_path: Path) -> None:
    done = _run("virtualenv", "no-such-python", str(tmp_path / "venv"))
    assert done.returncode == 1
    assert "There is no no-such-python here" in done.stderr


def test_the_version_is_named_when_the_python_is_too_old(tmp_path: Path) -> None:
    script = 'case "$*" in *version_info*) exit 1;; *) echo 3.9.2;; esac'
    python = _program(tmp_path, "python3", script)
    done = _run("virtualenv", str(python), str(tmp_path / "venv"))
    assert done.returncode == 1
    assert "is Python 3.9.2; Holdfast needs 3.11 or newer" in done.stderr
    assert not (tmp_path / "venv").exists()


def test_the_package_is_named_when_python_lacks_ensurepip(tmp_path: Path) -> None:
    script = f'case "$*" in *ensurepip*) exit 1;; *) exec "{sys.executable}" "$@";; esac'
    python = _program(tmp_path, "python3", script)
    done = _run("virtualenv", str(python), str(tmp_path / "venv"))
    assert done.returncode == 1
    assert "apt-get install python3-venv" in done.stderr


def test_nothing_half_made_is_left_when_the_environment_cannot_be_made(tmp_path: Path) -> None:
    script = f'[ "$1 $2" = "-m venv" ] && mkdir "$3" && exit 1; exec "{sys.executable}" "$@"'
    python = _program(tmp_path, "python3", script)
    done = _run("virtualenv", str(python), str(tmp_path / "venv"))
    assert done.returncode == 1
    assert "could not be made" in done.stderr
    assert not (tmp_path / "venv").exists()


def test_the_index_is_named_when_nothing_can_be_installed(tmp_path: Path) -> None:
    assert _run("virtualenv", sys.executable, str(tmp_path / "venv")).returncode == 0
    cut_off = {
        "PIP_NO_INDEX": "1",
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_FIND_LINKS": str(tmp_path),
        "PIP_NO_CACHE_DIR": "1",
    }
    done = _run("install", str(tmp_path / "venv"), "base", environment=cut_off)
    assert done.returncode == 1
    assert "PIP_INDEX_URL" in done.stderr


def test_nothing_is_installed_when_all_programs_are_there() -> None:
    done = _run("system-packages", sys.executable)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_what_is_missing_is_said_where_there_is_no_apt(bare: Path) -> None:
    done = _run("system-packages", sys.executable, environment={"PATH": str(bare)})
    assert done.returncode == 1
    assert "By their names in Debian's packages:" in done.stderr
    for package in ("gcc", "zstd", "age", "libarchive-tools", "sqlite3", "php-cli", "php-mysql"):
        assert f" {package}" in done.stderr


def test_the_command_is_said_when_the_user_may_not_install(bare: Path) -> None:
    _program(bare, "apt-get", "echo must not be called >&2; exit 9")
    (bare / "id").unlink()
    _program(bare, "id", "echo 1000")
    done = _run("system-packages", sys.executable, environment={"PATH": str(bare)})
    assert done.returncode == 1
    assert "sudo apt-get install --no-install-recommends" in done.stderr
    assert "must not be called" not in done.stderr
