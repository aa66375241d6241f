"""Run as a process of its own by test_panel_databases: many at once try to do the same thing.

Prints one line with what this process won. They begin together, when a file appears.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import django


def main(what: str, barrier: Path, job_or_site: str) -> None:
    django.setup()
    from backups.actions import attempts, jobs
    from backups.errors import BackupAlreadyRunningError
    from backups.models import Job, Site

    def claim() -> bool:
        claimed = attempts.claim_stage(
            job_id=job_or_site, epoch=1, stage_name="backup_db", worker="racer"
        )
        return claimed is not None

    def start() -> bool:
        try:
            jobs.start_backup(site=Site.objects.get(pk=job_or_site))
        except BackupAlreadyRunningError:
            return False
        return True

    def reserve() -> str:
        job = Job.objects.get(pk=job_or_site)
        stage = job.stages.get(name="create_bundle")
        attempt = attempts.Attempt(
            job.pk, job.epoch, job.token, stage.pk, stage.name, stage.position, 5
        )
        return str(attempts.reserve_object_key(attempt))

    Site.objects.count()  # connects before the start
    print("ready", flush=True)
    while not barrier.exists():
        time.sleep(0.001)
    print({"claim": claim, "start": start, "reserve": reserve}[what](), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3])
