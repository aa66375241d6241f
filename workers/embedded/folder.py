"""The demo's folder: who may use it, what it keeps secret, and where its parts are."""

from __future__ import annotations

import base64
import contextlib
import fcntl
import json
import os
import secrets
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

from workers.engine.errors import EngineError

AGAIN_HINT = "`make clean` removes the demo's data; the next start begins anew."


@dataclass(frozen=True, slots=True)
class Secrets:
    """What must stay the same as long as the demo's data is to be read."""

    secret_key: str = field(repr=False)
    encryption_key: str = field(repr=False)
    broker_password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class DemoFolder:
    """Everything that the demo writes lies below `root`, which only its owner may read."""

    root: Path
    lock: int

    @property
    def database(self) -> Path:
        """The panel's SQLite file."""
        return self.root / "holdfast.sqlite3"

    @property
    def bundles(self) -> Path:
        """The local storage."""
        return self.root / "bundles"

    @property
    def spool(self) -> Path:
        """Where the worker's attempts write."""
        return self.root / "spool"

    @property
    def site(self) -> Path:
        """The sample site."""
        return self.root / "site"

    @property
    def restored(self) -> Path:
        """What `tar` makes of the newest bundle."""
        return self.root / "restored"

    @property
    def logs(self) -> Path:
        """One file per process."""
        return self.root / "logs"

    def secrets(self) -> Secrets:
        """Return the demo's secrets, made at its first start.

        Raises `EngineError` if what was kept cannot be read any more.
        """
        path = self.root / "secrets.json"
        if not path.exists():
            self._write_secrets(path)
        try:
            return Secrets(**json.loads(path.read_text("utf-8")))
        except (OSError, ValueError, TypeError) as error:
            raise EngineError(
                f"{path} cannot be used: {error}", hint=AGAIN_HINT, permanent=True
            ) from error

    def _write_secrets(self, path: Path) -> None:
        made = Secrets(
            secret_key=secrets.token_urlsafe(64),
            encryption_key=base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
            broker_password=secrets.token_urlsafe(32),
        )
        # Under its name only when whole: a start that is interrupted here leaves nothing damaged.
        partial = path.with_suffix(".partial")
        partial.unlink(missing_ok=True)
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(asdict(made), file)
            file.flush()
            os.fsync(descriptor)
        partial.rename(path)


@contextlib.contextmanager
def open_folder(root: Path) -> Iterator[DemoFolder]:
    """Make the folder if it is missing, and keep every other demo out of it.

    Raises `EngineError` where it cannot be written, or where a demo runs in it already.
    """
    try:
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        root.chmod(0o700)
        descriptor = os.open(root / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise EngineError(
            f"The demo cannot write to {root}: {error.strerror}",
            hint="Run it from a folder that you may write to.",
            permanent=True,
        ) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise EngineError(
            f"A demo runs in {root} already, or is just ending",
            hint="End it with Ctrl-C, or wait a few seconds, and start again.",
        ) from error
    try:
        yield DemoFolder(root, descriptor)
    finally:
        os.close(descriptor)
