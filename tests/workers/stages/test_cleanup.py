"""The end of a job tells the truth about a restore whose old parts cannot be removed yet."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from tests.workers.stages.pipeline import sqlite_pipeline
from workers.engine.databases.base import DatabaseSpec
from workers.engine.errors import EngineError

# Nobody listens there.
AWAY = DatabaseSpec(engine="mysql", name="shop", host="127.0.0.1", port=9, user="shop")


@pytest.mark.parametrize(
    ("phase", "code", "words"),
    [
        ("switched", "replaced_not_removed", "The site is restored, but"),
        ("switching", "server_unreachable", ""),
    ],
)
def test_the_job_says_in_which_state_the_site_is(
    phase: str, code: str, words: str, tmp_path: Path
) -> None:
    pipeline = sqlite_pipeline(tmp_path)
    pipeline.job_directory.mkdir(parents=True)
    names = {"live": "shop", "new": "shop_hf_a", "old": "shop_hf_a_old", "ledger": "hf_a_ledger"}
    journal = {"phase": phase, "switches": [{"engine": "mysql", **names}]}
    (pipeline.job_directory / "journal").write_text(json.dumps(journal))
    (pipeline.job_directory / "database").write_text(json.dumps(asdict(AWAY)))
    with pytest.raises(EngineError) as caught:
        pipeline.run("cleanup")
    assert caught.value.code == code
    assert caught.value.message.startswith(words)
    assert not caught.value.permanent
