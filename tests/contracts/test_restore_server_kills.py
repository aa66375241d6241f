"""kill -9 of the database server at each step of a restore: all as before, or as asked."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.contracts.restore_scene import DELAYS, LABEL, MOST_STEPS, STRIDE, Scene
from tests.contracts.restore_subjects import subject_of
from tests.servers import wait_until
from workers.engine import process
from workers.engine.databases import RESTORERS, open_restorer
from workers.engine.errors import EngineError

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


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
                subprocess.run(
                    ["sleep", "9"], timeout=DELAYS[step // STRIDE % len(DELAYS)], check=False
                )
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
