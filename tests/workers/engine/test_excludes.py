from __future__ import annotations

import pytest

from workers.engine.excludes import DEFAULT_PATTERNS, EXACT_PATH, BadPattern, Excludes

MATCHES = [
    ("node_modules/", b"wp-content/themes/x/node_modules", True, True),
    ("node_modules/", b"wp-content/node_modules", False, False),
    ("node_modules/", b"wp-content/node_modules/deep/file.js", False, True),
    ("*.log", b"wp-content/a.log", False, True),
    ("*.log", b"wp-content/a.log.txt", False, False),
    ("*.log", b"wp-content/.log", False, True),
    ("wp-content/cache/", b"wp-content/cache", True, True),
    ("/wp-content/cache/", b"wp-content/cache/x", False, True),
    ("wp-content/cache/", b"other/wp-content/cache", True, False),
    ("wp-content/*/tmp", b"wp-content/a/tmp", False, True),
    ("wp-content/*/tmp", b"wp-content/a/b/tmp", False, False),
    ("wp-content/**/tmp", b"wp-content/a/b/tmp", False, True),
    ("wp-content/**/tmp", b"wp-content/tmp", False, True),
    ("**/tmp", b"a/b/tmp", False, True),
    ("a/**", b"a/b/c", False, True),
    ("file?.txt", b"x/file1.txt", False, True),
    ("file?.txt", "x/fileü.txt".encode(), False, True),
    ("file?.txt", b"x/file12.txt", False, False),
    ("[a-c]x", b"bx", False, True),
    ("[!a-c]x", b"bx", False, False),
    ("[!a-c]x", b"dx", False, True),
    (r"\*.txt", b"*.txt", False, True),
    (r"\*.txt", b"a.txt", False, False),
    ("a.b", b"axb", False, False),
    ("Straße", "x/Straße".encode(), False, True),
    ("*.Log", b"a.log", False, False),
    ("a+b(c)|d*", b"a+b(c)|dx", False, True),
]


@pytest.mark.parametrize(("pattern", "path", "is_folder", "expected"), MATCHES)
def test_a_path_is_matched_when_gitignore_would(
    pattern: str, path: bytes, is_folder: bool, expected: bool
) -> None:
    found = Excludes([pattern]).match(path, is_folder=is_folder)
    assert found == (pattern if expected else None)


@pytest.mark.parametrize(
    "pattern",
    ["/", "*", "**", "**/", "!a", "[a", "a\\", "a//b", "../x", "a/./b", "a\0b", "[z-a]", "[]"],
)
def test_a_clear_error_comes_when_a_pattern_is_wrong(pattern: str) -> None:
    with pytest.raises(BadPattern) as caught:
        Excludes([pattern])
    assert caught.value.permanent
    assert caught.value.code == "bad_exclude_pattern"
    assert repr(pattern) in caught.value.message


def test_empty_lines_and_comments_are_skipped_when_compiled() -> None:
    assert Excludes(["", "   ", "# *"]).match(b"a") is None


def test_the_default_patterns_leave_out_rubbish_and_nothing_else_when_matched() -> None:
    excludes = Excludes(DEFAULT_PATTERNS)
    for path in (
        b"wp-content/updraft/x.zip",
        b"wp-content/ai1wm-backups/site.wpress",
        b"wp-content/themes/a/node_modules/b.js",
        b"wp-content/debug.log",
        b"wp-content/cache/index.html",
        b"wp-content/uploads/backwpup-1a2b-backups/x.tar",
    ):
        assert excludes.match(path), path
    for path in (
        b"wp-content/uploads/2024/05/photo.jpg",
        b"wp-content/themes/x/cache/keep.php",
        b"wp-content/plugins/updraft/readme.txt",
        b"wp-content/themes/x/.git/HEAD",
        b"wp-config.php",
        b"wp-content/uploads/catalog",
    ):
        assert excludes.match(path) is None, path


def test_an_exact_path_is_left_out_when_given() -> None:
    excludes = Excludes([], [b"wp-content/database/.ht.sqlite"])
    assert excludes.match(b"wp-content/database/.ht.sqlite") == EXACT_PATH
    assert excludes.match(b"wp-content/database/.ht.sqlite2") is None
