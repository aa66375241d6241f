"""Following a job to its end on the command line, and what its end means to a script."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable

from rich.console import Console

from backups.management.progress import Follower, LineFollower
from backups.models import Job
from backups.queries import job_status
from backups.states import ACTIVE, JobState

FOLLOW_SECONDS = 0.5
EXIT_CODES = {JobState.COMPLETED: 0, JobState.FAILED: 1, JobState.STOPPED: 3, JobState.RESET: 3}


def follow(job: Job, console: Console) -> Job | None:
    """Show the job's progress until it ends, and return it; None if the person left with Ctrl-C.

    That ends the following, not the job.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    follower = Follower(console) if console.is_terminal else LineFollower(console)
    try:
        with follower:
            while True:
                job = Job.objects.select_related("node", "site").get(pk=job.pk)
                follower.show(job_status(job.site, job))
                if job.state not in ACTIVE:
                    return job
                time.sleep(FOLLOW_SECONDS)
    except KeyboardInterrupt:
        console.print("No longer following; the job goes on.")
        return None


def report(job: Job, console: Console) -> None:
    """Say how it ended, with its warnings and what to do about its error."""
    status = job_status(job.site, job)
    console.print(status["message"], highlight=False)
    for warning in job.warnings:
        console.print(f"Warning: {warning}", highlight=False, markup=False)
    if status["error"]:
        console.print(status["error"], highlight=False, markup=False)


def see_through(job: Job, console: Console, say: Callable[[Job, Console], None]) -> None:
    """Follow the job, say how it ended and, if it completed, what there is; end as it did."""
    ended = follow(job, console)
    if ended is None:
        return
    report(ended, console)
    if ended.state == JobState.COMPLETED:
        say(ended, console)
    end(ended)


def end(job: Job) -> None:
    """End the command with the exit code that the job's end stands for."""
    if code := EXIT_CODES[JobState(job.state)]:
        raise SystemExit(code)
