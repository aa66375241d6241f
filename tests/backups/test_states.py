"""The table of transitions, and what a client is shown of it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backups.actions.transitions import move
from backups.models import Job, Site
from backups.states import (
    ACTIVE,
    ALLOWED,
    OUTSIDE,
    TERMINAL,
    JobState,
    percent,
    sources_of,
)
from tests.backups.conftest import ended_job


def test_every_state_is_in_every_table() -> None:
    assert set(ALLOWED) == set(OUTSIDE) == set(JobState) == ACTIVE | TERMINAL
    assert not ACTIVE & TERMINAL
    assert set(OUTSIDE.values()) == {"idle", "running", "completed", "failed", "stopped"}


def test_nothing_leaves_a_terminal_state() -> None:
    assert all(not ALLOWED[state] for state in TERMINAL)


def test_every_active_state_can_end() -> None:
    for state in ACTIVE:
        assert {JobState.FAILED, JobState.STOPPED, JobState.RESET} <= ALLOWED[state]


@pytest.mark.django_db
@pytest.mark.parametrize("target", list(JobState))
@pytest.mark.parametrize("source", list(JobState))
def test_move_obeys_the_table(source: JobState, target: JobState, site: Site) -> None:
    job = ended_job(site)
    Job.objects.update(state=source, active_site=site if source in ACTIVE else None)
    moved = move(Job.objects.filter(pk=job.pk), target)
    job.refresh_from_db()
    assert moved is (target in ALLOWED[source]) is (source in sources_of(target))
    assert job.state == (target if moved else source)
    if moved and target in TERMINAL:
        assert (job.active_site, job.token, job.lease_expires_at) == (None, None, None)


@given(st.integers(0, 4), st.integers(0, 2**60), st.integers(0, 2**60))
def test_percent_stays_within_its_stage(done: int, processed: int, total: int) -> None:
    assert done * 20 <= percent(done, 5, processed, total) < (done + 1) * 20


@given(st.integers(0, 2**50), st.integers(0, 2**50), st.integers(1, 2**50))
def test_percent_never_falls_as_bytes_come(first: int, more: int, total: int) -> None:
    assert percent(1, 5, first, total) <= percent(1, 5, first + more, total)
