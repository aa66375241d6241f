"""Cuts PHP text into tokens, at https://www.php.net/manual/tokens.php's granularity or coarser."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum

from workers.engine.php.literals import (
    IDENTIFIER,
    PhpSyntaxError,
    TemplatePart,
    end_of_double,
    read_heredoc,
    split_template,
    unescape_single,
)


class Kind(Enum):
    """What a token is."""

    VARIABLE = "variable"
    NAME = "name"
    NUMBER = "number"
    STRING = "string"
    OPERATOR = "operator"
    END = "end"


@dataclass(frozen=True, slots=True)
class Token:
    """One token.

    `text` is the variable's name without `$`, the name, number or operator itself; `parts` are
    those of a string, one text at most where nothing is interpolated. Of strings, `start` and
    `end` say where in the source they stand, quotes included.
    """

    kind: Kind
    text: str
    line: int
    parts: tuple[TemplatePart, ...] = ()
    start: int = -1
    end: int = -1

    def is_operator(self, *texts: str) -> bool:
        """Return whether this is one of the given operators."""
        return self.kind is Kind.OPERATOR and self.text in texts

    def is_keyword(self, *words: str) -> bool:
        """Return whether this is one of the given words, which PHP takes in any case."""
        return self.kind is Kind.NAME and self.text.lower() in words


# Longer ones first.
_OPERATORS = (
    "**= ... <=> === !== <<= >>= ??= ?-> && || ?? == != <> <= >= << >> ++ -- += -= *= /= .= "
    "%= &= |= ^= -> => :: ** #[ ; , ( ) [ ] { } + - * / % . = < > ! ? : & | ^ ~ @ $ `"
)

_TOKEN = re.compile(
    rf"""
      (?P<space>[ \t\r\n]+)
    | (?P<close>\?>(?:\r?\n)?)
    | (?P<comment>/\*.*?(?:\*/|\Z)|(?:\#(?!\[)|//)(?:(?!\?>)[^\r\n])*)
    | \$(?P<variable>{IDENTIFIER})
    | (?P<heredoc>[bB]?<<<[ \t]*(?P<mark>["']?)(?P<marker>{IDENTIFIER})(?P=mark)\r?\n)
    | (?P<number>0[xX][0-9a-fA-F_]+|0[bB][01_]+|0[oO][0-7_]+
        |(?:[0-9][0-9_]*(?:\.[0-9_]*)?|\.[0-9][0-9_]*)(?:[eE][+-]?[0-9]+)?)
    | [bB]?'(?P<single>[^'\\]*(?:\\.[^'\\]*)*)'
    | (?P<double>[bB]?")
    | (?P<name>\\?{IDENTIFIER}(?:\\{IDENTIFIER})*)
    | (?P<operator>{"|".join(re.escape(operator) for operator in _OPERATORS.split())})
    """,
    re.VERBOSE | re.DOTALL,
)
_OPEN_TAG = re.compile(r"<\?(?:php(?=[ \t\r\n]|\Z)|=|(?!xml|php))", re.IGNORECASE)


def tokenize(source: str, *, line: int = 1, encoding: str = "utf-8") -> list[Token]:
    """Return the tokens of a whole file; text outside `<?php … ?>` is left out.

    Raises `PhpSyntaxError` for a string or heredoc that is not closed or a character that is none
    of PHP's.
    """
    tokens: list[Token] = []
    position = 0
    while (opening := _OPEN_TAG.search(source, position)) is not None:
        start_line = line + source.count("\n", 0, opening.end())
        if opening.group() == "<?=":
            tokens.append(Token(Kind.NAME, "echo", start_line))
        position = _tokenize_code(source, opening.end(), start_line, encoding, tokens)
    tokens.append(Token(Kind.END, "", line + source.count("\n")))
    return tokens


def tokenize_expression(source: str, *, line: int, encoding: str) -> list[Token]:
    """Return the tokens of an expression that stood inside a string."""
    tokens: list[Token] = []
    _tokenize_code(source, 0, line, encoding, tokens)
    tokens.append(Token(Kind.END, "", line))
    return tokens


def _tokenize_code(
    source: str, position: int, line: int, encoding: str, tokens: list[Token]
) -> int:
    """Append the tokens from `position` to the end of this stretch of PHP; return where it ends."""
    while position < len(source):
        match = _TOKEN.match(source, position)
        if match is None:
            raise PhpSyntaxError(line, f"the character {source[position]!r} is not expected here")
        kind = match.lastgroup
        end = match.end()
        if kind == "close":
            # A closing tag also ends the statement before it.
            tokens.append(Token(Kind.OPERATOR, ";", line))
            return end
        if match["heredoc"]:
            end = _append_heredoc(source, match, line, encoding, tokens)
        elif match["double"]:
            end = _append_double(source, match, line, encoding, tokens)
        elif match["single"] is not None:
            value = unescape_single(match["single"])
            tokens.append(Token(Kind.STRING, "", line, (value,) if value else (), position, end))
        elif kind not in ("space", "comment"):
            assert kind is not None
            tokens.append(Token(Kind(kind), match[kind], line))
        line += source.count("\n", position, end)
        position = end
    return position


def _append_heredoc(
    source: str, match: re.Match[str], line: int, encoding: str, tokens: list[Token]
) -> int:
    heredoc = read_heredoc(source, match.end(), match["marker"], line + 1)
    parts: tuple[TemplatePart, ...] = (heredoc.body,) if heredoc.body else ()
    if match["mark"] != "'":
        parts = split_template(heredoc.body, line=line + 1, quote="", encoding=encoding)
    tokens.append(Token(Kind.STRING, "", line, parts, match.start(), heredoc.end))
    return heredoc.end


def _append_double(
    source: str, match: re.Match[str], line: int, encoding: str, tokens: list[Token]
) -> int:
    start = match.end()
    end = end_of_double(source, start)
    if end < 0:
        raise PhpSyntaxError(line, "a string that begins here is not closed")
    parts = split_template(source[start:end], line=line, quote='"', encoding=encoding)
    tokens.append(Token(Kind.STRING, "", line, parts, match.start(), end + 1))
    return end + 1
