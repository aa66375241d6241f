"""What is said of a restore that was settled after its job had ended."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from backups.models import JobEvent
from tests.workers.factories import dispatched_job, make_site
from workers.remains import remove_work

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.parametrize(("phase", "events"), [("switched", 1), ("switching", 1), ("preparing", 0)])
def test_the_log_says_that_the_site_is_as_was_asked(
    phase: str, events: int, tmp_path: Path
) -> None:
    job = dispatched_job(make_site(tmp_path))
    folder = tmp_path / "spool" / str(job.pk)
    folder.mkdir(parents=True)
    (folder / "journal").write_text(json.dumps({"phase": phase, "switches": []}))
    assert remove_work(job.pk, folder)
    assert JobEvent.objects.filter(job=job, kind="switched").count() == events
    assert not folder.exists()
