"""`manage.py job list|show|stop|reset|retry`: the jobs of the cluster."""

from __future__ import annotations

from argparse import ArgumentParser
from functools import partial
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from backups.actions import control, operations
from backups.errors import DomainError
from backups.management.audited import audited
from backups.management.finding import find_job, find_site
from backups.management.tables import lines_of, moment
from backups.models import Job
from backups.queries import audited_object, job_status, log_of
from backups.states import ACTIVE, OUTSIDE

WORDS = {
    "show": "show a job, its stages and its log",
    "stop": "stop a job; its work is removed",
    "reset": "give a job up, whatever it is doing, so that a new one can start at once",
    "retry": "try again what failed or was stopped, from where it failed if its work is kept",
}


class Command(BaseCommand):
    help = "List, show, stop, reset and retry jobs. Exit code: 0 done, 1 refused."

    def add_arguments(self, parser: ArgumentParser) -> None:
        words = parser.add_subparsers(dest="what", required=True)
        listing = words.add_parser("list", help="list the jobs, newest first")
        listing.add_argument("--site", help="a site's id or name")
        listing.add_argument("--node", help="a node's name")
        listing.add_argument("--status", choices=sorted(set(OUTSIDE.values())))
        listing.add_argument("--limit", type=int, default=20, help="how many (default 20)")
        for word, sentence in WORDS.items():
            parser_ = words.add_parser(word, help=sentence)
            parser_.add_argument("job", help="a job's id, its beginning, or a site for its newest")

    def handle(self, *args: Any, **options: Any) -> None:  # noqa: ANN401
        word = options["what"]
        if word == "list":
            self.list_jobs(options)
            return
        job = find_job(options["job"])
        if word == "show":
            self.show(job)
            return
        act = {"stop": self.stop, "reset": self.reset, "retry": self.retry}[word]
        try:
            with audited(f"job.{word}", partial(audited_object, "job", job.pk)):
                act(job)
        except DomainError as error:
            raise CommandError(error.message) from error

    def list_jobs(self, options: dict[str, Any]) -> None:
        jobs = Job.objects.select_related("site", "node").order_by("-queued_at")
        if options["site"]:
            jobs = jobs.filter(site=find_site(options["site"]))
        if options["node"]:
            jobs = jobs.filter(node__name=options["node"])
        if options["status"]:
            jobs = jobs.filter(
                state__in=[state for state, word in OUTSIDE.items() if word == options["status"]]
            )
        rows = [
            (job.pk, job.site.name, job.node.name, job.state, f"{job.progress}%",
             moment(job.queued_at), moment(job.finished_at))
            for job in jobs[: max(options["limit"], 0)]
        ]  # fmt: skip
        if not rows:
            self.stdout.write("No jobs. Start one: manage.py backup SITE")
            return
        header = ("JOB", "SITE", "NODE", "STATE", "PROGRESS", "QUEUED", "FINISHED")
        for line in lines_of(header, rows):
            self.stdout.write(line)

    def show(self, job: Job) -> None:
        status = job_status(job.site, job)
        self.stdout.write(f"{job.kind} of {job.site.name} on {job.node.name}, job {job.pk}")
        self.stdout.write(f"{job.state}, {job.progress} %: {status['message']}")
        if status["error"]:
            self.stdout.write(status["error"])
        if job.retry_of_id:
            self.stdout.write(f"Goes on with the work of job {job.retry_of_id}")
        if job.cleanup_pending:
            self.stdout.write(f"What it left on {job.node.name} is still to be removed")
        rows = [
            (stage.name, stage.state, moment(stage.started_at), moment(stage.finished_at),
             stage.detail)
            for stage in job.stages.order_by("position")
        ]  # fmt: skip
        for line in lines_of(("STAGE", "STATE", "STARTED", "FINISHED", "DETAIL"), rows):
            self.stdout.write(line)
        for event in log_of(job):
            self.stdout.write(f"{moment(event.created_at)} {event.level:7} {event.message}")

    def stop(self, job: Job) -> None:
        stopped = control.stop_job(job=job, requested_by=None)
        if stopped.state in ACTIVE:
            self.stdout.write(
                f"Stop requested; the running stage ends itself. See: manage.py job show {job.pk}"
            )
        else:
            self.stdout.write(f"Backup of {job.site.name} stopped")

    def reset(self, job: Job) -> None:
        operations.require_newest(job)
        done = operations.reset_and_wait(site=job.site, requested_by=None)
        self.stdout.write(done.message)
        if done.job_id is None and done.note is None:
            self.stdout.write("Nothing was running.")
            return
        self.stdout.write(f"{len(done.revoked)} tasks revoked")
        self.stdout.write(done.note or operations.evidence(done.cleanup.report))

    def retry(self, job: Job) -> None:
        retried = operations.retry_with_what_is_left(job=job, requested_by=None)
        self.stdout.write(f"{retried.message} (job {retried.job.pk})")
