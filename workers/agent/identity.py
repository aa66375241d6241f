"""Which host this is, and that the spool is this node's: what keeps two hosts from being one."""

from __future__ import annotations

import fcntl
import json
import os
import uuid
from pathlib import Path

from workers.engine.errors import EngineError

FILE_NAME = ".holdfast-node"
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class SpoolRefused(EngineError):
    """The spool cannot be this node's."""

    code = "spool_refused"


def prepare_spool(spool: Path) -> None:
    """Make the spool's folder for this user alone; it will hold people's databases."""
    hint = "Set HOLDFAST_SPOOL_DIRECTORY to a folder that this user may write to."
    try:
        spool.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise SpoolRefused(
            f"The spool {spool} cannot be made ({error.strerror})", hint=hint
        ) from error
    if not os.access(spool, os.W_OK | os.X_OK):
        raise SpoolRefused(f"The spool {spool} is not writable for this user", hint=hint)


def host_identity(spool: Path, node: uuid.UUID) -> str:
    """Return what tells this host from any other: its spool's own number, and its kernel's boot.

    Workers that share a spool on one kernel are one host. A cloned disk has the same number but
    another boot, a second spool on the same machine another number. Raises `SpoolRefused` for the
    spool of another node: what is in it belongs to that node's jobs.
    """
    owner = _owner(spool, node)
    if owner["node"] != str(node):
        raise SpoolRefused(
            f"The spool {spool} belongs to another node ({owner['node']})",
            hint="Give each node a spool of its own (HOLDFAST_SPOOL_DIRECTORY), or remove this one "
            "once nothing in it is needed any more.",
        )
    return f"{owner['host']}/{boot_id()}"


def boot_id() -> str:
    """Return the kernel's name for the time since it was started."""
    return BOOT_ID.read_text().strip()


def _owner(spool: Path, node: uuid.UUID) -> dict[str, str]:
    """Return what the spool's file says; the first one that looks writes it."""
    path = spool / FILE_NAME
    try:
        with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            text = file.read()
            if not text:
                text = json.dumps({"node": str(node), "host": str(uuid.uuid4())})
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
        owner = json.loads(text)
        return {"node": str(owner["node"]), "host": str(uuid.UUID(owner["host"]))}
    except OSError as error:
        raise SpoolRefused(
            f"{path} cannot be read or written ({error.strerror})",
            hint="It must belong to the user that the worker runs as.",
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise SpoolRefused(
            f"{path} does not say whose spool this is",
            hint="Remove that file if the spool is this node's; a new one is written.",
        ) from error
