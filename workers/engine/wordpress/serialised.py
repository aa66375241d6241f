"""Replaces text inside values that PHP's `serialize()` wrote, so that PHP still reads them.

A serialised string carries its length in bytes, so a plain search and replace breaks it. Here the
value is walked (without recursion; strings that are serialised themselves go at most
`MOST_LEVELS` deep), the strings' contents are replaced and their lengths written anew. Keys,
property names and class names stay, as with wp-cli. What does not parse to its last byte is left
as it is and reported: a guess would do more harm than an old URL.

What is encoded in another way (base64, compressed, encrypted) is not looked into.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from workers.engine.wordpress.replacements import Replacements

# As PHP's own limit (unserialize_max_depth); and twice as deep as values in values are seen.
MOST_DEPTH = 4096
MOST_LEVELS = 8

_BLANKS = b" \t\n\r\v\0"
_LOOKS = re.compile(rb'[ \t\n\r\v\0]*(?:a:\d+:\{|[sS]:\d+:"|[OCE]:\d+:")')
_SCALAR = re.compile(
    rb"N;|b:[01];|i:[+-]?\d+;|[rR]:\d+;"
    rb"|d:(?:[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|-?INF|NAN);"
)
_HEAD = re.compile(rb'(?P<array>a):(\d{1,10}):\{|(?P<kind>[sSOCE]):(\d{1,10}):"')
_MEMBERS = re.compile(rb'":(\d{1,10}):\{')
_INTEGER_KEY = re.compile(rb"i:[+-]?\d+;")
_ESCAPED = re.compile(rb"\\([0-9a-fA-F]{2})|([^\\])", re.DOTALL)
# What stands between the values in what ArrayObject, SplObjectStorage and the like write.
_BETWEEN = re.compile(rb"[xm]:|[;,:]")
_JSON_STRING = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
_SERIALISED_IN_JSON = re.compile(rb'"(?:a:\d+:\{|[sO]:\d+:\\")')


@dataclass(frozen=True, slots=True)
class Rewritten:
    """A value after the replacement; `problems` says why parts of it, or all, were left alone."""

    value: bytes
    problems: tuple[str, ...] = ()


class _Broken(Exception):
    """The value is none that PHP would read."""


def replace_in_serialised(value: bytes, replacements: Replacements) -> bytes:
    """Return `value` with everything replaced that can be; see `rewrite_value`."""
    return rewrite_value(value, replacements).value


def rewrite_value(value: bytes, replacements: Replacements) -> Rewritten:
    """Replace in a value of any kind: serialised by PHP, JSON, or plain text."""
    problems: list[str] = []
    rewritten = _rewrite(value, replacements, 0, problems)
    return Rewritten(rewritten, tuple(dict.fromkeys(problems)))


def looks_serialised(value: bytes) -> bool:
    """Tell whether the value begins as one with strings in it that `serialize()` wrote."""
    return _LOOKS.match(value) is not None


def _rewrite(value: bytes, replacements: Replacements, level: int, problems: list[str]) -> bytes:
    if not replacements.found_in(value):
        return value
    if not looks_serialised(value):
        return _rewrite_text(value, replacements, level, problems)
    if level >= MOST_LEVELS:
        problems.append(f"it holds serialised values in one another, over {MOST_LEVELS} deep")
        return value
    inner: list[str] = []
    try:
        walk = _Walk(value, replacements, level, inner)
        walk.position = len(value) - len(value.lstrip(_BLANKS))
        walk.value()
        rewritten = walk.finish(len(value.rstrip(_BLANKS)))
    except _Broken as broken:
        problems.append(f"it looks serialised, but {broken}")
        return value
    problems.extend(inner)
    return rewritten


def _rewrite_text(
    value: bytes, replacements: Replacements, level: int, problems: list[str]
) -> bytes:
    if _SERIALISED_IN_JSON.search(value) is None:
        return replacements.apply(value)

    def in_string(match: re.Match[bytes]) -> bytes:
        token = match[0]
        if _SERIALISED_IN_JSON.match(token) is None:
            return replacements.apply(token)
        return _rewrite_json_string(token, replacements, level, problems)

    return _JSON_STRING.sub(in_string, value)


def _rewrite_json_string(
    token: bytes, replacements: Replacements, level: int, problems: list[str]
) -> bytes:
    """Replace in a serialised value that is a string of JSON; `token` has its quotes."""
    try:
        text = json.loads(token).encode()
    except (ValueError, RecursionError):
        problems.append("it holds a serialised value in what is no JSON")
        return token
    rewritten = _rewrite(text, replacements, level + 1, problems)
    if rewritten == text:
        return token
    # Written as it was: PHP escapes slashes and everything beyond ASCII unless told not to.
    encoded = json.dumps(rewritten.decode("utf-8", "replace"), ensure_ascii=token.isascii())
    if rb"\/" in token:
        encoded = encoded.replace("/", r"\/")
    return encoded.encode()


class _Walk:
    """Goes through one serialised value and collects what becomes of it."""

    def __init__(
        self, data: bytes, replacements: Replacements, level: int, problems: list[str]
    ) -> None:
        self.position = 0
        self._data = data
        self._replacements = replacements
        self._level = level
        self._problems = problems
        self._pieces: list[bytes] = []
        self._copied = 0

    def value(self) -> None:
        """Take one value with all that is in it."""
        left: list[int] = []
        while True:
            count = self._open_or_take()
            if count is not None:
                left.append(count)
                if len(left) > MOST_DEPTH:
                    raise _Broken(f"is nested more than {MOST_DEPTH} deep")
            while left and not left[-1]:
                self._expect(b"}")
                left.pop()
            if not left:
                return
            left[-1] -= 1
            self._key()

    def separators(self) -> None:
        """Take what classes with a format of their own put between values, then a value, so on."""
        while self.position < len(self._data):
            if (between := _BETWEEN.match(self._data, self.position)) is not None:
                self.position = between.end()
            else:
                self.value()

    def finish(self, end: int) -> bytes:
        """Return the whole, if it ended at `end`."""
        if self.position != end:
            raise _Broken(f"something follows its end at byte {self.position}")
        return b"".join([*self._pieces, self._data[self._copied :]])

    def _open_or_take(self) -> int | None:
        """Take a value, or only the head of one with members: then return how many these are."""
        if (scalar := _SCALAR.match(self._data, self.position)) is not None:
            self.position = scalar.end()
            return None
        start = self.position
        head = _HEAD.match(self._data, start)
        if head is None:
            raise _Broken(f"byte {start} is none that a value begins with")
        self.position = head.end()
        if head["array"]:
            return int(head[2])
        length = int(head[4])
        if head["kind"] in (b"s", b"S"):
            self._string(start, length, escaped=head["kind"] == b"S")
            return None
        name = self._take(length)
        if head["kind"] == b"E":
            self._expect(b'";')
            return None
        members = _MEMBERS.match(self._data, self.position)
        if members is None:
            raise _Broken(f"the class at byte {start} has no content")
        self.position = members.end()
        if head["kind"] == b"O":
            return int(members[1])
        self._custom(name, start, int(members[1]))
        return None

    def _string(self, start: int, length: int, *, escaped: bool) -> None:
        text = self._take_escaped(length) if escaped else self._take(length)
        self._expect(b'";')
        rewritten = _rewrite(text, self._replacements, self._level + 1, self._problems)
        if rewritten != text:
            self._replace(start, b's:%d:"%b";' % (len(rewritten), rewritten))

    def _custom(self, name: bytes, start: int, length: int) -> None:
        """Take the content of a class that writes itself (Serializable): in a form of its own."""
        content = self._take(length)
        self._expect(b"}")
        if not self._replacements.found_in(content):
            return
        if self._level >= MOST_LEVELS:
            raise _Broken(f"it holds values in one another, over {MOST_LEVELS} deep")
        walk = _Walk(content, self._replacements, self._level + 1, self._problems)
        try:
            walk.separators()
            rewritten = walk.finish(length)
        except _Broken as broken:
            shown = name.decode("utf-8", "backslashreplace")
            raise _Broken(f"class {shown} has a form of its own that is not known") from broken
        head = b'C:%d:"%b":%d:{%b}' % (len(name), name, len(rewritten), rewritten)
        self._replace(start, head)

    def _key(self) -> None:
        if (number := _INTEGER_KEY.match(self._data, self.position)) is not None:
            self.position = number.end()
            return
        head = _HEAD.match(self._data, self.position)
        if head is None or head["kind"] not in (b"s", b"S"):
            raise _Broken(f"byte {self.position} is none that a key begins with")
        self.position = head.end()
        if head["kind"] == b"S":
            self._take_escaped(int(head[4]))
        else:
            self._take(int(head[4]))
        self._expect(b'";')

    def _take(self, length: int) -> bytes:
        taken = self._data[self.position : self.position + length]
        if len(taken) < length:
            raise _Broken(f"a string of {length} bytes at byte {self.position} is cut short")
        self.position += length
        return taken

    def _take_escaped(self, length: int) -> bytes:
        """Take a string in which some bytes are written as a backslash and two digits."""
        taken = bytearray()
        while len(taken) < length:
            match = _ESCAPED.match(self._data, self.position)
            if match is None:
                raise _Broken(f"the escape at byte {self.position} is none")
            taken += bytes.fromhex(match[1].decode()) if match[1] else match[2]
            self.position = match.end()
        return bytes(taken)

    def _expect(self, text: bytes) -> None:
        if not self._data.startswith(text, self.position):
            raise _Broken(f"{text.decode()} is missing at byte {self.position}")
        self.position += len(text)

    def _replace(self, start: int, text: bytes) -> None:
        """Put `text` in the place of what was taken from `start` on."""
        self._pieces += [self._data[self._copied : start], text]
        self._copied = self.position
