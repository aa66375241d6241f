"""Keeps credentials that are part of a URL out of every log."""

from __future__ import annotations

import logging
import re


def _spelled(word: str) -> str:
    """Return what matches the word with any of its letters percent-encoded, as servers read it."""
    return "".join(f"(?:{letter}|%{ord(letter):x}|%{ord(letter.upper()):x})" for letter in word)


# Download links and stream tokens are good without any other proof, as long as they last. Beside
# their places, they are known by their looks: somebody may send them under a wrong name.
_CREDENTIALS = re.compile(
    rf"(/downloads/|[?&](?:{_spelled('token')}|{_spelled('ticket')})=)[^\s/?&\"']+"
    r"|\btkt_[\w-]+"
    r"|\beyJ[\w-]+\.[\w-]+\.[\w-]*",
    re.IGNORECASE,
)


class MaskLinks(logging.Filter):
    """Masks the credentials in a record's text; lets every record pass."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Replace the text only where there is something to hide."""
        said = record.getMessage()
        masked = _CREDENTIALS.sub(r"\1***", said)
        if masked != said:
            record.msg, record.args = masked, ()
        return True
