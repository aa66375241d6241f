"""The secret key of a development installation: made once, kept in a file beside the code.

Production has no such file: there a missing key ends the start.
"""

from __future__ import annotations

import os
import secrets
import tempfile
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured

RANDOM_BYTES = 64


def key_in(path: Path, *, variable: str) -> str:
    """Return the key in the file, which is made if it is not there.

    However many processes start at once, all get the same key. Raises `ImproperlyConfigured`
    where the file can be neither read nor written; `variable` is what to set then.
    """
    try:
        if not path.exists():
            _make(path)
        return path.read_text().strip()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        raise ImproperlyConfigured(
            f"{path} cannot hold a key for development ({reason}): set {variable}."
        ) from error


def _make(path: Path) -> None:
    descriptor, name = tempfile.mkstemp(prefix=f"{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_urlsafe(RANDOM_BYTES))
        # A link is never made over another one: whoever comes second takes the first one's key.
        os.link(name, path)
    except FileExistsError:
        pass
    finally:
        Path(name).unlink()
