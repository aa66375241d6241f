"""Keeps credentials that are part of a URL out of every log."""

from __future__ import annotations

import logging
import re

# Download links and stream tokens are good without any other proof, as long as they last.
_CREDENTIALS = re.compile(r"(/downloads/|[?&](?:token|ticket)=)[^\s/?&\"']+")


class MaskLinks(logging.Filter):
    """Masks the credentials in a record's text; lets every record pass."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Replace the text only where there is something to hide."""
        said = record.getMessage()
        masked = _CREDENTIALS.sub(r"\1***", said)
        if masked != said:
            record.msg, record.args = masked, ()
        return True
