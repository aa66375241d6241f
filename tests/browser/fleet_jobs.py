"""The jobs of a believable fleet, with their stages, their logs and what they left: as rows."""

from __future__ import annotations

import hashlib
import random
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from tests.browser.fleet_plan import (
    MEBIBYTE,
    RUNNING,
    RUNS_EVERY,
    Mishap,
    SitePlan,
    endings,
    mishap_of,
    said,
    seconds_for,
    size_on,
)

STAGES = ("backup_db", "backup_files", "create_bundle", "upload_remote", "cleanup")
# What part of a job's time each stage takes.
SHARES = (0.08, 0.4, 0.12, 0.38, 0.02)
DETAILS = (
    "Database dumped (14 tables, {database:.1f} MB)",
    "Files backed up ({files:.1f} MB)",
    "Bundle sealed and read back ({bundle:.1f} MB)",
    "Stored and checked ({bundle:.1f} MB, by sha256)",
    "Spool cleaned ({bundle:.1f} MB freed)",
)
WORKING = (
    "Dumping 14 tables",
    "Reading {count} files",
    "Sealing and reading back",
    "Storing {bundle:.1f} MB",
    "",
)
WITH_DETAILS = timedelta(days=7)


@dataclass
class Rows:
    """What is to be inserted, in this order."""

    jobs: list[Any] = field(default_factory=list)
    backups: list[Any] = field(default_factory=list)
    stages: list[Any] = field(default_factory=list)
    events: list[Any] = field(default_factory=list)


@dataclass(frozen=True)
class Site:
    """A site's plan with its row and the rows that it refers to."""

    plan: SitePlan
    row: Any
    node: Any
    storage: Any
    chance: random.Random

    @property
    def worker(self) -> str:
        """Who works on the site's node."""
        return f"{self.node.name}.1@{self.node.name}"


