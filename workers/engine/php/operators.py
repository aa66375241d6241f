"""PHP's operators: how tightly each binds, and which words are operators."""

from __future__ import annotations

# Binding powers of https://www.php.net/manual/language.operators.precedence.php, PHP 8.
_LEVELS = {
    1: "or",
    2: "xor",
    3: "and",
    7: "||",
    8: "&&",
    9: "|",
    10: "^",
    11: "&",
    12: "== != <> === !== <=>",
    13: "< <= > >=",
    14: ".",
    15: "<< >>",
    16: "+ -",
    17: "* / %",
    19: "instanceof",
}
LEFT = {operator: power for power, row in _LEVELS.items() for operator in row.split()}
TERNARY = 5
COALESCE = 6
NOT = 18
PREFIX = 20
POWER = 21
_ASSIGNMENT_OPERATORS = "= += -= *= /= .= %= **= ??= &= |= ^= <<= >>="
ASSIGNMENTS = frozenset(_ASSIGNMENT_OPERATORS.split())
_CAST_WORDS = "int integer float double real string binary bool boolean array object unset"
CASTS = frozenset(_CAST_WORDS.split())
INCLUDES = frozenset(["include", "include_once", "require", "require_once"])
