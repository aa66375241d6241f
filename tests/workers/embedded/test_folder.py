"""The demo's folder: private, kept from start to start, used by one demo at a time."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from workers.embedded.folder import open_folder
from workers.engine.errors import EngineError


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_secrets_are_private_and_the_same_when_opened_again(tmp_path: Path) -> None:
    with open_folder(tmp_path / "demo") as folder:
        first = folder.secrets()
    with open_folder(tmp_path / "demo") as folder:
        assert folder.secrets() == first
    assert _mode(tmp_path / "demo") == 0o700
    assert _mode(tmp_path / "demo/secrets.json") == 0o600
    assert len(first.secret_key) >= 50
    Fernet(first.encryption_key)
    assert first.secret_key not in repr(first)


def test_two_folders_have_different_secrets(tmp_path: Path) -> None:
    with open_folder(tmp_path / "one") as one, open_folder(tmp_path / "two") as two:
        assert one.secrets() != two.secrets()


def test_the_folder_is_made_private_when_it_was_not(tmp_path: Path) -> None:
    (tmp_path / "demo").mkdir(mode=0o755)
    with open_folder(tmp_path / "demo"):
        assert _mode(tmp_path / "demo") == 0o700


def test_a_second_demo_is_refused_while_one_runs_in_the_folder(tmp_path: Path) -> None:
    with (
        open_folder(tmp_path / "demo"),
        pytest.raises(EngineError, match=r"runs in .* already"),
        open_folder(tmp_path / "demo"),
    ):
        pass
    with open_folder(tmp_path / "demo"):
        pass


@pytest.mark.parametrize("content", ["", "{", "[]", '{"secret_key": "x"}', '{"other": 1}'])
def test_damaged_secrets_are_an_error_with_a_way_out(tmp_path: Path, content: str) -> None:
    with open_folder(tmp_path / "demo") as folder:
        (folder.root / "secrets.json").write_text(content)
        with pytest.raises(EngineError, match=r"secrets\.json cannot be used") as caught:
            folder.secrets()
    assert "make clean" in caught.value.hint


def test_secrets_are_made_anew_when_an_earlier_start_was_interrupted(tmp_path: Path) -> None:
    with open_folder(tmp_path / "demo") as folder:
        (folder.root / "secrets.partial").write_text("half")
        assert folder.secrets() == folder.secrets()


def test_a_folder_that_cannot_be_made_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(EngineError, match=f"cannot write to {tmp_path}/file/demo"),
        open_folder(tmp_path / "file" / "demo"),
    ):
        pass


def test_the_lock_is_not_left_open_when_the_folder_is_refused(tmp_path: Path) -> None:
    with open_folder(tmp_path / "demo"):
        before = set(os.listdir("/proc/self/fd"))
        for _ in range(5):
            with pytest.raises(EngineError), open_folder(tmp_path / "demo"):
                pass
        assert set(os.listdir("/proc/self/fd")) == before
