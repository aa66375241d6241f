"""How a line is written: for people or as JSON, and never with a credential that is in a URL."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Mapping
from typing import Any

from pythonjsonlogger.core import RESERVED_ATTRS
from pythonjsonlogger.json import JsonFormatter

from backups.log_context import FIELDS

# Objects that other libraries put onto their records: of no use to a reader, and full of details.
_OBJECTS = ("request", "response", "color_message", "server_time")


def _spelled(word: str) -> str:
    """Return what matches the word with any of its letters percent-encoded, as servers read it."""
    return "".join(f"(?:{letter}|%{ord(letter):x}|%{ord(letter.upper()):x})" for letter in word)


# Download links, presigned URLs and stream tokens are good without any other proof, as long as
# they last. Beside their places, they are known by their looks: somebody may send them under a
# wrong name. A URL within another one's query is percent-encoded.
_CREDENTIALS = re.compile(
    rf"(/downloads/|(?:[?&]|%3F|%26)(?:{_spelled('token')}|{_spelled('ticket')}"
    r"|X-Amz-Signature|X-Amz-Security-Token)(?:=|%3D))[^\s/?&\"'\\]+"
    r"|\btkt_[\w-]+"
    r"|\beyJ[\w-]+\.[\w-]+\.[\w-]*",
    re.IGNORECASE,
)
# Clients of the database and the broker may quote the URL that they were given.
_PASSWORDS = re.compile(r"(://[^\s/@:]*:)[^\s/@]+(?=@)")


def masked(text: str) -> str:
    """Return the text without the credentials in its URLs."""
    return _PASSWORDS.sub(r"\1***", _CREDENTIALS.sub(r"\1***", text))


class MaskLinks(logging.Filter):
    """Masks the credentials in a record's text; lets every record pass."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Replace the text only where there is something to hide."""
        said = record.getMessage()
        hidden = masked(said)
        if hidden != said:
            record.msg, record.args = hidden, ()
        return True


class TextLines(logging.Formatter):
    """A line for a person, with the ids that are known at its end."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        """Return the line without the traceback."""
        known = [f"{name}={record.__dict__[name]}" for name in FIELDS if name in record.__dict__]
        line = super().formatMessage(record)
        return f"{line} [{' '.join(known)}]" if known else line

    def format(self, record: logging.LogRecord) -> str:
        """Return the whole: what a traceback quotes is masked too."""
        return masked(super().format(record))


class JsonLines(JsonFormatter):
    """One JSON object a line."""

    def __init__(self) -> None:
        super().__init__(
            "{levelname}{name}{message}",
            style="{",
            timestamp="timestamp",
            rename_fields={"levelname": "level", "name": "logger"},
            reserved_attrs=[*RESERVED_ATTRS, *_OBJECTS],
            json_ensure_ascii=False,
        )

    def process_log_record(self, log_data: dict[str, Any]) -> dict[str, Any]:
        """Return what is written, with every text in it masked."""
        return {name: _plain(value) for name, value in log_data.items()}

    def format(self, record: logging.LogRecord) -> str:
        """Return the line; half a character, as a file's name may hold, is written out."""
        return super().format(record).encode("utf-8", "backslashreplace").decode()


def _plain(value: Any) -> Any:  # noqa: ANN401
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if hasattr(value, "isoformat"):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, Mapping):
        return {masked(str(name)): _plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple | set):
        return [_plain(inner) for inner in value]
    return masked(str(value))