def add_history(rows: Rows, site: Site, now: datetime, days_back: int) -> None:
    """Add the jobs that the site has had in that many days, and the one that it has."""
    plan, chance = site.plan, site.chance
    if plan.fate == "never":
        return
    if plan.fate in ("running", "waiting"):
        _add_active(rows, site, now)
    step = RUNS_EVERY[plan.frequency]
    runs = max(1, days_back // step)
    for turn, ending in enumerate(endings(plan, runs, chance)):
        days = turn * step
        wobble = timedelta(seconds=chance.randrange(40))
        queued = now - plan.last_run - timedelta(days=days) + wobble
        size = size_on(plan, days, chance)
        if turn == 0 and plan.fate == "suspect":
            size = int(size * 0.21)
        mishap = mishap_of(plan, turn + plan.number) if ending == "failed" else None
        _add_ended(rows, site, queued, size, ending, mishap, is_told=now - queued < WITH_DETAILS)
    if plan.fate == "suspect":
        rows.backups[-runs].is_suspect = True


def _add_ended(
    rows: Rows,
    site: Site,
    queued: datetime,
    size: int,
    ending: str,
    mishap: Mishap | None,
    *,
    is_told: bool,
) -> None:
    from backups.models import Backup, Job

    took = timedelta(seconds=seconds_for(size, site.chance) * (0.4 if mishap else 1))
    started = queued + timedelta(seconds=site.chance.uniform(0.2, 9))
    done = len(STAGES) if ending == "completed" else mishap.stage if mishap else 1
    job = Job(
        id=uuid.UUID(int=site.chance.getrandbits(128), version=4),
        site=site.row,
        node=site.node,
        storage=site.storage,
        state=ending,
        worker=site.worker,
        stages_done=done,
        progress=100 if ending == "completed" else done * 20,
        attempts=3 if mishap else 0,
        error_code=mishap.code if mishap else "",
        error_message=said(mishap.message, site.plan) if mishap else "",
        error_hint=mishap.hint if mishap else "",
        trigger="schedule" if site.plan.frequency != "manual" else "admin",
        queued_at=queued,
        started_at=started,
        finished_at=started + took,
    )
    rows.jobs.append(job)
    if is_told:
        _add_stages(rows, job, size, job.finished_at)
        _add_log(rows, job, site, mishap)
    if ending == "stopped":
        return
    stamp = f"{started:%Y%m%d_%H%M%S}"
    key = f"{site.node.uuid}/{site.row.uuid}/{site.plan.name}_{stamp}.tar.zst"
    is_good = ending == "completed"
    rows.backups.append(
        Backup(
            site=site.row,
            job=job,
            storage=site.storage,
            status="SUCCESS" if is_good else "FAILED",
            object_key=key if is_good else "",
            size_bytes=size if is_good else 0,
            sha256=hashlib.sha256(f"{site.plan.name} {size}".encode()).hexdigest()
            if is_good
            else "",
            verified_by="sha256" if is_good else "",
            facts={"tables": 14, "rows": size // 9000, "files": site.plan.files} if is_good else {},
            created_at=job.finished_at,
        )
    )


def _sizes(size: int) -> dict[str, float]:
    bundle = size / MEBIBYTE
    return {"database": bundle * 0.12, "files": bundle * 1.4, "bundle": bundle}


def _add_stages(rows: Rows, job: Any, size: int, ended: datetime) -> None:
    """Add the stages of a job as they were at the end: those that are done, and the next one."""
    from backups.models import Stage

    sizes, done = _sizes(size), job.stages_done
    whole, at = ended - job.started_at, job.started_at
    for position, name in enumerate(STAGES):
        took = whole * SHARES[position] if done == len(STAGES) else whole / (done + 1)
        is_done, is_begun = position < done, position <= done
        state = "completed" if is_done else job.state if is_begun else "pending"
        amount = size if is_done else size // 3 if is_begun else 0
        stage = Stage(
            job=job,
            name=name,
            position=position,
            state=state,
            started_at=at if is_begun else None,
            finished_at=at + took if is_begun else None,
            bytes_processed=amount,
            bytes_total=size if is_begun else 0,
            detail=DETAILS[position].format(**sizes) if is_done else "",
        )
        rows.stages.append(stage)
        at += took


def _add_log(rows: Rows, job: Any, site: Site, mishap: Mishap | None) -> None:
    begun = [stage for stage in rows.stages[-len(STAGES) :] if stage.started_at]
    lines: list[tuple[datetime, str, str, str, str]] = [
        (job.queued_at, "queued", "", "info", f"Backup of {site.plan.name} is queued"),
        (job.started_at, "dispatched", "", "info", f"Sent to {site.node}"),
    ]
    for stage in begun:
        lines.append((stage.started_at, "claimed", stage.name, "info", f"Taken by {job.worker}"))
        if stage.state == "completed":
            lines.append((stage.finished_at, "stage_done", stage.name, "info", stage.detail))
    if mishap:
        words, failing = said(mishap.message, site.plan), begun[-1].name
        for wait in (10, 60):
            text = f"{failing} failed and is tried again in {wait} s: {words}"
            lines.append((begun[-1].started_at, "retried", failing, "warning", text))
        lines.append((job.finished_at, "failed", failing, "error", words))
    elif job.state == "stopped":
        lines.append((job.finished_at, "stopped", begun[-1].name, "info", "Stopped on request"))
    elif job.state == "completed":
        lines.append((job.finished_at, "completed", "", "info", "Completed"))
    rows.events.extend(_events(job, lines))


def _events(job: Any, lines: Iterable[tuple[datetime, str, str, str, str]]) -> Iterator[Any]:
    from backups.models import JobEvent

    for at, kind, stage, level, words in lines:
        yield JobEvent(
            job=job, epoch=1, kind=kind, stage=stage, level=level, message=words, created_at=at
        )


def _add_active(rows: Rows, site: Site, now: datetime) -> None:
    """Add a job that runs, or waits; `fleet.keep_alive` moves what runs."""
    from backups.models import Job

    how = RUNNING[site.plan.number] if site.plan.fate == "running" else None
    started = now - timedelta(minutes=how.minutes) if how else None
    size = site.plan.bytes_now
    job = Job(
        id=uuid.UUID(int=site.chance.getrandbits(128), version=4),
        site=site.row,
        active_site=site.row,
        node=site.node,
        storage=site.storage,
        state="running" if how else "queued",
        token=uuid.UUID(int=site.plan.number, version=4) if how else None,
        worker=site.worker if how else "",
        lease_expires_at=now + timedelta(days=1) if how else None,
        stages_done=how.stages_done if how else 0,
        progress=int((how.stages_done + how.share) * 20) if how else 0,
        trigger="admin",
        queued_at=(started or now) - timedelta(seconds=40),
        started_at=started,
    )
    rows.jobs.append(job)
    if how:
        _add_stages(rows, job, size, now)
        _add_log(rows, job, site, None)
        current = rows.stages[how.stages_done - len(STAGES)]
        current.finished_at = None
        current.bytes_processed = int(size * how.share)
        words = {"count": site.plan.files, **_sizes(size)}
        current.detail = WORKING[current.position].format(**words)
