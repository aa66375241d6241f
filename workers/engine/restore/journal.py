"""What a restore is about to do, on the disk before it does it: for whoever comes after a kill."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from workers.engine.errors import EngineError
from workers.engine.restore.exchange import explained, sync_folder
from workers.engine.restore.switching import Switch

PREPARING, SWITCHING, SWITCHED = "preparing", "switching", "switched"
MakeSwitch = Callable[[Mapping[str, Any]], Switch]


class Journal:
    """The state of one job's switches, in one file that is replaced as a whole.

    `preparing`: nothing that stands was touched. `switching`: some may be switched and some not.
    `switched`: all are, and what was there before is only still to be removed.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def phase(self) -> str:
        """How far the job is; empty where there is no journal."""
        return str(self._read().get("phase", ""))

    @property
    def is_switching(self) -> bool:
        """Whether an exchange has begun."""
        return self.phase in (SWITCHING, SWITCHED)

    def announce(self, switches: Sequence[Switch]) -> None:
        """Note what is being prepared, before it is: so that it is found whatever happens."""
        self._write(PREPARING, switches)

    def commit(self, switches: Sequence[Switch]) -> None:
        """Switch all of them, in order; if one fails, take back those before it and raise."""
        with self._alone():
            self._write(SWITCHING, switches)
            try:
                for switch in switches:
                    switch.switch()
            except EngineError:
                _take_back(switches)
                self._write(PREPARING, switches)
                raise
            self._write(SWITCHED, switches)

    def settle(self, make_switch: MakeSwitch) -> str:
        """Bring the site into one of two states, and remove the journal: as before, or as asked.

        Returns `switched` for as asked, else "". A commit that was cut off is completed if it can
        be, and else taken back. Raises `EngineError` if neither can be done now; asking again later
        does no harm.
        """
        if not self._path.exists():
            return ""
        with self._alone():
            return self._settle(make_switch)

    def _settle(self, make_switch: MakeSwitch) -> str:
        found = self._read()
        switches = [make_switch(record) for record in found.get("switches", [])]
        is_switched = found.get("phase") == SWITCHED
        if found.get("phase") == SWITCHING:
            is_switched = _go_on(switches)
        elif not is_switched:
            _take_back(switches)
        for switch in switches:
            switch.discard()
        self.remove()
        return SWITCHED if is_switched else ""

    def remove(self) -> None:
        """Forget all of it."""
        with contextlib.suppress(FileNotFoundError):
            self._path.unlink()

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep others from exchanging the same things at the same time.

        An attempt that lost its job may be in the middle of it when somebody comes to settle that;
        the kernel frees what a killed process held.
        """
        try:
            descriptor = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise explained(error, f"{self._path} cannot be written") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(descriptor)
            raise EngineError(
                "What was restored is being put in its place by another process",
                hint="It is settled once that has ended.",
                code="restore_unsettled",
            ) from error
        try:
            yield
        finally:
            os.close(descriptor)

    def _read(self) -> dict[str, Any]:
        try:
            found: dict[str, Any] = json.loads(self._path.read_text())
        except FileNotFoundError:
            return {}
        return found

    def _write(self, phase: str, switches: Sequence[Switch]) -> None:
        text = json.dumps({"phase": phase, "switches": [dict(one.record()) for one in switches]})
        temporary = self._path.with_name(f"{self._path.name}.new")
        try:
            with temporary.open("w") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(self._path)
            sync_folder(self._path.parent)
        except OSError as error:
            raise explained(error, f"{self._path} cannot be written") from error


def _go_on(switches: Sequence[Switch]) -> bool:
    """Complete a commit that was cut off; where that fails take all of it back. True if done."""
    try:
        for switch in switches:
            switch.switch()
    except EngineError:
        _take_back(switches)
        return False
    return True


def _take_back(switches: Sequence[Switch]) -> None:
    """Revert all of them, also after one that could not be; raises what the first of these did."""
    failure: EngineError | None = None
    for switch in reversed(switches):
        try:
            switch.revert()
        except EngineError as error:
            failure = failure or error
    if failure is not None:
        raise failure
