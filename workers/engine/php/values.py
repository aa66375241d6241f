"""PHP's values, and what is not known of them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TypeAlias

MAX_STRING = 1 << 20

_NUMERIC = re.compile(r"[ \t\n\r\v\f]*[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?[ \t\n\r\v\f]*\Z")


@dataclass(frozen=True, slots=True)
class Unknown:
    """A value that cannot be told without running the site.

    `reason` fits behind a colon ("line 12 calls foo(), which is not followed").
    `maybe_absent` is True for a name that may not be defined at all.
    """

    reason: str
    maybe_absent: bool = False


class Absent:
    """The place of a name that is not defined."""

    def __repr__(self) -> str:
        return "ABSENT"


ABSENT = Absent()

PhpArray: TypeAlias = "dict[str | int, Value]"
Known: TypeAlias = "str | int | float | bool | PhpArray | None"
Value: TypeAlias = "Known | Unknown"
Scalar: TypeAlias = "str | int | float | bool | None"


def same(left: object, right: object) -> bool:
    """Return whether two values are identical as `===` means it; unknown ones never are."""
    if isinstance(left, Unknown) or isinstance(right, Unknown) or type(left) is not type(right):
        return False
    if isinstance(left, dict) and isinstance(right, dict):
        return list(left) == list(right) and all(same(left[key], right[key]) for key in left)
    return left == right


def truth(value: Value) -> bool | Unknown:
    """Return the value as a condition."""
    if isinstance(value, Unknown):
        return value
    if isinstance(value, str):
        return value not in ("", "0")
    return bool(value)


def text(value: Value) -> str | Unknown:
    """Return the value as a string."""
    if isinstance(value, Unknown | str):
        return value
    if value is None or value is False:
        return ""
    if value is True:
        return "1"
    if isinstance(value, int):
        return str(value)
    return Unknown("a number with a fraction or an array stands for a text")


def key_of(value: Value) -> str | int | Unknown:
    """Return the value as the key of an array, with PHP's conversion of "7" to 7."""
    if isinstance(value, str):
        is_integer = re.fullmatch(r"0|-?[1-9][0-9]{0,17}", value)
        return int(value) if is_integer else value
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, int | Unknown):
        return value
    return "" if value is None else Unknown("the key of an array is neither a text nor a number")


def loosely_equal(left: Value, right: Value) -> bool | Unknown:
    """Return `left == right` by the rules of PHP 8."""
    for value in (left, right):
        if isinstance(value, Unknown):
            return value
    if isinstance(left, bool | None) or isinstance(right, bool | None):
        if (left is None and isinstance(right, str)) or (right is None and isinstance(left, str)):
            return (left or "") == (right or "")
        return truth(left) == truth(right)
    if isinstance(left, str) and isinstance(right, str):
        if _NUMERIC.match(left) and _NUMERIC.match(right):
            return float(left) == float(right)
        return left == right
    if isinstance(left, dict) or isinstance(right, dict):
        return (
            same(left, right)
            if type(left) is type(right) and not left
            else Unknown("arrays are compared")
        )
    if isinstance(left, str) or isinstance(right, str):
        words, number = (left, right) if isinstance(left, str) else (right, left)
        assert isinstance(words, str)
        assert isinstance(number, int | float)
        if _NUMERIC.match(words):
            return float(words) == number
        return words == text(number) if isinstance(number, int) else False
    return left == right
