"""What a worker's agent knows of its post: which node, under which name, on which host."""

from __future__ import annotations

import socket
import uuid
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Post:
    """One worker's place in the cluster; nothing of it changes while the worker lives."""

    node_id: int
    node_uuid: uuid.UUID
    worker: str
    identity: str
    spool: Path
    process_id: int

    @property
    def hostname(self) -> str:
        """The host's name, as the panel shows it."""
        return socket.gethostname()
