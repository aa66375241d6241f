"""Asking a node: only its own workers can see its disks, and reach what it can reach."""

from __future__ import annotations

import time
from typing import Any

from celery import states
from django.conf import settings

from backups import dispatch, queries
from backups.errors import NodeUnavailableError, NodeWorkError, with_hint
from backups.models import Node

POLL_SECONDS = 0.1

# An engine's word for what went wrong → HTTP status; what is not listed cannot be processed.
STATUS_OF_CODE = {"site_not_found": 400, "path_not_allowed": 400, "wp_config_missing": 422}
OTHER_STATUS = 422
BAD_ANSWER = "node_error"


def ask(*, node: Node, query: str, arguments: dict[str, Any]) -> str:
    """Send a question to a node's workers and return the task's id.

    Raises `NodeUnavailableError` at once when no worker of the node is alive, and
    `BrokerUnavailableError` when the message cannot be sent.
    """
    if not queries.nodes_with_live_workers().filter(pk=node.pk).exists():
        raise NodeUnavailableError(
            f"No worker of {node} is running. On that host: manage.py worker --node {node.name}"
        )
    return dispatch.ask_node(node, query, arguments)


def wait_for_answer(*, task_id: str) -> dict[str, Any] | None:
    """Return a node's answer, None if it has not come in HOLDFAST_NODE_ANSWER_SECONDS.

    Raises `NodeWorkError` with the node's own code when it could not do what it was asked.
    """
    deadline = time.monotonic() + settings.HOLDFAST_NODE_ANSWER_SECONDS
    while (answer := read_answer(task_id=task_id)) is None and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
    return answer


def read_answer(*, task_id: str) -> dict[str, Any] | None:
    """Return a node's answer if it has come, None if not. Raises `NodeWorkError` as above."""
    result = dispatch.answer_of(task_id)
    state, value = str(result.state), result.result
    if state not in states.READY_STATES:
        return None
    if state == states.REVOKED:
        raise NodeWorkError(
            "The node took the question too late to answer it; ask again.", "answer_too_late", 503
        )
    if state != states.SUCCESS or not isinstance(value, dict):
        raise NodeWorkError(
            f"The node could not answer: internal error, reference {task_id}.", BAD_ANSWER, 502
        )
    if not value["ok"]:
        raise _refusal(value["error"])
    answer: dict[str, Any] = value["answer"]
    return answer


def _refusal(error: dict[str, Any]) -> NodeWorkError:
    message = with_hint(error["message"], error["hint"])
    status = STATUS_OF_CODE.get(error["code"], OTHER_STATUS)
    return NodeWorkError(message, error["code"], status, is_permanent=bool(error["permanent"]))
