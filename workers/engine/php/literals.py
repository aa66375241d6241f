"""String literals of PHP: escapes, interpolation and heredocs.

The rules are those of the language reference, https://www.php.net/manual/language.types.string.php.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

IDENTIFIER = "[A-Za-z_\x80-\U0010ffff][A-Za-z0-9_\x80-\U0010ffff]*"

_SINGLE_ESCAPE = re.compile(r"\\([\\'])")
_DOUBLE_ESCAPE = re.compile(
    r"\\(?:([0-7]{1,3})|x([0-9A-Fa-f]{1,2})|u\{([0-9A-Fa-f]{1,8})\}|(.))", re.DOTALL
)
_SIMPLE_ESCAPES = {
    "n": "\n",
    "t": "\t",
    "r": "\r",
    "v": "\v",
    "e": "\x1b",
    "f": "\f",
    "\\": "\\",
    "$": "$",
}
_TEMPLATE_PIECE = re.compile(
    rf"""
      (?P<escape>\\.)
    | (?P<complex>\{{(?=\$))
    | (?P<braced>\$\{{(?P<braced_name>{IDENTIFIER})\}})
    | (?P<dynamic>\$\{{)
    | \$(?P<name>{IDENTIFIER})
      (?:\[(?:(?P<number>0|-?[1-9][0-9]*)|(?P<key>{IDENTIFIER})|\$(?P<variable>{IDENTIFIER}))\]
        |(?P<property>\??->{IDENTIFIER})
        |(?P<subscript>\[))?
    | (?P<text>[^\\{{$]+|.)
    """,
    re.VERBOSE | re.DOTALL,
)


class PhpSyntaxError(Exception):
    """The text is no PHP that this reader knows; `line` counts from 1."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line
        self.message = message


@dataclass(frozen=True, slots=True)
class Interpolation:
    """An expression inside a string, as its PHP source; empty where it is not understood."""

    source: str
    line: int


TemplatePart = str | Interpolation


def unescape_single(body: str) -> str:
    """Return the value of a single-quoted body: only the quote and the backslash are escaped."""
    return _SINGLE_ESCAPE.sub(r"\1", body)


def unescape_double(body: str, *, quote: str, encoding: str) -> str:
    r"""Return the value of a double-quoted or heredoc body that holds no interpolation.

    `quote` is `"`, or empty in a heredoc, where `\"` stays as it is. Octal and hexadecimal escapes
    are bytes in PHP, so they are put together in `encoding`; `UnicodeDecodeError` where they make
    no text in it.
    """
    collected = bytearray()
    position = 0
    for match in _DOUBLE_ESCAPE.finditer(body):
        collected += body[position : match.start()].encode(encoding)
        collected += _escaped_bytes(match, quote, encoding)
        position = match.end()
    collected += body[position:].encode(encoding)
    return collected.decode(encoding)


def _escaped_bytes(match: re.Match[str], quote: str, encoding: str) -> bytes:
    octal, hexadecimal, code_point, character = match.groups()
    if octal is not None:
        return bytes([int(octal, 8) & 0xFF])
    if hexadecimal is not None:
        return bytes([int(hexadecimal, 16)])
    if code_point is not None:
        number = int(code_point, 16)
        if number > 0x10FFFF:
            raise UnicodeDecodeError(encoding, b"", 0, 0, "code point beyond Unicode")
        return chr(number).encode("utf-8", "surrogatepass")
    if character in _SIMPLE_ESCAPES:
        return _SIMPLE_ESCAPES[character].encode()
    if quote and character == quote:
        return quote.encode()
    return match.group().encode(encoding)


def end_of_double(source: str, start: int) -> int:
    """Return the index of the quote that closes the string whose body begins at `start`, or -1."""
    position = start
    while position < len(source):
        character = source[position]
        if character == '"':
            return position
        if source.startswith("{$", position):
            position = _end_of_braces(source, position)
            if position < 0:
                return -1
        elif character == "\\":
            position += 2
        else:
            position += 1
    return -1


def _end_of_braces(source: str, start: int) -> int:
    """Return the index behind the brace that closes the one at `start`, or -1."""
    depth = 0
    position = start
    while position < len(source):
        character = source[position]
        if character in "'\"":
            closing = position + 1
            while closing < len(source) and source[closing] != character:
                closing += 2 if source[closing] == "\\" else 1
            position = closing
        elif character == "{":
            depth += 1
        elif character == "}":
            depth -= 1
            if depth == 0:
                return position + 1
        position += 1
    return -1


def split_template(body: str, *, line: int, quote: str, encoding: str) -> tuple[TemplatePart, ...]:
    """Return the parts of a double-quoted or heredoc body: texts and expressions in turn."""
    parts: list[TemplatePart] = []
    text: list[str] = []

    def flush() -> None:
        if text:
            try:
                parts.append(unescape_double("".join(text), quote=quote, encoding=encoding))
            except UnicodeDecodeError:
                parts.append(Interpolation("", line))
            text.clear()

    position = 0
    while position < len(body):
        match = _TEMPLATE_PIECE.match(body, position)
        assert match is not None
        end = match.end()
        here = line + body.count("\n", 0, position)
        if match["escape"] or match["text"]:
            text.append(match.group())
        elif match["complex"]:
            end = _end_of_braces(body, position)
            end = end if end > 0 else len(body)
            flush()
            parts.append(Interpolation(body[position + 1 : end - 1], here))
        elif match["dynamic"] or match["subscript"]:
            flush()
            parts.append(Interpolation("", here))
        else:
            flush()
            parts.append(Interpolation(_simple_interpolation(match), here))
        position = end
    flush()
    return tuple(parts)


def _simple_interpolation(match: re.Match[str]) -> str:
    """Return the source of `$a`, `${a}`, `$a[0]`, `$a[key]`, `$a[$b]` or `$a->b` as written out."""
    if match["braced"]:
        return f"${match['braced_name']}"
    name = f"${match['name']}"
    if match["number"]:
        return f"{name}[{match['number']}]"
    if match["key"]:
        return f"{name}['{match['key']}']"
    if match["variable"]:
        return f"{name}[${match['variable']}]"
    return name + (match["property"] or "")


@dataclass(frozen=True, slots=True)
class Heredoc:
    """The body of a heredoc without its indentation, and the index behind its closing marker."""

    body: str
    end: int


def read_heredoc(source: str, start: int, marker: str, line: int) -> Heredoc:
    """Return the heredoc whose first line begins at `start`."""
    closing = re.compile(rf"^([ \t]*){re.escape(marker)}(?![A-Za-z0-9_\x80-\U0010ffff])", re.M)
    match = closing.search(source, start)
    if match is None:
        raise PhpSyntaxError(line, f"the heredoc {marker} is not closed")
    body = source[start : match.start()]
    body = re.sub(r"\r?\n\Z", "", body)
    if match[1]:
        body = _without_indentation(body, match[1], line)
    return Heredoc(body, match.end())


def _without_indentation(body: str, indentation: str, line: int) -> str:
    lines = body.split("\n")
    for index, text in enumerate(lines):
        if text.startswith(indentation):
            lines[index] = text[len(indentation) :]
        elif text.strip():
            raise PhpSyntaxError(line + index, "a heredoc's line is indented less than its end")
        else:
            lines[index] = text.lstrip(" \t")
    return "\n".join(lines)
