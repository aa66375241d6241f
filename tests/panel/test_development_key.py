"""The secret key of a development installation."""

from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from panel.development_key import key_in


def test_all_get_the_same_key_when_many_start_at_once(tmp_path: Path) -> None:
    path = tmp_path / ".secret-key"
    with ThreadPoolExecutor(16) as pool:
        keys = set(pool.map(lambda _: key_in(path, variable="X"), range(64)))
    assert len(keys) == 1
    assert len(keys.pop()) > 80
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_two_installations_have_two_keys(tmp_path: Path) -> None:
    assert key_in(tmp_path / "a", variable="X") != key_in(tmp_path / "b", variable="X")


def test_a_sentence_says_what_to_set_when_the_file_cannot_be(tmp_path: Path) -> None:
    with pytest.raises(ImproperlyConfigured, match=r"No such file or directory.*set X"):
        key_in(tmp_path / "missing" / ".secret-key", variable="X")
    (tmp_path / "folder").mkdir()
    with pytest.raises(ImproperlyConfigured, match=r"Is a directory.*set X"):
        key_in(tmp_path / "folder", variable="X")
