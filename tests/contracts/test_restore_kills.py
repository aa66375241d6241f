"""kill -9 of a worker at each step of a restore: all as before, or as asked."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.contracts.restore_scene import LABEL, MOST_STEPS, STRIDE, Scene
from tests.contracts.restore_subjects import subject_of
from workers.engine.databases import RESTORERS, open_restorer

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


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
