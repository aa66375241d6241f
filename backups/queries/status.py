"""The status object of the wire contract: what every face shows of a site's newest job."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, NamedTuple

from backups.models import Job, Site, Stage
from backups.states import ACTIVE, OUTSIDE, JobKind, JobState, StageState

_NOUNS = {JobKind.BACKUP: "Backup", JobKind.RESTORE: "Restore", JobKind.VERIFY: "Proof"}
_SENTENCES = {
    JobState.QUEUED: "Waiting for a free slot on {node}",
    JobState.COMPLETED: "{noun} completed",
    JobState.FAILED: "{noun} failed",
    JobState.STOPPED: "{noun} stopped",
    JobState.RESET: "No {lower} is running",
}
IDLE_SENTENCE = "No backup is running"


class StageRow(NamedTuple):
    """What a status object tells of a stage: a row of its columns, or a `Stage` itself."""

    name: str
    position: int
    state: str
    started_at: datetime | None
    finished_at: datetime | None
    bytes_processed: int
    bytes_total: int
    detail: str


def backup_status(
    site: Site, job: Job | None, rows: Iterable[StageRow] | None = None
) -> dict[str, Any]:
    """Return the status object of a site's newest job; after a reset the site reads idle.

    `job` should come with its node and stages loaded, as from `newest_job`, or with `rows`.
    """
    return _idle(site) if job is None or job.reset_at is not None else job_status(site, job, rows)


def job_status(site: Site, job: Job, rows: Iterable[StageRow] | None = None) -> dict[str, Any]:
    """Return the status object of a job itself; timestamps are aware datetimes, sizes bytes.

    Where there are many jobs, `rows` are those of its stages: models take four times as long.
    """
    of_job: Iterable[Stage | StageRow] = job.stages.all() if rows is None else rows
    stages = sorted(of_job, key=lambda stage: stage.position)
    current = _current(job, stages)
    return {
        "kind": job.kind,
        "site_id": site.pk,
        "site_name": site.name,
        "status": OUTSIDE[JobState(job.state)],
        "progress": job.progress,
        "message": _message(job, current, len(stages)),
        "stage": current.name if current else None,
        "stage_detail": (current.detail or None) if current else None,
        "bytes_processed": current.bytes_processed if current else 0,
        "bytes_total": current.bytes_total if current else 0,
        "error": _error(job),
        "started_at": job.started_at,
        "job_id": str(job.pk),
        "finished_at": job.finished_at,
        "eta_seconds": _eta_seconds(job),
        "node": job.node.name,
        "worker": job.worker or None,
        "stopping": job.state in ACTIVE and job.stop_requested_at is not None,
        "stages": [_stage(stage) for stage in stages],
    }


def _idle(site: Site) -> dict[str, Any]:
    empty = dict.fromkeys(
        ("stage", "stage_detail", "error", "started_at", "job_id", "finished_at", "eta_seconds")
    )
    return {
        "kind": JobKind.BACKUP.value,
        "site_id": site.pk,
        "site_name": site.name,
        "status": "idle",
        "progress": 0,
        "message": IDLE_SENTENCE,
        "bytes_processed": 0,
        "bytes_total": 0,
        **empty,
        "node": site.node.name,
        "worker": None,
        "stopping": False,
        "stages": [],
    }


def _current(job: Job, stages: list[Stage | StageRow]) -> Stage | StageRow | None:
    """Return the stage that runs or comes next; of an ended job the last that was begun."""
    if job.state == JobState.QUEUED and job.started_at is None:
        return None
    return stages[min(job.stages_done, len(stages) - 1)] if stages else None


def _message(job: Job, current: Stage | StageRow | None, stages_total: int) -> str:
    if job.state in ACTIVE and current is not None:
        return f"Stage {current.position + 1}/{stages_total}: {current.name}"
    warnings = len(job.warnings)
    # Whoever reads that a restore is completed takes the site for restored.
    noun = "Dry run" if job.parameters.get("dry_run") else _NOUNS[JobKind(job.kind)]
    template = _SENTENCES.get(JobState(job.state), IDLE_SENTENCE)
    sentence = template.format(node=job.node.name, noun=noun, lower=noun.lower())
    if job.state == JobState.COMPLETED and warnings:
        return f"{sentence} with {warnings} warning{'s' if warnings > 1 else ''}"
    return sentence


def _error(job: Job) -> str | None:
    if not job.error_message:
        return None
    message = job.error_message
    message = message if message[-1] in ".!?" else f"{message}."
    return f"{message} {job.error_hint}".strip()


def _eta_seconds(job: Job) -> int | None:
    """Return the time left if the rest goes as the part so far did; None while unknown."""
    if job.state not in ACTIVE or job.started_at is None or job.progress < 1:
        return None
    elapsed = (datetime.now(UTC) - job.started_at).total_seconds()
    return max(0, round(elapsed * (100 - job.progress) / job.progress))


def _stage(stage: Stage | StageRow) -> dict[str, Any]:
    return {
        "name": stage.name,
        "status": StageState(stage.state).value,
        "started_at": stage.started_at,
        "finished_at": stage.finished_at,
        "bytes_processed": stage.bytes_processed,
        "bytes_total": stage.bytes_total,
        "detail": stage.detail or None,
    }
