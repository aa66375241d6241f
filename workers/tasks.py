"""The Celery tasks, made from the registry: one for each stage, one for each question to a node."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from celery import Task
from celery.exceptions import Ignore

from backups.errors import DomainError
from backups.registry import QUERIES, STAGES, load_query, query_task_name
from workers.celery import app
from workers.engine.errors import EngineError
from workers.runner import run_stage


def _stage_task(stage_name: str) -> Callable[..., None]:
    def run(self: Task[Any, Any], job_id: str, epoch: int) -> None:
        hostname = str(self.request.hostname)
        if not run_stage(stage_name, job_id=job_id, epoch=epoch, worker=hostname):
            # Ends the chain: the rows, not the messages, say what happens next.
            raise Ignore

    return run


def _query_task(query: str) -> Callable[..., dict[str, Any]]:
    def run(**arguments: Any) -> dict[str, Any]:  # noqa: ANN401
        try:
            return {"ok": True, "answer": load_query(query)(**arguments)}
        except EngineError as error:
            return _refusal(error.code, error.message, error.hint, permanent=error.permanent)
        except DomainError as error:
            return _refusal(error.code, error.message, "", permanent=True)

    return run


def _refusal(code: str, message: str, hint: str, *, permanent: bool) -> dict[str, Any]:
    error = {"code": code, "message": message, "hint": hint, "permanent": permanent}
    return {"ok": False, "error": error}


for _stage in STAGES.values():
    app.task(name=_stage.task_name, bind=True)(_stage_task(_stage.name))
for _query in QUERIES:
    # Somebody waits for these answers; nobody does for a stage's, it has a row.
    app.task(name=query_task_name(_query), ignore_result=False)(_query_task(_query))
