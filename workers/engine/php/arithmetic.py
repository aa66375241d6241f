"""PHP's operators and casts on values."""

from __future__ import annotations

from collections.abc import Callable

from workers.engine.php.values import (
    Unknown,
    Value,
    loosely_equal,
    same,
    text,
    truth,
)

_MAX_INTEGER = (1 << 63) - 1


def operate(operator: str, left: Value, right: Value) -> Value:
    """Return `left operator right`; both sides are evaluated already."""
    for value in (left, right):
        if isinstance(value, Unknown):
            return value
    if operator in _EQUALITIES and not isinstance(left, dict) and not isinstance(right, dict):
        equal, wanted = _EQUALITIES[operator]
        result = equal(left, right)
        return result if isinstance(result, Unknown) else result is wanted
    if operator == ".":
        return _concatenate(left, right)
    if operator == "xor":
        return truth(left) is not truth(right)
    if operator in _INTEGERS and type(left) is int and type(right) is int:
        number = _INTEGERS[operator](left, right)
        if isinstance(number, bool) or abs(number) <= _MAX_INTEGER:
            return number
    return Unknown(f"the operator {operator} is used on values for which it is not followed")


def cast(operator: str, value: Value) -> Value:
    """Return `operator value`: a sign, `!`, `@` or a cast."""
    if isinstance(value, Unknown):
        return value
    if operator == "@":
        return value
    if operator == "!":
        condition = truth(value)
        return condition if isinstance(condition, Unknown) else not condition
    if operator in ("(string)", "(binary)"):
        return text(value)
    if operator in ("(bool)", "(boolean)"):
        return truth(value)
    if operator in ("(int)", "(integer)"):
        return _integer(value)
    if operator == "(array)":
        return value if isinstance(value, dict) else {} if value is None else {0: value}
    if operator in ("-", "+") and type(value) is int:
        return -value if operator == "-" else value
    return Unknown(f"{operator} is used on a value for which it is not followed")


def _integer(value: Value) -> Value:
    if isinstance(value, bool | int):
        return int(value)
    if value is None:
        return 0
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 18:
        return int(value)
    return Unknown("a text is turned into a number")


def _concatenate(left: Value, right: Value) -> Value:
    first, second = text(left), text(right)
    if isinstance(first, Unknown):
        return first
    return second if isinstance(second, Unknown) else first + second


_EQUALITIES: dict[str, tuple[Callable[[Value, Value], bool | Unknown], bool]] = {
    "===": (same, True),
    "!==": (same, False),
    "==": (loosely_equal, True),
    "!=": (loosely_equal, False),
    "<>": (loosely_equal, False),
}
_INTEGERS: dict[str, Callable[[int, int], int | bool]] = {
    "+": lambda left, right: left + right,
    "-": lambda left, right: left - right,
    "*": lambda left, right: left * right,
    "<": lambda left, right: left < right,
    "<=": lambda left, right: left <= right,
    ">": lambda left, right: left > right,
    ">=": lambda left, right: left >= right,
    "|": lambda left, right: left | right,
    "&": lambda left, right: left & right,
    "^": lambda left, right: left ^ right,
}
