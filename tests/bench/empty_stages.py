"""`manage.py` with stages that do nothing, for the bench of what is round them.

    python -m tests.bench.empty_stages worker --node web-01

The registry of this process, and of those that it forks, names the functions below; everything
else (claims, leases, events, the chain) is the product's own.
"""

from __future__ import annotations

import dataclasses
import os

from django.core.management import execute_from_command_line

from backups import registry
from workers.stages.context import StageContext, StageResult

# What completes a job reads of the stages' outputs.
_OUTPUTS = {
    "create_bundle": {"sha256": "0" * 64, "suspicions": [], "facts": {}},
    "upload_remote": {"key": "bench/nothing.tar.zst", "size": 1, "verified_by": "bench"},
}


def run(context: StageContext) -> StageResult:
    """Do nothing, and say so as a stage does."""
    stage = context.directory.name.partition("-")[0]
    return StageResult(_OUTPUTS.get(stage, {}), "Nothing to do")


def main() -> None:
    """Run the management command in `sys.argv` with empty stages."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "panel.settings")
    for name, stage in registry.STAGES.items():
        registry.STAGES[name] = dataclasses.replace(
            stage, path="tests.bench.empty_stages:run", has_folder=False
        )
    execute_from_command_line()


if __name__ == "__main__":
    main()
