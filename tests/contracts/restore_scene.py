"""A damaged database of each engine, restored by workers that are killed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.contracts.database_subjects import Subject
from tests.contracts.restore_subjects import (
    CASES,
    dumped,
    everything,
    left,
    write,
)
from tests.contracts.restore_worker import in_a_child
from workers.engine.databases import open_restorer

LABEL = "kill9"
# How long a client has been at work when it is killed: not at all, signing in, at its statements.
DELAYS = (0.0, 0.012, 0.025)
MOST_STEPS = 90
# Each step takes a second; its neighbours are the same statement's begin and end.
STRIDE = 3


class Scene:
    """A damaged database, the dump that mends it, and what it should hold before and after."""

    def __init__(self, engine: str, subject: Subject, tmp_path: Path, *, some: bool) -> None:
        case = CASES[engine]
        self.subject = subject
        self.scratch = tmp_path / "scratch"
        self.scratch.mkdir(mode=0o700)
        self.spec = subject.create(case.adversarial)
        self.tables = list(case.chosen) if some else None
        self.text, _ = dumped(self.spec, self.scratch)
        self.dump = tmp_path / "dump.sql"
        self.dump.write_bytes(self.text)
        self._damage()
        switch = self.prepared()
        switch.switch()
        switch.discard()
        self.restored = everything(subject, self.spec)
        self.back_to_damaged()

    def prepared(self) -> Any:
        return open_restorer(self.spec).prepare(
            [self.text], label=LABEL, tables=self.tables, scratch_directory=str(self.scratch)
        )

    def back_to_damaged(self) -> None:
        """Bring the damage about by the same means, so that it is the same."""
        if self.tables is not None:
            switch = open_restorer(self.spec).prepare(
                [self.text], label="fresh", scratch_directory=str(self.scratch)
            )
            switch.switch()
            switch.discard()
        self._damage()

    def _damage(self) -> None:
        write(self.subject, self.spec, CASES[self.spec.engine].damage)
        self.damaged = everything(self.subject, self.spec)

    def order(self, what: str, kill_at: int, **more: Any) -> int:
        """Have a worker do something; return how it ended."""
        order = {
            "spec": self.spec,
            "dump": self.dump,
            "label": LABEL,
            "tables": self.tables,
            "scratch": str(self.scratch),
            "what": what,
            "kill_at": kill_at,
            "delay": DELAYS[kill_at // STRIDE % len(DELAYS)],
            **more,
        }
        return in_a_child(order)

    def settle(self, record: dict[str, Any], *, asked: bool) -> None:
        """Do what the next worker does with the record that it finds."""
        switch = open_restorer(self.spec).from_record(record)
        if asked:
            switch.switch()
        else:
            switch.revert()
        switch.discard()

    def require(self, expected: dict[str, object]) -> None:
        assert everything(self.subject, self.spec) == expected
        assert left(self.subject, self.spec) == []
