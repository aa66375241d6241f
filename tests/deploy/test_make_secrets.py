"""`deploy/make-secrets`: what it makes is usable, private, and never replaced."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import yaml
from cryptography.fernet import Fernet

from panel.env import SECRET_KEY_CHARACTERS

ROOT = Path(__file__).resolve().parents[2]


def make(folder: Path) -> subprocess.CompletedProcess[str]:
    argv = [str(ROOT / "deploy/make-secrets"), str(folder)]
    return subprocess.run(argv, capture_output=True, text=True, check=True)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    make(tmp_path / "secrets")
    return tmp_path / "secrets"


def test_every_secret_that_compose_mounts_is_made_and_usable(folder: Path) -> None:
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    assert {path.name for path in folder.iterdir()} == set(compose["secrets"])
    assert len((folder / "secret_key").read_text()) >= SECRET_KEY_CHARACTERS
    Fernet((folder / "encryption_keys").read_text())
    hexadecimal = ("database_password", "database_root_password", "broker_password")
    for name in (*hexadecimal, "metrics_token"):
        # Nothing in it that an URL, SQL, a shell or redis.conf would read as something else.
        assert (folder / name).read_text().isalnum()
        assert len((folder / name).read_text()) >= 32


def test_only_the_owner_gets_to_the_files_which_containers_can_read(folder: Path) -> None:
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o444}


def test_nothing_is_replaced_and_what_is_missing_is_added(folder: Path) -> None:
    (folder / "broker_password").unlink()
    before = {path.name: path.read_text() for path in folder.iterdir()}
    done = make(folder)
    assert done.stderr.count("is there already: left as it is") == len(before)
    after = {path.name: path.read_text() for path in folder.iterdir()}
    assert after == {**before, "broker_password": after["broker_password"]}
    assert len(set(after.values())) == len(after)


def test_no_secret_is_said_aloud(folder: Path) -> None:
    (folder / "broker_password").unlink()
    done = make(folder)
    said = done.stdout + done.stderr
    assert [path.name for path in folder.iterdir() if path.read_text() in said] == []
