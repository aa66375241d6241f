"""The envelope round every stage: claim, run, record. The only place that catches."""

from __future__ import annotations

import errno
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import connection

from backups.actions import attempts
from backups.actions.attempts import Attempt
from backups.models import Job, Site
from backups.registry import STAGES
from backups.states import JobState, StageState
from workers.engine.databases.base import DatabaseSpec
from workers.engine.errors import EngineError, Fenced, StopRequested
from workers.lease import LeaseKeeper
from workers.stages import cleanup
from workers.stages.context import SiteSpec, StageContext, StageResult, StoreSpec, WorkMissing

logger = logging.getLogger(__name__)

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)


def run_stage(stage_name: str, *, job_id: str, epoch: int, worker: str) -> bool:
    """Run one stage of a job if it is due; True if it is done, so that the chain may go on.

    False when the claim was refused, and when the attempt failed, was stopped or was fenced: the
    rows say what comes next, not the chain.
    """
    attempt = attempts.claim_stage(job_id=job_id, epoch=epoch, stage_name=stage_name, worker=worker)
    if attempt is None:
        logger.info("job %s epoch %s: %s is not due, refused", job_id, epoch, stage_name)
        return False
    with LeaseKeeper(attempt) as keeper:
        try:
            return _run_claimed(attempt, keeper)
        except Fenced:
            logger.warning("job %s epoch %s: %s is fenced", job_id, epoch, stage_name)
            return False


def _run_claimed(attempt: Attempt, keeper: LeaseKeeper) -> bool:
    job = Job.objects.select_related("site", "node", "storage").get(pk=attempt.job_id)
    job_directory = Path(settings.HOLDFAST_SPOOL_DIRECTORY) / str(job.pk)
    try:
        context = _context(attempt, job, job_directory, keeper)
        # Reopened when needed: a connection that idles through a long stage may be dead by then.
        connection.close()
        result = STAGES[attempt.stage_name].load()(context)
        keeper.check()
    except StopRequested:
        _abandon(job, job_directory)
        keeper.until_written(lambda: attempts.end_stopped(attempt))
        return False
    except EngineError as error:
        return _failed(attempt, keeper, job, job_directory, error)
    except Exception as error:
        return _failed(attempt, keeper, job, job_directory, _as_engine_error(error, job))
    return _finished(attempt, keeper, job, job_directory, result)


def _finished(
    attempt: Attempt, keeper: LeaseKeeper, job: Job, job_directory: Path, result: StageResult
) -> bool:
    finished = keeper.until_written(
        lambda: attempts.finish_stage(
            attempt,
            outputs=result.outputs,
            detail=result.detail,
            warnings=[*keeper.warnings, *result.warnings],
            progress=keeper.progress,
        )
    )
    if not finished and attempt.jobs().filter(state=JobState.STOPPING).exists():
        _abandon(job, job_directory)
        keeper.until_written(lambda: attempts.end_stopped(attempt))
    return finished


def _failed(
    attempt: Attempt, keeper: LeaseKeeper, job: Job, job_directory: Path, error: EngineError
) -> bool:
    logger.error("job %s: %s failed: %s", job.pk, attempt.stage_name, error.message)
    state = keeper.until_written(
        lambda: attempts.fail_stage(
            attempt,
            code=error.code,
            message=error.message,
            hint=error.hint,
            permanent=error.permanent,
            from_start=isinstance(error, WorkMissing),
        )
    )
    if state == JobState.FAILED:
        _abandon(job, job_directory)
    return False


def _as_engine_error(error: Exception, job: Job) -> EngineError:
    """Say what a person can act on; what is a bug goes into the log with its traceback."""
    if isinstance(error, OSError) and error.errno in _NO_ROOM:
        return EngineError(
            f"The disk of the spool ({settings.HOLDFAST_SPOOL_DIRECTORY}) is full",
            hint="Free some room on the node, or point HOLDFAST_SPOOL_DIRECTORY to a larger disk.",
            permanent=True,
            code="disk_full",
        )
    logger.error("job %s: internal error", job.pk, exc_info=error)
    return EngineError(
        f"Internal error, reference {job.pk}",
        hint="The worker's log on the node holds the details.",
        code="internal_error",
    )


def _abandon(job: Job, job_directory: Path) -> None:
    checkpoint: Mapping[str, Any] = {}
    if upload := job.stages.filter(name="upload_remote").first():
        checkpoint = upload.checkpoint
    cleanup.abandon(job_directory, _store_spec(job), checkpoint)


def _context(attempt: Attempt, job: Job, job_directory: Path, keeper: LeaseKeeper) -> StageContext:
    """Collect what the stage may use, and make the attempt's own folder."""
    stages = {stage.name: stage for stage in job.stages.all()}
    done = {
        name: stage.outputs for name, stage in stages.items() if stage.state == StageState.COMPLETED
    }
    _remove_superseded(job_directory, attempt)
    name = f"{attempt.stage_name}-{attempt.epoch}-{attempt.token.hex}"
    directory = job_directory / name
    directory.mkdir(parents=True, mode=0o700)
    assert job.started_at is not None
    return StageContext(
        job_id=str(job.pk),
        epoch=attempt.epoch,
        token=attempt.token.hex,
        started_at=job.started_at.isoformat(),
        node=job.node.name,
        site=_site_spec(job.site),
        store=_store_spec(job),
        job_directory=job_directory,
        directory=directory,
        inputs=done,
        checkpoint=stages[attempt.stage_name].checkpoint,
        previous_facts=attempts.previous_facts(attempt),
        reporter=keeper,
        save_checkpoint=lambda checkpoint: _save_checkpoint(attempt, checkpoint),
        reserve_object_key=lambda: _reserve_key(attempt),
    )


def _remove_superseded(job_directory: Path, attempt: Attempt) -> None:
    """Free what earlier epochs' attempts at this stage wrote: nobody will ever read it.

    Earlier ones only: a process that slept since then must not remove what a later one writes.
    """
    for folder in job_directory.glob(f"{attempt.stage_name}-*-*"):
        if int(folder.name.split("-")[1]) < attempt.epoch:
            cleanup.remove_tree(folder)


def _save_checkpoint(attempt: Attempt, checkpoint: Mapping[str, Any]) -> None:
    if not attempts.save_checkpoint(attempt, checkpoint):
        raise Fenced
    connection.close()


def _reserve_key(attempt: Attempt) -> str:
    key = attempts.reserve_object_key(attempt)
    if key is None:
        raise Fenced
    connection.close()
    return key


def _store_spec(job: Job) -> StoreSpec:
    storage = job.storage
    return StoreSpec(storage.type, storage.full_config(), storage.capabilities)


def _site_spec(site: Site) -> SiteSpec:
    database = None
    if site.db_engine not in ("", "none"):
        is_socket = site.db_host.startswith("/")
        database = DatabaseSpec(
            engine=site.db_engine,
            name=site.db_name,
            host="" if is_socket else site.db_host,
            port=site.db_port,
            socket=site.db_host if is_socket else "",
            user=site.db_user,
            password=site.db_password or "",
        )
    return SiteSpec(
        uuid=str(site.uuid),
        name=site.name,
        path=Path(site.wp_path),
        allowed_roots=tuple(site.node.allowed_roots),
        wp_config_path=Path(site.wp_config_path) if site.wp_config_path else None,
        database=database,
        has_database=site.db_engine != "none",
        excludes=None if site.excludes is None else tuple(site.excludes),
    )
