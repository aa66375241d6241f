"""An own writer of PHP's serialised values, which shares nothing with what it tests.

A value is a tree of `Text`, `Raw` (numbers, booleans, references: written as they are), `Members`
(arrays and objects) and `Nested` (a serialised value that is a string of another one).
"""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import strategies as st

OLD, NEW = b"http://old.example", b"https://new.example/somewhere/else"


@dataclass(frozen=True)
class Text:
    """A string's content in pieces; None stands for the URL that is replaced."""

    pieces: tuple[bytes | None, ...]

    def content(self, url: bytes) -> bytes:
        return b"".join(url if piece is None else piece for piece in self.pieces)

    def written(self, url: bytes) -> bytes:
        content = self.content(url)
        return b's:%d:"%b";' % (len(content), content)


@dataclass(frozen=True)
class Raw:
    """What has no text in it."""

    text: bytes

    def written(self, _url: bytes) -> bytes:
        return self.text


@dataclass(frozen=True)
class Members:
    """An array, or an object where `name` is given; keys are written already."""

    name: bytes | None
    members: tuple[tuple[bytes, Value], ...]

    def written(self, url: bytes) -> bytes:
        body = b"".join(key + value.written(url) for key, value in self.members)
        count = len(self.members)
        if self.name is None:
            return b"a:%d:{%b}" % (count, body)
        return b'O:%d:"%b":%d:{%b}' % (len(self.name), self.name, count, body)


@dataclass(frozen=True)
class Custom:
    """An object that writes itself, as ArrayObject did before PHP 7.4."""

    storage: Members

    def written(self, url: bytes) -> bytes:
        body = b"x:i:0;" + self.storage.written(url) + b";m:a:0:{}"
        return b'C:11:"ArrayObject":%d:{%b}' % (len(body), body)


@dataclass(frozen=True)
class Nested:
    """A value that was serialised, and is now a string."""

    value: Members

    def written(self, url: bytes) -> bytes:
        content = self.value.written(url)
        return b's:%d:"%b";' % (len(content), content)


Value = Text | Raw | Members | Custom | Nested

# Bytes that parsers stumble over.
_FILLERS = st.sampled_from(
    [
        b" ",
        b'"',
        b'";',
        b"}",
        b"{",
        b"\0",
        b";",
        b'";}',
        b"\xff\xfe",
        "ü→🎉".encode(),
        b"\\",
        b"\n",
        b"N;",
    ]
)
_TEXTS = st.lists(st.one_of(st.none(), _FILLERS), max_size=5).map(lambda found: Text(tuple(found)))
_RAWS = st.sampled_from(
    [
        b"N;",
        b"b:0;",
        b"b:1;",
        b"i:-7;",
        b"i:9223372036854775807;",
        b"d:0.1;",
        b"d:-1.5E-7;",
        b"d:INF;",
        b"d:-INF;",
        b"d:NAN;",
        b"d:3;",
        b"R:1;",
        b"r:2;",
        b'E:9:"Suit:Club";',
    ]
).map(Raw)
_NAMES = st.sampled_from([b"stdClass", b"WP_Widget", b"Some\\Space\\Name"])


def _key(text: bytes) -> bytes:
    return b's:%d:"%b";' % (len(text), text)


_KEYS = st.one_of(
    st.integers(-5, 10**12).map(lambda number: b"i:%d;" % number),
    st.sampled_from(
        [b"", b"url", b"\0*\0protected", b"\0WP_Widget\0private", 'ü";'.encode(), OLD]
    ).map(_key),
)


def _members(values: st.SearchStrategy[Value]) -> st.SearchStrategy[Members]:
    pairs = st.lists(st.tuples(_KEYS, values), max_size=4).map(tuple)
    return st.builds(Members, st.one_of(st.none(), _NAMES), pairs)


def _larger(values: st.SearchStrategy[Value]) -> st.SearchStrategy[Value]:
    members = _members(values)
    arrays = members.map(lambda found: Members(None, found.members))
    return st.one_of(members, members.map(Nested), arrays.map(Custom))


VALUES = st.recursive(st.one_of(_TEXTS, _RAWS), _larger, max_leaves=12)
ROOTS = _members(VALUES)
