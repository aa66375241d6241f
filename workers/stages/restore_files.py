"""Put the files beside their places, and, if nothing else was asked for, into them."""

from __future__ import annotations

import contextlib
from dataclasses import asdict

from workers.engine.errors import EngineError
from workers.engine.restore.files import parts_of, planned, prepare_files
from workers.engine.restore.journal import SWITCHED
from workers.engine.restore.plan import plan_files
from workers.stages.context import StageContext, StageResult, megabytes
from workers.stages.moving import point_copy
from workers.stages.restoring import (
    DATABASE,
    FILES,
    excludes_of,
    journal_of,
    label_of,
    opened_bundle,
    settle,
    target_of,
)

DONE = "Files restored"


def run(context: StageContext) -> StageResult:
    """Extract what is wanted, each file compared with its checksum, before anything is changed.

    The database is exchanged first, and the files right after it: by the next stage, if there is
    one to do. An earlier attempt's work is settled: it may have come to its end.
    """
    what = context.parameters["what"]
    if what == DATABASE:
        return StageResult({"directory": "", "switches": []}, "No files were asked for")
    if context.parameters["dry_run"]:
        return _plan(context)
    if settle(context.job_directory, context.scratch_servers) == SWITCHED:
        return StageResult({"directory": "", "switches": []}, DONE)
    with opened_bundle(context) as bundle:
        target = target_of(context, bundle)
        parts = parts_of(
            bundle,
            target.roots,
            context.parameters["paths"],
            removes=context.parameters.get("removes_missing", False),
        )
        journal = journal_of(context.job_directory)
        journal.announce(planned(parts, label_of(context.job_id)))
        context.reporter.total(context.inputs["verify_bundle"]["bytes"])
        context.reporter.detail("Extracting beside the site")
        switches = prepare_files(
            bundle,
            parts,
            label=label_of(context.job_id),
            excludes=excludes_of(context.site, target),
            reporter=context.reporter,
        )
        try:
            point_copy(context, target, switches)
            journal.announce(switches)
        except BaseException:
            # Whoever was given up meanwhile has no journal any more: nobody else would find these.
            for switch in switches:
                with contextlib.suppress(EngineError):
                    switch.discard()
            raise
        fetched = bundle.bytes_fetched
    outputs = {"directory": "", "fetched": fetched, "parts": len(parts)}
    if what == FILES:
        context.reporter.check()
        journal.commit(switches)
        return StageResult({**outputs, "switches": []}, f"{DONE} ({megabytes(fetched)} fetched)")
    records = [dict(switch.record()) for switch in switches]
    words = f"Files are ready beside the site ({megabytes(fetched)} fetched)"
    return StageResult({**outputs, "switches": records}, words)


def _plan(context: StageContext) -> StageResult:
    with opened_bundle(context) as bundle:
        target = target_of(context, bundle)
        parts = parts_of(bundle, target.roots, context.parameters["paths"])
        context.reporter.detail("Comparing with what is there")
        excludes = excludes_of(context.site, target)
        plan = plan_files(bundle, parts, excludes=excludes, reporter=context.reporter)
        outputs = {"directory": "", "plan": asdict(plan), "fetched": bundle.bytes_fetched}
    words = (
        f"{plan.created.count} files would be created, {plan.overwritten.count} overwritten, "
        f"{plan.deleted.count} deleted"
    )
    return StageResult(outputs, words)
