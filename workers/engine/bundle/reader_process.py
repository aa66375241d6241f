"""The program of a reader: `python -m workers.engine.bundle.reader_process <descriptor>`.

A tree is read by a few processes, since Python hashes, reads and formats on one core only. Each has
a socket to the process that started it, shares the segment with the others, and writes a sidecar
and a list of what it left out of its own.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from workers.engine.bundle import tasks
from workers.engine.bundle.archiver import Archiver
from workers.engine.bundle.facts import LeftOut, Tally
from workers.engine.bundle.segment import SegmentWriter, SharedAllocator
from workers.engine.bundle.tree_reader import OpenRoot, TreeReader
from workers.engine.errors import EngineError
from workers.engine.excludes import Excludes
from workers.engine.room import out_of_room

_WRITE_BUFFER = 1 << 16


def main(descriptor: int) -> int:
    """Serve the process at the other end of the socket; return the exit status."""
    channel = tasks.Channel(socket.socket(fileno=descriptor))
    messages = channel.messages()
    kind, payload = next(messages, (b"", b""))
    if kind != tasks.CONFIGURE:
        return 1
    settings = json.loads(payload)
    try:
        with out_of_room(Path(settings["directory"])):
            return 0 if _serve(channel, messages, settings) else 1
    except EngineError as error:
        told = {
            "message": error.message,
            "hint": error.hint,
            "permanent": error.permanent,
            "code": error.code,
        }
        channel.send(tasks.FAILED, json.dumps(told).encode())
        return 1


def _serve(
    channel: tasks.Channel,
    messages: Iterator[tuple[bytes, bytes]],
    settings: dict[str, Any],
) -> bool:
    """Do what is asked until the end; False if the other side went away before."""
    tally = Tally()
    with (
        Path(settings["sidecar"]).open("wb", buffering=_WRITE_BUFFER) as sidecar,
        Path(settings["left_out"]).open("wb", buffering=_WRITE_BUFFER) as left_out_file,
    ):
        left_out = LeftOut(left_out_file, tally)
        writer = SegmentWriter(
            settings["segment"],
            sidecar,
            SharedAllocator(*settings["allocator"]),
            lambda size: channel.send(tasks.PROGRESS, tasks.COUNT.pack(size)),
        )
        archiver = Archiver(writer, left_out, tally)
        reader = TreeReader(
            [OpenRoot.from_json(root) for root in settings["roots"]],
            Excludes(settings["patterns"], [os.fsencode(path) for path in settings["exact"]]),
            archiver,
            left_out,
            tally,
            lambda task: channel.send(tasks.SPARE, task),
        )
        for kind, payload in messages:
            if kind == tasks.FINISH:
                archiver.finish()
                break
            if kind == tasks.FLUSH:
                archiver.finish()
            for task in tasks.unpack(payload):
                reader.run(task)
            if linked := reader.take_linked():
                channel.send(tasks.LINKED, tasks.pack(linked))
            channel.send(tasks.DONE)
        else:
            return False
    # Only now are the files whole, and may the other side read them.
    channel.send(tasks.FACTS, json.dumps(tally.as_json()).encode())
    return True


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
