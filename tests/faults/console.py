"""Run as a process of its own beside an installation: what its rows hold, asked line by line.

It has the installation's settings, so it sees its database and its broker as its own processes
do. A question is a line of JSON `[name, arguments]`, the answer one of `[value, error]`.
"""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Callable
from typing import Any

import django


def main() -> None:
    django.setup()
    from django.db import connection

    print(json.dumps(["ready", None]), flush=True)
    for line in sys.stdin:
        name, arguments = json.loads(line)
        answer: list[Any] = [None, None]
        try:
            # The database may have been restarted since the last question.
            connection.close()
            answer[0] = QUESTIONS[name](**arguments)
        except Exception:
            answer[1] = traceback.format_exc()
        print(json.dumps(answer, default=str), flush=True)


def job(job_id: str) -> dict[str, Any]:
    """Every column of a job, with its stages, each by its name."""
    from backups.models import Job

    row = Job.objects.get(pk=job_id)
    stages = {stage["name"]: stage for stage in row.stages.order_by("position").values()}
    return {**_columns(row), "folder_name": row.folder_name, "stages": stages}


def events(job_id: str) -> list[dict[str, Any]]:
    """A job's log, in order."""
    from backups.models import JobEvent

    return list(JobEvent.objects.filter(job_id=job_id).order_by("id").values())


def backups(job_id: str | None = None) -> list[dict[str, Any]]:
    """The restore points of a job, or all."""
    from backups.models import Backup

    rows = Backup.objects.order_by("id")
    return list((rows.filter(job_id=job_id) if job_id else rows).values())


def job_ids() -> list[str]:
    """The ids of all jobs."""
    from backups.models import Job

    return [str(pk) for pk in Job.objects.values_list("pk", flat=True)]


def active_jobs() -> list[str]:
    """The ids of jobs that are not at their end."""
    from backups.models import Job
    from backups.states import ACTIVE

    return [str(pk) for pk in Job.objects.filter(state__in=ACTIVE).values_list("pk", flat=True)]


def node() -> dict[str, Any]:
    """The one node, with its queue's name."""
    from backups.models import Node

    row = Node.objects.get()
    return {**_columns(row), "queue": row.queue}


def workers() -> list[dict[str, Any]]:
    """The workers that are on the panel's list."""
    from backups.models import Worker

    return list(Worker.objects.order_by("name").values())


def slots_in_use() -> int:
    """How many jobs take one of their node's slots."""
    from backups.models import Job
    from backups.states import ADMITTED

    return Job.objects.filter(state__in=ADMITTED).count()


def leader() -> str | None:
    """Who leads among the coordinators now, by the database's clock."""
    from django.db.models.functions import Now

    from backups.models import Leadership

    return Leadership.objects.filter(expires_at__gte=Now()).values_list("holder", flat=True).first()


def end_pause(job_id: str) -> int:
    """Let the time be over that a job waits between two attempts."""
    from backups.models import Job

    return Job.objects.filter(pk=job_id, state="queued").update(not_before=None)


def publish(job_id: str) -> bool:
    """Send the job's chain once more, as the coordinator does."""
    from backups import dispatch
    from backups.models import Job

    return dispatch.publish_chain(Job.objects.select_related("node").get(pk=job_id))


def writable() -> bool:
    """Whether rows can be written now: nobody who is frozen holds a lock."""
    from django.db import OperationalError, connection

    options = connection.settings_dict["OPTIONS"]
    if connection.vendor != "sqlite":
        return True
    connection.close()
    patience, options["timeout"] = options["timeout"], 0.1
    try:
        with connection.cursor() as cursor:
            cursor.execute("BEGIN IMMEDIATE")
            cursor.execute("ROLLBACK")
    except OperationalError:
        return False
    finally:
        connection.close()
        options["timeout"] = patience
    return True


def _columns(row: Any) -> dict[str, Any]:
    return {field.attname: getattr(row, field.attname) for field in row._meta.concrete_fields}


QUESTIONS: dict[str, Callable[..., Any]] = {
    function.__name__: function
    for function in (
        *(job, job_ids, events, backups, active_jobs, node, workers, publish, writable),
        *(slots_in_use, leader, end_pause),
    )
}

if __name__ == "__main__":
    main()
