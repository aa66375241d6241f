"""The one guarded writer of a job's state, and of the log that every transition leaves."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any

from django.db.models import QuerySet
from django.db.models.expressions import Combinable
from django.db.models.functions import Now

from backups.actions.storable import storable
from backups.models import EventLevel, Job, JobEvent
from backups.states import TERMINAL, JobState, sources_of


def seconds_from_now(seconds: float) -> Combinable:
    """Return the database's own time, some seconds on: no worker's clock is ever trusted."""
    return Now() + timedelta(seconds=seconds)


def move(jobs: QuerySet[Job], to: JobState, **changes: Any) -> bool:  # noqa: ANN401
    """Move the one job in `jobs` to a state, in one conditional UPDATE; False if refused.

    `jobs` names the job and every condition (epoch, token, deadlines) that must still hold. The
    states it may come from are those of the table in `states`. A terminal state frees the site
    and ends the attempt's rights at once.
    """
    if to in TERMINAL:
        changes = {
            "active_site": None,
            "active_proof": None,
            "token": None,
            "lease_expires_at": None,
            "claim_deadline": None,
            "finished_at": Now(),
            **changes,
        }
    return jobs.filter(state__in=sources_of(to)).update(state=to, **changes) == 1


def record(
    job_id: uuid.UUID | str,
    *,
    epoch: int,
    kind: str,
    message: str,
    stage: str = "",
    level: EventLevel = EventLevel.INFO,
) -> None:
    """Append one line to a job's log."""
    JobEvent.objects.create(
        job_id=job_id,
        epoch=epoch,
        stage=stage,
        kind=kind,
        level=level,
        message=storable(message),
        created_at=Now(),
    )
