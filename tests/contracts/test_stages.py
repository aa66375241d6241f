"""What every stage in the registry must keep to, whatever it does."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from backups.registry import PIPELINES, STAGES
from backups.states import JobKind
from tests.servers.age import make_key
from tests.workers.stages.pipeline import Pipeline, sqlite_pipeline
from workers.engine.errors import Fenced, InterruptedWork, StopRequested
from workers.engine.progress import SilentReporter
from workers.engine.stores import open_store

ORDER = PIPELINES[JobKind.BACKUP]
# Cleaning up is what a stop does anyway, so nothing interrupts it.
INTERRUPTIBLE = [stage for stage in ORDER if stage != "cleanup"]


class EndingReporter(SilentReporter):
    """Tells the stage to end at the first opportunity."""

    def __init__(self, ending: type[InterruptedWork]) -> None:
        super().__init__()
        self.ending = ending

    def check(self) -> None:
        raise self.ending


@pytest.fixture(params=["plain", "encrypted"])
def pipeline(request: pytest.FixtureRequest, tmp_path: Path) -> Pipeline:
    made = sqlite_pipeline(tmp_path)
    if request.param == "encrypted":
        made.recipients = (make_key(tmp_path / "key.txt").recipient,)
    return made


def run_before(pipeline: Pipeline, stage: str) -> None:
    for earlier in ORDER[: ORDER.index(stage)]:
        pipeline.run(earlier)


def test_every_stage_is_in_a_pipeline() -> None:
    assert set(STAGES) == {stage for stages in PIPELINES.values() for stage in stages}


@pytest.mark.parametrize("stage", ORDER)
def test_a_line_for_a_person_and_json_are_left_when_it_ends(stage: str, pipeline: Pipeline) -> None:
    run_before(pipeline, stage)
    result = pipeline.run(stage)
    assert result.detail
    assert "\n" not in result.detail


@pytest.mark.parametrize("stage", ORDER)
def test_the_same_is_reached_when_it_runs_a_second_time(stage: str, pipeline: Pipeline) -> None:
    run_before(pipeline, stage)
    pipeline.run(stage)
    for later in ORDER[ORDER.index(stage) :]:
        pipeline.run(later)
    store = open_store("local", {"path": str(pipeline.store_directory)})
    newest = pipeline.outputs["upload_remote"]
    stored = store.stat(newest["key"])
    assert stored is not None
    assert stored.size == pipeline.outputs["create_bundle"]["size"]


@pytest.mark.parametrize("ending", [StopRequested, Fenced])
@pytest.mark.parametrize("stage", INTERRUPTIBLE)
def test_it_ends_at_once_and_counts_for_nothing_when_told_to(
    stage: str, ending: type[InterruptedWork], pipeline: Pipeline
) -> None:
    run_before(pipeline, stage)
    with pytest.raises(ending):
        pipeline.run(stage, EndingReporter(ending))
    assert stage not in pipeline.outputs
    store = open_store("local", {"path": str(pipeline.store_directory)})
    assert list(store.list()) == []


@pytest.mark.parametrize("damage", ["options", "postmeta", "plugins", "version"])
def test_no_backup_fails_when_a_fact_about_the_site_cannot_be_read(
    damage: str, pipeline: Pipeline
) -> None:
    site = pipeline.site.path
    with sqlite3.connect(site / "wp-content" / "database" / ".ht.sqlite") as database:
        if damage == "options":
            database.execute("ALTER TABLE wp_options RENAME COLUMN option_value TO other")
        if damage == "postmeta":
            database.execute("CREATE TABLE wp_postmeta (meta_id TEXT, meta_value TEXT)")
    database.close()
    if damage == "plugins":
        (site / "wp-content" / "plugins").write_text("a file in the folder's place")
    if damage == "version":
        (site / "wp-includes" / "version.php").mkdir(parents=True)
    warnings = [warning for stage in ORDER for warning in pipeline.run(stage).warnings]
    assert bool(warnings) is (damage != "version")


@pytest.mark.parametrize("stage", ORDER)
def test_what_earlier_attempts_left_is_not_touched_when_it_runs(
    stage: str, pipeline: Pipeline
) -> None:
    """A later attempt reads what counts; nobody appends to or cuts what another one wrote."""
    run_before(pipeline, stage)
    if stage == "cleanup":
        return
    segments = "*/*/segment" if is_last_to_read_plain_parts(pipeline, stage) else "*/segment"
    before = {path: path.read_bytes() for path in pipeline.job_directory.glob(segments)}
    assert before or stage == "backup_db"
    pipeline.run(stage)
    assert {path: path.read_bytes() for path in before} == before


def is_last_to_read_plain_parts(pipeline: Pipeline, stage: str) -> bool:
    """The parts of an encrypted bundle are removed when they count no more: then it counts."""
    return bool(pipeline.recipients) and stage == "upload_remote"
