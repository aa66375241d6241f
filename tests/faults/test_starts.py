"""Many who start one site's backup at the same moment."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.faults.checks import assert_completed_once
from tests.faults.rig import Rig
from tests.faults.steps import at_once, drained

pytestmark = pytest.mark.slow

STARTS = 50


def test_one_job_begins_when_fifty_start_at_once(rig: Rig) -> None:
    [site] = rig.add_small_sites(1)
    url = f"/api/v1/sites/{site}/backup/start"
    # A job that ended before the last one came would rightly make room for another.
    with drained(rig):
        answers = at_once(lambda: rig.cluster.post(url), STARTS)
    assert Counter(answer.status for answer in answers) == {202: 1, 409: STARTS - 1}
    refused = [answer.body["code"] for answer in answers if answer.status == 409]
    assert set(refused) == {"backup_already_running"}
    [job_id] = [answer.body["job_id"] for answer in answers if answer.status == 202]
    assert rig.cluster.get(f"/api/v1/jobs?site_id={site}").body["total"] == 1
    assert_completed_once(rig, job_id)
