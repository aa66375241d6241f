"""kill -9 of a worker, and of the server, at each step of a restore: all as before, or as asked."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.contracts.database_subjects import Subject
from tests.contracts.restore_subjects import (
    CASES,
    dumped,
    everything,
    left,
    subject_of,
    write,
)
from tests.contracts.restore_worker import in_a_child
from tests.servers import wait_until
from workers.engine import process
from workers.engine.databases import RESTORERS, open_restorer
from workers.engine.errors import EngineError

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

LABEL = "kill9"
# How long a client has been at work when it is killed: not at all, signing in, at its statements.
DELAYS = (0.0, 0.012, 0.025)
MOST_STEPS = 90
# Each step takes a second; its neighbours are the same statement's begin and end.
STRIDE = 2


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
            "delay": DELAYS[kill_at % len(DELAYS)],
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


@pytest.fixture(params=sorted(RESTORERS))
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=[False, True], ids=["whole", "some"])
def scene(request: pytest.FixtureRequest, engine: str, tmp_path: Path) -> Scene:
    if engine == "mysql" and request.param:
        pytest.skip("MySQL's switch does the same for some tables as for all")
    return Scene(engine, subject_of(request, engine), tmp_path, some=request.param)


def test_all_is_as_before_when_the_worker_is_killed_while_preparing(scene: Scene) -> None:
    for step in range(0, MOST_STEPS, STRIDE):
        ended = scene.order("prepare", step)
        open_restorer(scene.spec).drop_leftovers([LABEL])
        scene.require(scene.damaged)
        if ended == 0:
            break
    assert step >= 2


@pytest.mark.parametrize("asked", [True, False], ids=["go on", "take back"])
def test_all_is_as_asked_when_the_worker_is_killed_while_switching(
    scene: Scene, asked: bool
) -> None:
    for step in range(0, MOST_STEPS, STRIDE):
        record = dict(scene.prepared().record())
        ended = scene.order("switch", step, record=record)
        scene.settle(record, asked=asked)
        scene.require(scene.restored if asked else scene.damaged)
        if ended == 0:
            break
        if asked:
            scene.back_to_damaged()
    assert step > 1


def test_all_is_as_before_when_the_worker_is_killed_while_taking_back(scene: Scene) -> None:
    for step in range(0, MOST_STEPS, STRIDE):
        record = dict(scene.prepared().record())
        open_restorer(scene.spec).from_record(record).switch()
        ended = scene.order("revert", step, record=record)
        scene.settle(record, asked=False)
        scene.require(scene.damaged)
        if ended == 0:
            break
    assert step > 1


@pytest.fixture(params=sorted(set(RESTORERS) - {"sqlite"}))
def own_scene(request: pytest.FixtureRequest, tmp_path: Path) -> Scene:
    """On a server of the test's own, which it kills."""
    engine = str(request.param)
    return Scene(engine, subject_of(request, engine, own=True), tmp_path, some=False)


def killing(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, step: int, work: Callable[[], object]
) -> bool:
    """Do `work`, kill the server at a step of it and start it again; tell whether it got there."""
    server = scene.subject.server  # type: ignore[attr-defined]
    start, steps, killed = process._start, iter(range(10_000)), []

    def start_and_kill(*arguments: Any) -> Any:
        popen = start(*arguments)
        if next(steps) == step:
            # How far the client comes is chance, and all of it must do.
            with pytest.raises(subprocess.TimeoutExpired):
                subprocess.run(["sleep", "9"], timeout=DELAYS[step % len(DELAYS)], check=False)
            server.kill()
            killed.append(step)
        return popen

    with monkeypatch.context() as patch:
        patch.setattr(process, "_start", start_and_kill)
        try:
            work()
        except EngineError:
            assert killed
    if killed:
        server.restart()
        wait_until(lambda: server.alive)
    return bool(killed)


def test_all_is_as_before_when_the_server_is_killed_while_preparing(
    own_scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = own_scene
    for step in range(0, MOST_STEPS, STRIDE):
        killed = killing(scene, monkeypatch, step, scene.prepared)
        open_restorer(scene.spec).drop_leftovers([LABEL])
        scene.require(scene.damaged)
        if not killed:
            break
    assert step >= 2


@pytest.mark.parametrize("asked", [True, False], ids=["go on", "take back"])
def test_all_is_as_asked_when_the_server_is_killed_while_switching(
    own_scene: Scene, monkeypatch: pytest.MonkeyPatch, asked: bool
) -> None:
    scene = own_scene
    for step in range(0, MOST_STEPS, STRIDE):
        record = dict(scene.prepared().record())
        switch = open_restorer(scene.spec).from_record(record)
        killed = killing(scene, monkeypatch, step, switch.switch)
        scene.settle(record, asked=asked)
        scene.require(scene.restored if asked else scene.damaged)
        if not killed:
            break
        if asked:
            scene.back_to_damaged()
    assert step > 1
