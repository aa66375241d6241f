"""How a restore begins: what was asked for, checked as far as the rows know it, and recorded."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Any

from django.db import transaction

from backups.actions import pins
from backups.actions.deadlocks import again_after_deadlock
from backups.actions.jobs import begin_backup, begin_job, read_anew, storage_of
from backups.actions.keys import require_keys
from backups.actions.sites import require_below
from backups.actions.transitions import record
from backups.errors import InvalidFieldError, RestoreRefusedError
from backups.models import Backup, BackupStatus, EventLevel, Job, Site, Stage
from backups.queries import has_key_of, node_of_backup
from backups.registry import FILE_ENGINES, NODE_BOUND_STORES
from backups.roles import Person
from backups.states import JobKind, JobState

ALL, FILES, DATABASE = "all", "files", "database"
WHAT = (ALL, FILES, DATABASE)
IN_PLACE, COPY = "in_place", "copy"
TARGETS = (IN_PLACE, COPY)
CHECKPOINT_TRIGGER, UNDO_TRIGGER = "checkpoint", "undo"
CHECKPOINT_NOTE = "Checkpoint before a restore"
# Before other queued jobs: somebody waits whose site is broken.
RESTORE_PRIORITY = 100
# What of a site a path in a bundle may begin with.
_ROOTS = ("wp-content", "wp-config.php")


@dataclass(frozen=True, slots=True)
class RestoreRequest:
    """What is to be restored, and where to.

    `paths` are those in the bundle, each with all below it; none is all of them, and so for
    `tables`. A copy goes to `target_path` and `target_database`, which hold nothing yet; empty is
    beside the site. A `dry_run` only says what would change. Without a `checkpoint`, what is there
    now is lost, and there is no way back. `rewrite_url` changes the address that the backup's
    site had into that of the site, everywhere in the database. With `removes_missing`, paths that
    the backup does not hold are taken away: as an undo has to, of what was not there before.
    """

    what: str = ALL
    paths: tuple[str, ...] = ()
    tables: tuple[str, ...] = ()
    target: str = IN_PLACE
    target_path: str = ""
    target_database: str = ""
    dry_run: bool = False
    checkpoint: bool = True
    rewrite_url: bool = False
    removes_missing: bool = False


def what_of(*, paths: Collection[str], tables: Collection[str]) -> str:
    """Return what is restored where nobody says: what was chosen, and nothing beside it.

    Who asks for one plugin's folder must not lose all orders since that backup.
    """
    if bool(paths) == bool(tables):
        return ALL
    return FILES if paths else DATABASE


def start_restore(
    *,
    site: Site,
    backup: Backup,
    request: RestoreRequest,
    requested_by: Person | None,
    trigger: str = "manual",
) -> Job:
    """Record the restore of a backup to a site, and the checkpoint that comes before it.

    Raises `InvalidFieldError`, `RestoreRefusedError`, and what `begin_backup` does.
    """
    site = read_anew(site)
    _check(site, backup, request)
    return _begin(site, backup, request, requested_by, trigger)


def undo_restore(*, job: Job, requested_by: Person | None) -> Job:
    """Begin a restore of what the site was before this one; raises `RestoreRefusedError`."""
    _require_ended(job)
    checkpoint = checkpoint_of(job)
    if job.kind != JobKind.RESTORE or checkpoint is None:
        raise RestoreRefusedError("There is no checkpoint from before this job to go back to.")
    asked = job.parameters
    request = RestoreRequest(
        what=asked["what"],
        paths=tuple(asked["paths"]),
        tables=_tables_before(job, asked["tables"]),
        removes_missing=True,
    )
    return start_restore(
        site=job.site,
        backup=checkpoint,
        request=request,
        requested_by=requested_by,
        trigger=UNDO_TRIGGER,
    )


def _tables_before(job: Job, asked: Sequence[str]) -> tuple[str, ...]:
    """Return the chosen tables of a restore, which have to be in its checkpoint.

    Raises `RestoreRefusedError` for one that was not there: to drop it is for a person to decide,
    who sees what is in it by now.
    """
    dumped = Stage.objects.filter(job=job.waits_for_id, name="backup_db").first()
    facts = dumped.outputs.get("facts", {}) if dumped is not None else {}
    if missing := [name for name in asked if name not in facts.get("tables", asked)]:
        raise RestoreRefusedError(
            f"Before this restore there was no table {', '.join(missing[:5])}, so there is nothing "
            "to put back. Drop it by hand, or restore the checkpoint's other tables by their names."
        )
    return tuple(asked)


def confirm_restore(*, job: Job, by: Person | None) -> Backup:
    """Say that a restore went well: its checkpoint stays only as long as retention keeps it.

    Raises `RestoreRefusedError` where there is none.
    """
    _require_ended(job)
    checkpoint = checkpoint_of(job)
    if job.kind != JobKind.RESTORE or checkpoint is None:
        raise RestoreRefusedError("There is no checkpoint from before this job to give up.")
    is_automatic = checkpoint.pinned_by_id is None and checkpoint.pin_note == CHECKPOINT_NOTE
    # Whoever may restore a site may end that; what a person pinned is that person's.
    pins.unpin_backup(backup=checkpoint, by=None if is_automatic else by)
    return checkpoint


def _require_ended(job: Job) -> None:
    if job.is_active:
        raise RestoreRefusedError("This job has not ended yet: wait for its end, or stop it first.")


def checkpoint_of(job: Job) -> Backup | None:
    """Return the backup that was made before the restore, if it is still there."""
    if job.waits_for_id is None:
        return None
    good = Backup.objects.filter(job=job.waits_for_id, status=BackupStatus.SUCCESS)
    return good.select_related("storage", "job__node", "site__node").first()


def begin_again(*, job: Job, requested_by: Person | None) -> Job:
    """Begin a restore anew that failed or was stopped, with the checkpoint that it had."""
    if job.source is None:
        raise RestoreRefusedError("The backup that was to be restored is no longer there.")
    request = RestoreRequest(**{**job.parameters, "paths": tuple(job.parameters["paths"]),
                                "tables": tuple(job.parameters["tables"])})  # fmt: skip
    return start_restore(
        site=job.site,
        backup=job.source,
        request=request,
        requested_by=requested_by,
        trigger="retry",
    )


@again_after_deadlock
def _begin(
    site: Site, backup: Backup, request: RestoreRequest, requested_by: Person | None, trigger: str
) -> Job:
    changes_site = request.target == IN_PLACE and not request.dry_run
    what = "Dry run of a restore" if request.dry_run else "Restore"
    warnings = _warnings(site, request)
    with transaction.atomic():
        job = begin_job(
            kind=JobKind.RESTORE,
            site=site,
            storage=backup.storage,
            requested_by=requested_by,
            trigger=trigger,
            message=f"{what} of {backup.filename} to {site.name} is queued",
            holds_site=changes_site,
            source=backup,
            parameters=_parameters(site, request),
            priority=RESTORE_PRIORITY,
            warnings=warnings,
        )
        for words in warnings:
            # Also where it stays: a job that begins again forgets its warnings.
            record(job.pk, epoch=job.epoch, kind="warned", message=words, level=EventLevel.WARNING)
        if changes_site and request.checkpoint:
            checkpoint = begin_backup(
                site=site,
                requested_by=requested_by,
                trigger=CHECKPOINT_TRIGGER,
                message=f"Checkpoint of {site.name} before job {job.pk} is queued",
                holds_site=False,
                priority=RESTORE_PRIORITY,
            )
            Job.objects.filter(pk=job.pk, state=JobState.QUEUED).update(waits_for=checkpoint)
            job.waits_for = checkpoint
    return job


def _warnings(site: Site, request: RestoreRequest) -> list[str]:
    """Return what whoever restores should know first; none of it is a reason to refuse.

    Without the checkpoint what is there now would be lost for good, while one that this node cannot
    open can be restored as soon as it has a key: so that is said, and the restore begins.
    """
    storage = storage_of(site)
    is_undoable = request.target == IN_PLACE and request.checkpoint
    if storage is None or not is_undoable or has_key_of(site.node, storage.encryption_recipients):
        return []
    return [
        f"What is there now is backed up first, but encrypted for keys of which {site.node} has "
        "none: this restore can be taken back only once HOLDFAST_AGE_IDENTITY_FILE there holds one "
        "of them."
    ]


def _parameters(site: Site, request: RestoreRequest) -> dict[str, Any]:
    asked: dict[str, Any] = {**asdict(request), "paths": list(request.paths)}
    asked["tables"] = list(request.tables)
    if request.target == COPY:
        stamp = f"{datetime.now(UTC):%Y%m%d_%H%M%S}"
        asked["target_path"] = request.target_path or f"{site.wp_path}_restored_{stamp}"
        asked["target_database"] = request.target_database or _copy_name(site, stamp)
    return asked


def _copy_name(site: Site, stamp: str) -> str:
    """Return a database's name for a copy; empty leaves it to the node, which reads wp-config."""
    if not site.db_name or site.db_engine in FILE_ENGINES:
        return ""
    return f"{site.db_name[:40]}_restored_{stamp}"


