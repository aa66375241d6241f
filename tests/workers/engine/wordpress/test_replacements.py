"""What a move looks for: URLs and paths however spelled, and nothing that resembles them."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workers.engine.errors import EngineError
from workers.engine.wordpress.replacements import for_move, for_pairs

MOVE = for_move(
    old_url="https://old.example/blog/",
    new_url="http://new.example:8080",
    old_path="/srv/www/old",
    new_path="/home/www/site",
)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("https://old.example/blog", "http://new.example:8080"),
        ("http://old.example/blog/a?b", "http://new.example:8080/a?b"),
        ("src=//old.example/blog/a.js", "src=//new.example:8080/a.js"),
        (r"https:\/\/old.example\/blog\/a", r"http:\/\/new.example:8080\/a"),
        (r"https:\\\/\\\/old.example\\\/blog", r"http:\\\/\\\/new.example:8080"),
        ("u=https%3A%2F%2Fold.example%2Fblog%2Fa", "u=http%3A%2F%2Fnew.example%3A8080%2Fa"),
        ("u=https%3a%2f%2fold.example%2fblog", "u=http%3a%2f%2fnew.example%3A8080"),
        ("see https://old.example/blog.", "see http://new.example:8080."),
        ("/srv/www/old/wp-content", "/home/www/site/wp-content"),
        (r"\/srv\/www\/old\/a", r"\/home\/www\/site\/a"),
        ("file:///srv/www/old/a", "file:///home/www/site/a"),
        (r"a\n/srv/www/old", r"a\n/home/www/site"),
        (
            "https://old.example/blog,//old.example/blog",
            "http://new.example:8080,//new.example:8080",
        ),
    ],
)
def test_it_is_replaced_when_it_is_the_sites(before: str, after: str):
    assert MOVE.found_in(before.encode())
    assert MOVE.apply(before.encode()).decode() == after


@pytest.mark.parametrize(
    "text",
    [
        "https://old.example/blogging",
        "https://old.example/blog-2",
        "https://old.example/",
        "https://very.old.example/blog",
        "https://old.example.com/blog",
        "ftp://old.example/blog",
        r"ftp:\/\/old.example\/blog",
        "/srv/www/old2",
        "/srv/www/old.bak",
        "/mnt/srv/www/older",
        "/x/srv/www/old",
        "me@old.example",
        "",
    ],
)
def test_it_is_left_when_it_only_resembles(text: str):
    assert MOVE.apply(text.encode()).decode() == text


def test_another_port_is_another_site():
    move = for_move(old_url="http://old.example", new_url="https://new.example/sub")
    assert move.apply(b"http://old.example:81/ http://old.example/") == (
        b"http://old.example:81/ https://new.example/sub/"
    )


def test_what_was_put_in_is_not_replaced_again_when_the_new_holds_the_old():
    move = for_move(
        old_url="http://a.example", new_url="http://a.example/b", old_path="/b", new_path="/b/b"
    )
    assert move.apply(b"http://a.example/c /b") == b"http://a.example/b/c /b/b"
    swap = for_pairs([(b"a", b"b"), (b"b", b"a"), (b"ab", b"-")])
    assert swap.apply(b"a b ab") == b"b a -"


def test_nothing_is_found_when_nothing_moves():
    same = for_move(old_url="http://a.example/", new_url="http://a.example")
    assert not same.found_in(b"http://a.example")
    assert same.needles == ()


@pytest.mark.parametrize(
    "fields",
    [
        {"old_url": "example.com", "new_url": "https://x.example"},
        {"old_url": "https://x.example", "new_url": ""},
        {"old_url": "https://x.example", "new_url": "javascript:alert(1)"},
        {"old_url": "https://x.example", "new_url": "https://y.example/'"},
        {"old_url": "https://x.example", "new_url": "https://[y"},
        {"old_path": "srv/www", "new_path": "/srv"},
        {"old_path": "/srv/www", "new_path": "/"},
        {"old_path": "/srv/../etc", "new_path": "/srv"},
    ],
)
def test_an_error_says_so_when_it_cannot_be_used(fields: dict[str, str]):
    with pytest.raises(EngineError) as caught:
        for_move(**fields)
    assert (caught.value.code, caught.value.permanent) == ("move_unusable", True)


PIECES = [b"https://old.example/blog", b"https:", b"//", b"old.example", b"/blog", b"/srv/www/old",
          rb"\/\/old.example\/blog", rb"\/", b"https%3A%2F%2Fold.example%2Fblog", b" ", b".", b"x",
          b"2", b"\\", b"\xff"]  # fmt: skip


@settings(max_examples=500)
@given(st.lists(st.sampled_from(PIECES), max_size=25).map(b"".join))
def test_the_short_cut_finds_what_the_whole_pattern_finds(text: bytes):
    assert MOVE.apply(text) == MOVE._pattern.sub(MOVE._replaced, text)
    assert MOVE.found_in(text) is (MOVE._pattern.search(text) is not None)


def test_each_match_holds_a_needle():
    for text in (rb"https:\/\/old.example\/blog", rb"\/srv\/www\/old", b"//old.example/blog"):
        assert any(needle in text for needle in MOVE.needles)
