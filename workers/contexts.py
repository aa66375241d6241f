"""What an attempt is given: the rows of its job, put into the words of stages and engine."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import connection

from backups.actions import attempts
from backups.actions.attempts import Attempt
from backups.models import RECORDED_FIELDS, Backup, Job, Node, Site
from backups.registry import STAGES
from backups.states import StageState
from workers.engine.databases.base import DatabaseSpec
from workers.engine.errors import Fenced
from workers.engine.throttle import SharedThrottle
from workers.lease import LeaseKeeper
from workers.scratch import scratch_servers
from workers.stages import cleanup
from workers.stages.context import BundleSpec, SiteSpec, StageContext, StoreSpec

# All processes of a host find it there, and nothing else does: see `SharedThrottle`.
THROTTLE_FILE = ".upload-limit"


def job_directory_of(attempt: Attempt) -> Path:
    """Return the folder of the job's work, in the spool."""
    return Path(settings.HOLDFAST_SPOOL_DIRECTORY) / attempt.folder_name


def folder_name_of(attempt: Attempt) -> str:
    """Return the name of the attempt's own folder, which no other attempt ever has."""
    return f"{attempt.stage_name}-{attempt.epoch}-{attempt.token.hex}"


def make_context(
    attempt: Attempt, job: Job, previous_facts: dict[str, Any] | None, keeper: LeaseKeeper
) -> StageContext:
    """Collect what the stage may use, and make the attempt's own folder if it writes."""
    stages = {stage.name: stage for stage in job.stages.all()}
    done = {
        name: stage.outputs for name, stage in stages.items() if stage.state == StageState.COMPLETED
    }
    job_directory = job_directory_of(attempt)
    _remove_superseded(job_directory, attempt)
    directory = job_directory / folder_name_of(attempt)
    if STAGES[attempt.stage_name].has_folder:
        directory.mkdir(parents=True, mode=0o700)
    assert job.started_at is not None
    return StageContext(
        job_id=str(job.pk),
        epoch=attempt.epoch,
        token=attempt.token.hex,
        started_at=job.started_at.isoformat(),
        node=job.node.name,
        site=site_spec(job.site),
        store=store_spec(job),
        job_directory=job_directory,
        directory=directory,
        inputs=done,
        checkpoint=stages[attempt.stage_name].checkpoint,
        previous_facts=previous_facts,
        reporter=keeper,
        save_checkpoint=partial(_save_checkpoint, attempt, keeper),
        reserve_object_key=partial(_reserve_key, attempt, keeper),
        expected_bytes=job.expected_bytes,
        reserve_bytes=settings.HOLDFAST_SPOOL_RESERVE_MB << 20,
        throttle=_throttle(job.node),
        parameters=job.parameters,
        bundle=_bundle_spec(job.source),
        identity_file=settings.HOLDFAST_AGE_IDENTITY_FILE,
        scratch_servers=scratch_servers(),
        is_elsewhere=job.node_id != job.site.node_id,
    )


def _throttle(node: Node) -> SharedThrottle | None:
    if node.upload_bytes_per_second is None:
        return None
    spool = Path(settings.HOLDFAST_SPOOL_DIRECTORY)
    return SharedThrottle(spool / THROTTLE_FILE, node.upload_bytes_per_second)


def _remove_superseded(job_directory: Path, attempt: Attempt) -> None:
    """Free what earlier epochs' attempts at this stage wrote: nobody will ever read it.

    Earlier ones only: a process that slept since then must not remove what a later one writes.
    """
    for folder in job_directory.glob(f"{attempt.stage_name}-*-*"):
        if int(folder.name.split("-")[1]) < attempt.epoch:
            cleanup.remove_tree(folder)


def _save_checkpoint(attempt: Attempt, keeper: LeaseKeeper, checkpoint: Mapping[str, Any]) -> None:
    saved = keeper.until_answered(lambda: attempts.save_checkpoint(attempt, checkpoint))
    connection.close()
    if not saved:
        raise Fenced


def _reserve_key(attempt: Attempt, keeper: LeaseKeeper) -> str:
    key = keeper.until_answered(lambda: attempts.reserve_object_key(attempt))
    connection.close()
    if key is None:
        raise Fenced
    return key


def store_spec(job: Job) -> StoreSpec:
    """Return the job's storage as stages know it."""
    storage = job.storage
    return StoreSpec(
        storage.type,
        storage.full_config(),
        storage.capabilities,
        tuple(storage.encryption_recipients),
    )


def _bundle_spec(backup: Backup | None) -> BundleSpec | None:
    if backup is None:
        return None
    return BundleSpec(
        key=backup.object_key,
        size=backup.size_bytes,
        sha256=backup.sha256,
        site=str(backup.site.uuid),
        site_url=backup.site.url,
        is_encrypted=bool(backup.encrypted_to),
        encrypted_to=tuple(backup.encrypted_to),
        manifest_sha256=backup.manifest_sha256,
    )


def site_spec(site: Site) -> SiteSpec:
    """Return the site as stages know it."""
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
        url=site.url,
        excludes=None if site.excludes is None else tuple(site.excludes),
        settings={name: getattr(site, name) for name in RECORDED_FIELDS}
        | {"url": _without_credentials(site.url)},
    )


def _without_credentials(url: str) -> str:
    """Return the address without what may stand in it before an @: manifests hold no secrets."""
    scheme, separator, rest = url.partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}{separator}{host.rpartition('@')[2]}{slash}{path}"
