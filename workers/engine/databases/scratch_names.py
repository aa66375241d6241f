"""How the scratch databases of a restore are named."""

from __future__ import annotations

import hashlib
import re

from workers.engine.errors import EngineError

# What scratch databases on a server of their own are named after.
OWN_NAME = "holdfast"
_LABEL = re.compile(r"[a-z0-9]{1,16}\Z")


def scratch_name(name: str, label: str, suffix: str = "", *, limit: int) -> str:
    """Return `<name>_hf_<label><suffix>`; a name beyond `limit` bytes is cut, and a hash put in.

    Raises a permanent `EngineError` for a label that is not 1 to 16 small letters and digits.
    """
    if not _LABEL.match(label):
        raise EngineError(f"{label!r} is no label for a scratch database", permanent=True)
    end = f"_hf_{label}{suffix}"
    if len((name + end).encode()) <= limit:
        return name + end
    digest = hashlib.sha256(name.encode()).hexdigest()[:8]
    room = limit - len(end) - len(digest) - 1
    return f"{name.encode()[:room].decode(errors='ignore')}_{digest}{end}"
