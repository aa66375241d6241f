"""The readers as the process that started them sees them: tasks out, facts in, never a hang."""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from workers.engine import process
from workers.engine.bundle import tasks
from workers.engine.bundle.later import LaterWork
from workers.engine.errors import EngineError
from workers.engine.progress import Reporter

_CHECK_SECONDS = 0.5
# One message holds few folders, so that the readers stay evenly loaded, and few bytes, so that it
# mostly fits a socket's buffer and a reader is not waited for.
_TASKS_PER_MESSAGE = 32
_MESSAGE_BYTES = 64 << 10
_PROGRAM = "workers.engine.bundle.reader_process"
# The folder that holds the `workers` package: a child finds its modules from there.
_HOME = Path(__file__).resolve().parents[3]


class ReaderLost(EngineError):
    """A reader process ended before its work was done."""

    code = "reader_lost"


class Reader:
    """One reader process."""

    def __init__(
        self, running: process.Process, channel: tasks.Channel, check: Callable[[], None]
    ) -> None:
        self.process = running
        self.channel = channel
        self._check = check
        self.idle = True
        self.facts: dict[str, Any] | None = None

    def send(self, kind: bytes, payload: bytes = b"") -> None:
        """Send a message, checking while nobody takes it; `ReaderLost` when nobody is there."""
        try:
            self.channel.send_checked(kind, payload, self._check)
        except OSError as error:
            raise self.lost() from error

    def lost(self) -> EngineError:
        """Return what to say about a reader that closed its socket."""
        try:
            self.process.finish()
            why = "it closed its connection"
        except process.ProcessFailed as failure:
            why = failure.message
        return ReaderLost(
            f"A process that reads files ended before its work was done: {why}",
            hint="Was it killed, or is the host out of memory? It will be tried again.",
        )


class ReaderPool:
    """Hands tasks to readers and hears what they say, checking the reporter all the while."""

    def __init__(
        self,
        readers: Sequence[Reader],
        waiting: tasks.TaskStack,
        later: LaterWork,
        reporter: Reporter,
    ) -> None:
        self._readers = readers
        self._waiting = waiting
        self._later = later
        self._reporter = reporter

    def push(self, task: bytes) -> None:
        """Add a task for `run_all`."""
        if task[:1] == tasks.LIST:
            self._later.add_folder(task[1:])
        self._waiting.push(task)

    def flush(self) -> None:
        """Have every reader write all it has into the segment."""
        for reader in self._readers:
            reader.idle = False
            reader.send(tasks.FLUSH)
        self.run_all()

    def run_all(self) -> None:
        """Return once no task waits and none is under way."""
        while self._waiting or not all(reader.idle for reader in self._readers):
            for reader in self._readers:
                if reader.idle and self._waiting:
                    self._hand_over(reader)
            self._listen()

    def run_in_order(self, ordered: Iterator[bytes]) -> None:
        """Carry out tasks one after the other, all by the same reader."""
        reader = self._readers[0]
        for task in ordered:
            self._waiting.push(task)
            self._hand_over(reader)
            while not reader.idle:
                self._listen()

    def finish(self) -> list[dict[str, Any]]:
        """End the readers and return their facts."""
        for reader in self._readers:
            reader.send(tasks.FINISH)
        while any(reader.facts is None for reader in self._readers):
            self._listen()
        return [reader.facts for reader in self._readers if reader.facts is not None]

    def _hand_over(self, reader: Reader) -> None:
        share = max(1, min(_TASKS_PER_MESSAGE, len(self._waiting) // (2 * len(self._readers))))
        batch = [self._waiting.pop()]
        while len(batch) < share and sum(map(len, batch)) < _MESSAGE_BYTES:
            batch.append(self._waiting.pop())
        reader.idle = False
        reader.send(tasks.TASKS, tasks.pack(batch))

    def _listen(self) -> None:
        """Hear every reader that has something to say, for up to half a second."""
        listening = {
            reader.channel.fileno(): reader for reader in self._readers if reader.facts is None
        }
        poller = select.poll()  # select stops at descriptor 1023
        for descriptor in listening:
            poller.register(descriptor, select.POLLIN)
        ready = poller.poll(_CHECK_SECONDS * 1000)
        self._reporter.check()
        for descriptor, _ in ready:
            reader = listening[descriptor]
            try:
                for kind, payload in reader.channel.receive_ready():
                    self._hear(reader, kind, payload)
            except (EOFError, ConnectionError) as error:
                if reader.facts is None:
                    raise reader.lost() from error

    def _hear(self, reader: Reader, kind: bytes, payload: bytes) -> None:
        if kind == tasks.PROGRESS:
            self._reporter.advance(tasks.COUNT.unpack(payload)[0])
        elif kind == tasks.SPARE:
            self.push(payload)
        elif kind == tasks.LINKED:
            self._later.add_linked(payload)
        elif kind == tasks.DONE:
            reader.idle = True
        elif kind == tasks.FACTS:
            reader.facts = json.loads(payload)
        elif kind == tasks.FAILED:
            told = json.loads(payload)
            raise EngineError(told.pop("message"), **told)


@contextlib.contextmanager
def start_reader(
    settings: dict[str, Any], descriptors: Sequence[int], check: Callable[[], None]
) -> Iterator[Reader]:
    """Start a reader that inherits `descriptors`; it is gone when the context ends."""
    ours, theirs = socket.socketpair()
    with contextlib.closing(ours):
        argv = [*process.python_argv(_PROGRAM), str(theirs.fileno())]
        with contextlib.ExitStack() as stack:
            # Our copy of their end must not outlive the start, or their end would go unnoticed.
            with contextlib.closing(theirs):
                running = stack.enter_context(
                    process.spawn(
                        argv,
                        check=check,
                        pass_fds=[theirs.fileno(), *descriptors],
                        cwd=os.fspath(_HOME),
                    )
                )
            reader = Reader(running, tasks.Channel(ours), check)
            try:
                reader.send(tasks.CONFIGURE, json.dumps(settings).encode())
                yield reader
            except BaseException:
                # It has nothing to clean up, and one that hangs must not cost the others' grace.
                with contextlib.suppress(process.ProcessStuck):
                    running.terminate(grace_seconds=0)
                raise
