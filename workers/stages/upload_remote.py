"""Store the sealed bundle, whole or not at all."""

from __future__ import annotations

from workers.engine.sources import FilesSource
from workers.stages.context import StageContext, StageResult, WorkMissing, megabytes
from workers.stages.encryption import remove_plain, require_recipients


def run(context: StageContext) -> StageResult:
    """Send the segments as one object; an earlier attempt's finished parts are not sent again."""
    sealed = context.inputs["create_bundle"]
    require_recipients(context, sealed)
    paths = [context.job_directory / part / "segment" for part in sealed["parts"]]
    missing = [path for path in paths if not path.is_file()]
    if missing:
        raise WorkMissing(f"The sealed bundle is no longer in the spool ({missing[0]})")
    remove_plain(context, sealed)
    with FilesSource(paths) as source:
        context.reporter.total(source.size)
        context.reporter.detail(f"Storing {megabytes(source.size)}")
        stored = context.store.open(context.throttle).put(
            sealed["key"],
            source,
            sha256=sealed["sha256"],
            reporter=context.reporter,
            metadata={"job": context.job_id, "epoch": str(context.epoch), "token": context.token},
            resume=context.checkpoint.get("upload"),
            save_checkpoint=lambda upload: context.save_checkpoint(
                {"key": sealed["key"], "upload": dict(upload)}
            ),
        )
    return StageResult(
        {
            "key": stored.key,
            "size": stored.size,
            "checksum": stored.checksum,
            "verified_by": stored.verified_by,
            "locked_until": stored.locked_until.isoformat() if stored.locked_until else None,
        },
        f"Stored and checked ({megabytes(stored.size)}, by {stored.verified_by})",
    )
