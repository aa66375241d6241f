"""Reads JSON that every database and every client can hold; anything else is refused as 400."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from typing import Any, NoReturn

from rest_framework.exceptions import ParseError, ValidationError
from rest_framework.parsers import JSONParser

MOST_DIGITS = 19
SMALLEST, LARGEST = -(2**63), 2**63 - 1
WORTH_A_LOOK = re.compile(rb"\\u(?:0000|[dD][89a-fA-F])")
GENERAL = "non_field_errors"


class StrictJSONParser(JSONParser):
    """JSON as RFC 8259 has it; numbers of 64 bits, texts without NUL and half characters."""

    def parse(
        self,
        stream: Any,  # noqa: ANN401
        media_type: str | None = None,
        parser_context: Any = None,  # noqa: ANN401
    ) -> Any:  # noqa: ANN401
        """Return what was sent; raises `ParseError`, or `ValidationError` that names the field."""
        raw: bytes = stream.read()
        too_large: list[str] = []

        def integer(text: str) -> int:
            number = int(text) if len(text) <= MOST_DIGITS + 1 else LARGEST + 1
            if not SMALLEST <= number <= LARGEST:
                too_large.append(text[:MOST_DIGITS])
            return number

        def finite(text: str) -> float:
            number = float(text)
            if not math.isfinite(number):
                too_large.append(text[:MOST_DIGITS])
            return number

        try:
            parsed = json.loads(
                raw.decode("utf-8"),
                parse_int=integer,
                parse_float=finite,
                parse_constant=_no_number,
            )
        except RecursionError as error:
            raise ParseError("JSON parse error: it is nested too deeply.") from error
        except ValueError as error:
            raise ParseError(f"JSON parse error: {_reason(error)}") from error
        is_doubtful = too_large or WORTH_A_LOOK.search(raw)
        if is_doubtful and (found := unstorable(parsed)):
            raise ValidationError(found)
        return parsed


def unstorable(value: Any) -> dict[str, list[str]]:  # noqa: ANN401
    """Return a sentence for each text and number that a database cannot hold, by its place."""
    try:
        return {place or GENERAL: [sentence] for place, sentence in _walk(value, "")}
    except RecursionError:
        return {GENERAL: ["It is nested too deeply."]}


def _walk(value: Any, place: str) -> Iterator[tuple[str, str]]:  # noqa: ANN401
    if isinstance(value, dict):
        for name, inner in value.items():
            if sentence := _about(name):
                yield place, f"A name in it cannot be used: {sentence}"
            else:
                yield from _walk(inner, f"{place}.{name}" if place else str(name))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _walk(inner, f"{place}.{number}" if place else str(number))
    elif sentence := _about(value):
        yield place, sentence


def _about(value: Any) -> str:  # noqa: ANN401
    if isinstance(value, float) and not math.isfinite(value):
        return "A number must be finite."
    if isinstance(value, int) and not SMALLEST <= value <= LARGEST:
        return "A number must fit into 64 bits."
    if not isinstance(value, str):
        return ""
    if "\0" in value:
        return "Null characters are not allowed."
    if any("\ud800" <= character <= "\udfff" for character in value):
        return "Half of a surrogate pair is not allowed."
    return ""


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number")


def _reason(error: ValueError) -> str:
    return "it is no UTF-8" if isinstance(error, UnicodeDecodeError) else str(error)
