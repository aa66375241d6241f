"""Sources and reporters for the tests of stores, and a `put` in a process of its own.

`python -m tests.contracts.store_sources` takes one JSON object on standard input: kind, config,
capabilities, key, path, resume, checkpoint (a file that each checkpoint is written to), pause_after
(so many bytes, then it waits to be killed), throttle (the shared file and bytes per second).
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workers.engine import endpoints
from workers.engine.errors import InterruptedWork
from workers.engine.progress import SilentReporter
from workers.engine.sources import FilesSource
from workers.engine.stores import open_store
from workers.engine.stores.base import Checkpoint, Store, StoredObject
from workers.engine.throttle import SharedThrottle

ROOT = Path(__file__).parents[2]


class BytesSource:
    """Bytes in memory as a `ByteSource`; `on_read` is told the offset of each reading."""

    def __init__(self, data: bytes, on_read: Callable[[int], None] = lambda offset: None) -> None:
        self.data = data
        self.size = len(data)
        self.on_read = on_read

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()

    def read_at(self, offset: int, length: int) -> bytes:
        self.on_read(offset)
        return self.data[offset : offset + length]


class InterruptingReporter(SilentReporter):
    """Raises once so many bytes are done, and ever after; notes from which threads it is called."""

    def __init__(self, error: type[InterruptedWork], after: int) -> None:
        super().__init__()
        self.error = error
        self.after = after
        self.threads: set[int] = set()

    def check(self) -> None:
        self.threads.add(threading.get_ident())
        if self.bytes_done >= self.after:
            raise self.error


class PausingReporter(SilentReporter):
    """Waits for a signal once so many bytes are done."""

    def __init__(self, after: int) -> None:
        super().__init__()
        self.after = after

    def check(self) -> None:
        if self.bytes_done >= self.after:
            signal.pause()


@dataclass
class PutCall:
    """What a `put` is called with besides the source, changed by tests as they need."""

    store: Store
    key: str
    reporter: SilentReporter = dataclasses.field(default_factory=SilentReporter)
    metadata: Mapping[str, str] = dataclasses.field(default_factory=dict)
    resume: Checkpoint | None = None
    sha256: str = ""
    checkpoints: list[Checkpoint] = dataclasses.field(default_factory=list)

    def __call__(self, source: BytesSource) -> StoredObject:
        return self.store.put(
            self.key,
            source,
            sha256=self.sha256 or source.sha256,
            reporter=self.reporter,
            metadata=self.metadata,
            resume=self.resume,
            save_checkpoint=self.checkpoints.append,
        )


def pattern(size: int, seed: int = 1) -> bytes:
    """Bytes that do not repeat and are the same in every run."""
    return random.Random(seed).randbytes(size)


def digest_of(store: Store, key: str) -> str:
    """The sha256 of what can be read under a key."""
    opened = store.open(key)
    return hashlib.sha256(opened.read_at(0, opened.size)).hexdigest()


def start_put(request: Mapping[str, Any]) -> subprocess.Popen[str]:
    """Start a `put` in another process; its answer is JSON on its standard output."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.contracts.store_sources"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    process.stdin.write(json.dumps(request))
    process.stdin.close()
    process.stdin = None
    return process


def _main() -> None:
    request = json.load(sys.stdin)
    endpoints.allow_local(True)
    throttle = None
    if limit := request.get("throttle"):
        throttle = SharedThrottle(Path(limit[0]), limit[1])
    store = open_store(request["kind"], request["config"], request.get("capabilities"), throttle)
    path = Path(request["path"])
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()

    def save(checkpoint: Checkpoint) -> None:
        if request.get("checkpoint"):
            Path(request["checkpoint"]).write_text(json.dumps(dict(checkpoint)))

    with FilesSource([path]) as source:
        found = store.put(
            request["key"],
            source,
            sha256=sha256,
            reporter=PausingReporter(request.get("pause_after", 1 << 62)),
            metadata={},
            resume=request.get("resume"),
            save_checkpoint=save,
        )
    print(json.dumps({"size": found.size, "verified_by": found.verified_by, "rss_kib": _peak()}))


def _peak() -> int:
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


if __name__ == "__main__":
    _main()
