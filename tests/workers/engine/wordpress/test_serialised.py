"""Replacing inside what PHP serialised: lengths fit, and what is broken stays as it is."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.workers.engine.wordpress.php_values import NEW, OLD, ROOTS, Members
from workers.engine.wordpress.replacements import for_move, for_pairs
from workers.engine.wordpress.serialised import (
    MOST_DEPTH,
    MOST_LEVELS,
    replace_in_serialised,
    rewrite_value,
)

# As WordPress 6.1 wrote them into its tables.
OPTIONS: dict[str, str] = json.loads(
    (Path(__file__).parent / "option_values.json").read_text("utf-8")
)
PAIR = for_pairs([(OLD, NEW)])
MOVE = for_move(
    old_url="http://holdfast.example",
    new_url="https://www.elsewhere.example/blog",
    old_path="/srv/www/holdfast.example",
    new_path="/home/www",
)
PHP = shutil.which("php")


@settings(max_examples=300)
@given(ROOTS)
def test_all_texts_are_replaced_and_fit_when_the_value_is_whole(value: Members):
    found = rewrite_value(value.written(OLD), PAIR)
    # Keys stay, and one of the generator's keys is the old URL.
    assert found.value == value.written(NEW)
    assert found.problems == ()


@settings(max_examples=200)
@given(ROOTS, st.data())
def test_nothing_changes_when_the_value_is_cut_short(value: Members, data: st.DataObject):
    whole = value.written(OLD)
    cut = whole[: data.draw(st.integers(5, max(5, len(whole) - 1)))]
    found = rewrite_value(cut, PAIR)
    assert found.value == cut or not found.problems
    if OLD in cut and cut != whole:
        assert found.value == cut
        assert found.problems


@settings(max_examples=200)
@given(st.binary(max_size=200), ROOTS)
def test_no_value_whatever_makes_it_fail(noise: bytes, value: Members):
    written = value.written(OLD)
    for text in (noise, noise + written, written + noise, b'a:1:{i:0;s:9:"' + noise + OLD):
        rewrite_value(text, PAIR)


def test_what_wordpress_wrote_reads_the_same_when_it_was_replaced():
    expected = {
        "widget_text": ('s:52:"<a href="http://holdfast', 's:63:"<a href="https://www.elsewhere'),
        "theme_mods_holdfast-test": ('s:51:"http://holdfast', 's:62:"https://www.elsewhere'),
        "recently_edited": ('s:67:"/srv/www/', 's:51:"/home/www/'),
    }
    changed = set()
    for name, value in OPTIONS.items():
        found = rewrite_value(value.encode(), MOVE)
        assert found.problems == ()
        if found.value != value.encode():
            changed.add(name)
            assert b"http://holdfast.example" not in found.value
    assert changed == {*expected, "_site_transient_update_plugins"}
    for name, (before, after) in expected.items():
        assert before in OPTIONS[name]
        assert after in rewrite_value(OPTIONS[name].encode(), MOVE).value.decode()


@pytest.mark.skipif(PHP is None, reason="PHP itself is the judge here, and is not installed")
def test_php_reads_what_it_would_have_replaced_itself():
    script = r"""
    function walk($x) {
        if (is_string($x)) return strtr($x, [
            'http://holdfast.example' => 'https://www.elsewhere.example/blog',
            '/srv/www/holdfast.example' => '/home/www']);
        if (is_array($x)) return array_map('walk', $x);
        if (is_object($x)) { foreach ($x as $k => $v) $x->$k = walk($v); }
        return $x;
    }
    foreach (json_decode(stream_get_contents(STDIN), true) as $name => [$old, $new]) {
        $new = unserialize(base64_decode($new));
        $old = walk(unserialize(base64_decode($old)));
        if ($new === false || serialize($old) !== serialize($new)) echo "$name ";
    }
    """
    pairs = {
        name: [
            base64.b64encode(data).decode()
            for data in (value.encode(), replace_in_serialised(value.encode(), MOVE))
        ]
        for name, value in OPTIONS.items()
    }
    assert PHP is not None
    answer = subprocess.run(
        [PHP, "-r", script], input=json.dumps(pairs), capture_output=True, text=True, check=True
    )
    assert (answer.stdout, answer.stderr) == ("", "")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b'  a:1:{i:0;s:18:"http://old.example";}\n', b'  a:1:{i:0;s:34:"%b";}\n' % NEW),
        (b's:18:"http://old.example";', b's:34:"%b";' % NEW),
        (rb'S:20:"http://old.example\00.";', b's:36:"%b\0.";' % NEW),
        # The key stays, so PHP finds the entry under its old name.
        (b'a:1:{s:18:"http://old.example";i:1;}', b'a:1:{s:18:"http://old.example";i:1;}'),
        (b'C:3:"Own":26:{s:18:"http://old.example";}', b'C:3:"Own":42:{s:34:"%b";}' % NEW),
    ],
)
def test_a_kind_of_its_own_is_handled(before: bytes, after: bytes):
    found = rewrite_value(before, PAIR)
    assert found.value == after
    assert found.problems == ()


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (b'a:1:{i:0;s:17:"http://old.example";}', "is missing at byte"),
        (b'a:1:{i:0;s:19:"http://old.example";}', "is missing at byte"),
        (b'a:2:{i:0;s:18:"http://old.example";}', "none that a key begins with"),
        (b'a:1:{i:0;s:18:"http://old.example";', "is missing at byte"),
        (b'a:1:{i:0;s:99999999:"http://old.example";}', "is cut short"),
        (b'a:1:{i:0;s:18:"http://old.example";}x', "something follows its end"),
        (b'a:1:{i:0;x:18:"http://old.example";}', "none that a value begins with"),
        (b'C:3:"Own":20:{!http://old.example!}', "a form of its own"),
        (b'O:3:"Own";s:18:"http://old.example";}', "has no content"),
        (b'a:1:{a:0:{}s:18:"http://old.example";}', "none that a key begins with"),
        (rb'S:18:"http:\zzold.example";', "the escape at byte"),
    ],
)
def test_it_stays_byte_for_byte_and_says_why_when_it_is_broken(value: bytes, why: str):
    # Something to find must be there, or nobody would have looked at it.
    value = value if OLD in value else value + OLD
    found = rewrite_value(value, PAIR)
    assert found.value == value
    [problem] = found.problems
    assert why in problem


def test_the_rest_is_replaced_when_a_string_in_it_only_looks_serialised():
    inner = b'a:9:{"http://old.example"'
    before = b'a:2:{i:0;s:%d:"%b";i:1;s:18:"http://old.example";}' % (len(inner), inner)
    found = rewrite_value(before, PAIR)
    assert found.value == b'a:2:{i:0;s:%d:"%b";i:1;s:34:"%b";}' % (len(inner), inner, NEW)
    assert len(found.problems) == 1


def test_text_is_text_when_it_resembles_a_value():
    for text in (
        b"a: http://old.example",
        b"s:5 http://old.example",
        b"O: x",
        b"i:1;http://old.example",
    ):
        assert rewrite_value(text, PAIR).value == text.replace(OLD, NEW)


def wrapped(value: bytes, times: int) -> bytes:
    for _ in range(times):
        value = b's:%d:"%b";' % (len(value), value)
    return value


def test_values_in_values_are_followed_up_to_a_bound():
    assert rewrite_value(wrapped(OLD, MOST_LEVELS), PAIR).value == wrapped(NEW, MOST_LEVELS)
    deep = wrapped(OLD, MOST_LEVELS + 1)
    found = rewrite_value(deep, PAIR)
    assert found.value == deep
    assert "deep" in found.problems[0]


def test_classes_in_classes_are_followed_up_to_a_bound():
    value = b's:18:"http://old.example";'
    for _ in range(2000):
        value = b'C:1:"X":%d:{%b}' % (len(value), value)
    found = rewrite_value(value, PAIR)
    assert found.value == value
    assert found.problems


@pytest.mark.parametrize(("depth", "is_replaced"), [(MOST_DEPTH, True), (MOST_DEPTH + 1, False)])
def test_arrays_in_arrays_are_followed_up_to_a_bound(depth: int, is_replaced: bool):
    value = b"a:1:{i:0;" * depth + b's:18:"http://old.example";' + b"}" * depth
    found = rewrite_value(value, PAIR)
    assert (NEW in found.value) is is_replaced
    assert bool(found.problems) is not is_replaced


def test_it_is_replaced_when_it_is_serialised_within_json():
    php = 'a:1:{s:1:"u";s:26:"http://holdfast.example/ü";}'
    before = json.dumps({"a": php, "b": "http://holdfast.example"}).replace("/", r"\/")
    found = rewrite_value(before.encode(), MOVE)
    assert found.problems == ()
    after = json.loads(found.value)
    assert after["b"] == "https://www.elsewhere.example/blog"
    assert after["a"] == 'a:1:{s:1:"u";s:37:"https://www.elsewhere.example/blog/ü";}'
    assert rb"\/" in found.value
    assert rb"\u00fc" in found.value


def test_what_is_in_base64_is_not_looked_into():
    encoded = base64.b64encode(OLD)
    assert rewrite_value(b'a:1:{i:0;s:24:"%b";}' % encoded, PAIR).value.count(encoded) == 1
