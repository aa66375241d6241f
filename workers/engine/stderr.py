"""What a child said last, fit to be shown: bounded, and without the secrets it may have named."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Sequence
from urllib.parse import quote

STDERR_LINES = 25
STDERR_LINE_BYTES = 2_000
MASK = "********"
SHORT_SECRET = 4


def mask_secrets(text: str, secrets: Sequence[str]) -> str:
    """Return `text` with every occurrence of a secret blotted out, longest first.

    Also blots out a secret's percent-encoded form and each line of one that has several. One of
    less than `SHORT_SECRET` characters only where it stands alone: a password "p" would make every
    message unreadable, and give itself away by that.
    """
    for form in _forms(secrets):
        if len(form) < SHORT_SECRET:
            text = re.sub(rf"(?<!\w){re.escape(form)}(?!\w)", MASK, text)
        else:
            text = text.replace(form, MASK)
    return text


class StderrTail:
    """The last lines of a stream, in bounded memory however much there is, however long a line."""

    def __init__(self, secrets: Sequence[str]) -> None:
        self._secrets = secrets
        self._lines: deque[bytes] = deque(maxlen=STDERR_LINES)
        self._line = b""

    def feed(self, data: bytes) -> None:
        """Take the next piece of the stream."""
        # Limited, since a flood of newlines must not cost an object each.
        pieces = data.rsplit(b"\n", STDERR_LINES + 1)
        if len(pieces) == STDERR_LINES + 2:
            self._line = b""
            del pieces[0]
        for piece in pieces[:-1]:
            self._lines.append(self._extended(piece))
            self._line = b""
        self._line = self._extended(pieces[-1])

    def text(self) -> str:
        """Return the last lines, secrets masked."""
        lines = (*self._lines, self._line) if self._line else tuple(self._lines)
        shown = "\n".join(self._shown(line) for line in lines[-STDERR_LINES:])
        return mask_secrets(shown, self._secrets).strip()

    def _extended(self, piece: bytes) -> bytes:
        # One byte more than is shown tells that the line was longer.
        return self._line + piece[: STDERR_LINE_BYTES + 1 - len(self._line)]

    def _shown(self, line: bytes) -> str:
        if len(line) <= STDERR_LINE_BYTES:
            return line.decode("utf-8", "replace").rstrip("\r")
        # The cut may have gone through a secret, whose first half would then not be recognised.
        for form in _forms(self._secrets):
            secret = form.encode()
            lengths = range(len(secret) - 1, 0, -1)
            cut = next((length for length in lengths if line.endswith(secret[:length])), 0)
            line = line[: len(line) - cut]
        return line.decode("utf-8", "replace") + "…"


def _forms(secrets: Sequence[str]) -> list[str]:
    """Return how the secrets may appear in a text, longest first."""
    forms = {form for secret in secrets for form in (secret, quote(secret, safe=""))}
    forms |= {line for secret in secrets for line in secret.splitlines()}
    return sorted(filter(None, forms), key=len, reverse=True)
