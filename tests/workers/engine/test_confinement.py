"""Paths stay below the allowed roots."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from workers.engine.confinement import resolve_below, resolve_new_below
from workers.engine.errors import EngineError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "root" / "site").mkdir(parents=True)
    (tmp_path / "root2" / "site").mkdir(parents=True)
    return tmp_path / "root"


def test_the_real_path_is_returned_when_it_lies_below_a_root(root: Path):
    (root / "link").symlink_to("site")
    assert resolve_below(root / "link" / ".." / "site", [root]) == root / "site"
    assert resolve_below(root, [root]) == root


def test_the_path_is_allowed_when_the_root_itself_is_a_link(root: Path):
    alias = root.parent / "alias"
    alias.symlink_to(root)
    assert resolve_below(alias / "site", [alias]) == root / "site"
    assert resolve_below(root / "site", [alias]) == root / "site"


@pytest.mark.parametrize(
    "path",
    [
        "../root2/site",
        "../root2",
        "..",
        "out",
        "out/site",
        "site/../../root2/site",
        "../missing",
        "dangling",
    ],
)
def test_the_path_is_refused_when_it_leads_out(root: Path, path: str):
    (root / "out").symlink_to(root.parent / "root2")
    (root / "dangling").symlink_to(root.parent / "nothing")
    with pytest.raises(EngineError) as caught:
        resolve_below(root / path, [root, root / "missing-root"])
    assert caught.value.code == "path_not_allowed"
    assert caught.value.permanent
    assert str(root) in caught.value.hint


@pytest.mark.parametrize("path", ["relative/site", "", "/a\0b"])
def test_the_path_is_refused_when_it_is_not_absolute_or_not_a_path(root: Path, path: str):
    with pytest.raises(EngineError) as caught:
        resolve_below(Path(path), [root])
    assert caught.value.code == "path_not_allowed"


def test_nothing_is_allowed_when_there_are_no_roots(root: Path):
    with pytest.raises(EngineError) as caught:
        resolve_below(root, [])
    assert caught.value.code == "path_not_allowed"
    assert "no allowed folders" in caught.value.hint
    with pytest.raises(EngineError):
        resolve_below(root, [Path(".")])


@pytest.mark.parametrize("path", ["missing", "loop", "file/below"])
def test_the_path_is_not_found_when_it_would_be_allowed_but_is_not_there(root: Path, path: str):
    os.symlink("loop", root / "loop")
    (root / "file").touch()
    with pytest.raises(EngineError) as caught:
        resolve_below(root / path, [root])
    assert caught.value.code == "site_not_found"
    assert caught.value.permanent


@pytest.mark.parametrize("path", ["new", "new/deeper/still", "site/new", "link/new", "site", ""])
def test_a_new_path_is_where_its_deepest_folder_leads(root: Path, path: str):
    (root / "link").symlink_to("site")
    expected = root / path.replace("link", "site")
    assert resolve_new_below(root / path, [root]) == expected
    assert not (root / "new").exists()


@pytest.mark.parametrize(
    "path",
    [
        "../new",
        "../root2/new",
        "out/new",
        "out/site/new",
        "dangling",
        "dangling/new",
        "new/../../root2/x",
        "new/..",
        "a\0b",
        "site/a\0b/c",
    ],
)
def test_a_new_path_is_refused_when_it_leads_out(root: Path, path: str):
    (root / "out").symlink_to(root.parent / "root2")
    (root / "dangling").symlink_to(root.parent / "nothing")
    with pytest.raises(EngineError) as caught:
        resolve_new_below(root / path, [root])
    assert caught.value.code == "path_not_allowed"
    assert caught.value.permanent


@pytest.mark.parametrize("path", ["relative/new", "new", ""])
def test_a_new_path_is_refused_when_it_is_relative(
    root: Path, path: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(root)
    with pytest.raises(EngineError) as caught:
        resolve_new_below(Path(path), [root])
    assert caught.value.code == "path_not_allowed"


@pytest.mark.parametrize("path", ["loop", "loop/new", "file/new", "inner/new"])
def test_a_new_path_is_not_found_when_nothing_can_be_made_there(root: Path, path: str):
    os.symlink("loop", root / "loop")
    os.symlink("missing", root / "inner")
    (root / "file").touch()
    with pytest.raises(EngineError) as caught:
        resolve_new_below(root / path, [root])
    assert caught.value.code == "site_not_found"