def _check(site: Site, backup: Backup, request: RestoreRequest) -> None:
    _check_fields(request)
    if backup.status != BackupStatus.SUCCESS or not backup.object_key:
        raise RestoreRefusedError("This backup failed: there is no bundle to restore.")
    made_on = node_of_backup(backup)
    if backup.storage.type in NODE_BOUND_STORES and made_on.pk != site.node_id:
        raise RestoreRefusedError(
            f"The bundle lies in a folder of {made_on}, and {site.name} is on {site.node}, which "
            "cannot read it. Copy it to a storage that both reach."
        )
    require_keys(site.node, backup)
    if request.target_path:
        require_below(
            request.target_path, site.node.allowed_roots, field="target_path", node=site.node
        )
    is_file = site.db_engine in FILE_ENGINES
    _require(
        not (is_file and request.target_database),
        "target_database",
        "This site's database is a file, which comes with the copy's folder.",
    )
    if request.what != FILES and site.db_engine == "none":
        raise RestoreRefusedError(f"{site.name} has no database; restore its files only.")


def _check_fields(request: RestoreRequest) -> None:
    _require(request.what in WHAT, "what", f"Choose one of: {', '.join(WHAT)}.")
    _require(request.target in TARGETS, "target", f"Choose one of: {', '.join(TARGETS)}.")
    is_copy = request.target == COPY
    for name in ("target_path", "target_database"):
        given = getattr(request, name)
        _require(is_copy or not given, name, "Only a copy has a target of its own.")
        _require("\0" not in given, name, "A name cannot hold NUL.")
    path = PurePosixPath(request.target_path)
    fits = not request.target_path or (path.is_absolute() and ".." not in path.parts)
    _require(fits, "target_path", "Give an absolute path without “..”.")
    _require(not (is_copy and request.rewrite_url), "rewrite_url", "A copy has no address yet.")
    _require(
        not request.rewrite_url or request.what != FILES, "rewrite_url", "Only a database has it."
    )
    _require(request.what != DATABASE or not request.paths, "paths", "Only files have paths.")
    _require(request.what != FILES or not request.tables, "tables", "Only a database has tables.")
    for path_in_bundle in request.paths:
        _require(
            _is_path_in_bundle(path_in_bundle),
            "paths",
            f"{path_in_bundle!r} is no path in a bundle: those begin with wp-content/, without "
            "“..”, or are wp-config.php.",
        )


def _is_path_in_bundle(path: str) -> bool:
    parts = path.rstrip("/").split("/")
    is_clean = not {"", ".", ".."} & set(parts) and "\0" not in path
    return is_clean and parts[0] in _ROOTS


def _require(condition: bool, field: str, sentence: str) -> None:
    if not condition:
        raise InvalidFieldError(field, sentence)


def plan_of(outputs: Mapping[str, Mapping[str, Any]]) -> dict[str, Any] | None:
    """Return what a dry run found, of the outputs of a job's stages; None before it is known."""
    files, database = outputs.get("restore_files", {}), outputs.get("restore_db", {})
    if "plan" not in files and "plan" not in database:
        return None
    return {"files": files.get("plan"), "database": database.get("plan")}
