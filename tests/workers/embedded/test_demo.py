"""`manage.py demo` as a person runs it: real processes, a small site, nothing left behind."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from django.core.management import CommandError, call_command

from backups.models import Node
from panel.accounts.models import User
from tests.servers import wait_until
from workers.embedded.folder import open_folder

ROOT = Path(__file__).resolve().parents[3]


def _argv(folder: Path, *options: str) -> list[str]:
    return [sys.executable, "manage.py", "demo", "--folder", str(folder), "--small", *options]


def _run(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        _argv(folder, *options), cwd=ROOT, capture_output=True, text=True, timeout=240
    )


def _running_in(folder: Path) -> list[psutil.Process]:
    """Every process that names the folder, or whose working folder it is."""
    found = []
    for process in psutil.process_iter():
        try:
            named = any(str(folder) in part for part in process.cmdline())
            if named or Path(process.cwd()).is_relative_to(folder):
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


@pytest.mark.slow
def test_the_site_is_restored_as_it_was_and_the_data_kept_when_started_twice(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "demo"
    first = _run(folder, "--exit")
    assert first.returncode == 0, first.stdout + first.stderr
    assert "The restored site is what was backed up." in first.stdout
    assert re.search(r"^sha256   [0-9a-f]{64}$", first.stdout, re.MULTILINE)
    assert re.search(r"http://127\.0\.0\.1:\d+/admin/backup-maintenance/", first.stdout)
    assert _running_in(folder) == []
    inode = (folder / "site").stat().st_ino

    second = _run(folder, "--exit")
    assert second.returncode == 0, second.stdout + second.stderr
    assert (folder / "site").stat().st_ino == inode
    assert len(list((folder / "bundles").rglob("*.tar.zst"))) == 2
    assert _running_in(folder) == []
    password = re.search(r"the password (\S+)", second.stdout)
    assert password
    _nowhere_in(folder, [password[1], *json.loads((folder / "secrets.json").read_text()).values()])


def _nowhere_in(folder: Path, texts: list[str]) -> None:
    """The secrets' own file and the broker's configuration are private, and left out here."""
    for path in [*(folder / "logs").iterdir(), folder / "holdfast.sqlite3"]:
        content = path.read_bytes()
        assert not [text for text in texts if text.encode() in content], path


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGHUP])
def test_no_process_is_left_when_the_demo_is_ended_in_the_middle(
    tmp_path: Path, number: signal.Signals
) -> None:
    folder = tmp_path / "demo"
    demo = subprocess.Popen(
        _argv(folder), cwd=ROOT, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert demo.stdout is not None
    try:
        assert any("Stage 1/5" in line for line in demo.stdout)
        started = psutil.Process(demo.pid).children(recursive=True)
        assert len(started) >= 5
        os.killpg(demo.pid, number)
        demo.wait(60)
        wait_until(lambda: _running_in(folder) == [], message="every process has ended")
        _, alive = psutil.wait_procs(started, timeout=10)
        assert alive == []
    finally:
        demo.kill()
        demo.wait()
        demo.stdout.close()


def test_the_reason_is_said_when_there_is_no_site(tmp_path: Path) -> None:
    done = _run(tmp_path / "demo", "--exit", "--site", str(tmp_path))
    assert done.returncode == 1
    assert "holds neither wp-content nor wp-config.php" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_reason_is_said_when_a_demo_runs_there_already(tmp_path: Path) -> None:
    with open_folder(tmp_path / "demo"):
        done = _run(tmp_path / "demo", "--exit")
    assert done.returncode == 1
    assert "already" in done.stderr
    assert "Traceback" not in done.stderr


def _prepare(monkeypatch: pytest.MonkeyPatch, told: str) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(told))
    call_command("prepare_demo")


WANTED = {"email": "a@demo.example", "password": "first-Password-1", "node": "n", "roots": ["/a"]}


@pytest.mark.django_db
def test_user_and_node_follow_what_is_told_when_prepared_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _prepare(monkeypatch, json.dumps(WANTED))
    assert User.objects.get().check_password("first-Password-1")
    again = {**WANTED, "password": "second-Password-2", "roots": ["/b", "/c"]}
    _prepare(monkeypatch, json.dumps(again))
    user = User.objects.get()
    assert not user.check_password("first-Password-1")
    assert user.check_password("second-Password-2")
    assert (user.role, user.is_staff, user.is_superuser) == ("super_admin", True, True)
    assert Node.objects.get().allowed_roots == ["/b", "/c"]


@pytest.mark.django_db
@pytest.mark.parametrize("told", ["", "{}", "[]", "no JSON", '{"email": "a@demo.example"}'])
def test_nothing_is_made_when_what_is_told_is_not_whole(
    monkeypatch: pytest.MonkeyPatch, told: str
) -> None:
    with pytest.raises(CommandError, match="must be JSON with email"):
        _prepare(monkeypatch, told)
    assert not User.objects.exists()
    assert not Node.objects.exists()
