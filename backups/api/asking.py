"""Requests that only a node can answer: asked, awaited for a bounded time, else 202 and a link.

The link is signed, holds what to do with the answer, and gives the same body in the end.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from django.urls import reverse
from rest_framework.exceptions import PermissionDenied
from rest_framework.request import Request
from rest_framework.response import Response

from backups.actions import backups, questions, sites
from backups.api import links
from backups.api.access import person, require, visible_or_refused
from backups.api.serializers.sites import SiteSerializer
from backups.errors import BrokerUnavailableError, NodeUnavailableError, NodeWorkError
from backups.models import Backup, Node
from backups.queries import (
    backups_visible_to,
    may_manage_site,
    node_that_reaches,
    nodes_visible_to,
    sites_with_usage,
)
from backups.queries.checks import witness_for
from backups.roles import Person


@dataclass(frozen=True, slots=True)
class Question:
    """What a node is asked, and how its answer becomes a response.

    `purpose` names a function in `FINISH`; `context` is what that needs, as JSON.
    """

    query: str
    arguments: dict[str, Any]
    purpose: str
    context: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Answer:
    """A node's answer on its way to whoever asked."""

    request: Request
    user: Person
    task_id: str
    context: dict[str, Any]
    body: dict[str, Any]


def ask(request: Request, node: Node, question: Question) -> Response:
    """Ask, and return the response: the finished one, or 202 with where it will be."""
    task_id = questions.ask(node=node, query=question.query, arguments=question.arguments)
    payload = {
        "task": task_id,
        "user": person(request).pk,
        "purpose": question.purpose,
        "context": question.context,
    }
    with _refusals_heard(payload):
        body = questions.wait_for_answer(task_id=task_id)
    if body is None:
        return pending(request, links.sign(links.ANSWER, payload))
    return _finished(request, payload, body)


def resume(request: Request, link: str) -> Response:
    """Return the response to an earlier request, 202 again if the node has not answered."""
    payload = links.read(links.ANSWER, link, seconds=links.ANSWER_SECONDS)
    if payload["user"] != person(request).pk:
        raise PermissionDenied
    with _refusals_heard(payload):
        body = questions.read_answer(task_id=payload["task"])
    return pending(request, link) if body is None else _finished(request, payload, body)


def pending(request: Request, link: str) -> Response:
    """Return 202 with the link."""
    url = reverse("answer", args=[link])
    detail = "The node is still at work; the answer will be at status_url."
    return Response({"detail": detail, "code": "pending", "status_url": url}, status=202)


def _finished(request: Request, payload: dict[str, Any], body: dict[str, Any]) -> Response:
    answer = Answer(request, person(request), payload["task"], payload["context"], body)
    return FINISH[payload["purpose"]](answer)


@contextmanager
def _refusals_heard(payload: dict[str, Any]) -> Iterator[None]:
    """Do what follows from a node's refusal, before whoever asked is told."""
    try:
        yield
    except NodeWorkError as error:
        if (hear := REFUSED.get(payload["purpose"])) is not None:
            hear(payload["context"], error)
        raise


def _scanned(answer: Answer) -> Response:
    found = answer.body["sites"]
    return Response(
        {
            "success": True,
            "node_id": answer.context["node_id"],
            "sites": found,
            "total": len(found),
            "problems": answer.body["problems"],
        }
    )


def _site_added(answer: Answer) -> Response:
    node = visible_or_refused(nodes_visible_to(answer.user), answer.context["node_id"])
    site = sites.add_inspected_site(
        node=node,
        inspection=answer.body,
        # One question adds one site, however often its answer is read.
        site_uuid=uuid.UUID(answer.task_id),
        name=answer.context["name"],
    )
    row = sites_with_usage(type(site).objects.filter(pk=site.pk)).get()
    body = dict(SiteSerializer(row, context={"request": answer.request}).data)
    return Response({**body, "problems": answer.body["problems"]}, status=201)


def _storage_tested(answer: Answer) -> Response:
    return Response({"success": True, "capabilities": answer.body["capabilities"]})


def _from_bundle(answer: Answer) -> Response:
    return Response({**answer.context, **answer.body})


def delete_with_object(request: Request, backup: Backup) -> Response:
    """Claim the backup, ask a node to delete its object, and forget it once that is confirmed.

    However this request ends, retention asks again for a claimed backup, unless nobody was asked
    or the node says that the object is there to stay.
    """
    is_new = backups.begin_deletion(backup=backup)
    witness = witness_for(backup)
    arguments = {
        "storage_id": backup.storage_id,
        "key": backup.object_key,
        "witness": witness.object_key if witness else "",
    }
    context = {"backup_id": backup.pk, "name": backup.filename}
    question = Question("delete_object", arguments, "delete_backup", context)
    try:
        return ask(request, node_that_reaches(backup), question)
    except NodeUnavailableError:
        if is_new:
            backups.give_up_deletion(backup.pk)
        raise
    except BrokerUnavailableError as error:
        # It may have the question all the same, so the claim stays.
        raise BrokerUnavailableError(
            f"{error.message} The backup is marked, and removed as soon as its node can be asked."
        ) from error


def _deletion_refused(context: dict[str, Any], error: NodeWorkError) -> None:
    if error.is_permanent:
        backups.give_up_deletion(context["backup_id"])


def _object_deleted(answer: Answer) -> Response:
    """Forget the backup whose object is gone; whether it was there only changes the words."""
    backup_id, name = answer.context["backup_id"], answer.context["name"]
    backup = backups_visible_to(answer.user).filter(pk=backup_id).first()
    if backup is not None:
        require_may_delete(answer.user, backup)
        backups.forget_backup(backup=backup)
    was_there = bool(answer.body["deleted"])
    words = "deleted, with its object" if was_there else "deleted; its object was gone already"
    return Response(deletion_body(backup_id, f"Backup {name} {words}", remote_deleted=was_there))


def deletion_body(backup_id: int, message: str, *, remote_deleted: bool) -> dict[str, Any]:
    """Return what is told about a deleted backup."""
    return {
        "success": True,
        "message": message,
        "backup_id": backup_id,
        "remote_deleted": remote_deleted,
    }


def require_may_delete(user: Person, backup: Backup) -> None:
    """Raise 403 unless the user manages the site's node: its own admins only read and restore."""
    allowed = may_manage_site(user, backup.site)
    require(allowed, "Only an admin of the node may delete backups.")


REFUSED: dict[str, Callable[[dict[str, Any], NodeWorkError], None]] = {
    "delete_backup": _deletion_refused,
}
FINISH: dict[str, Callable[[Answer], Response]] = {
    "scan": _scanned,
    "add_site": _site_added,
    "test_storage": _storage_tested,
    "delete_backup": _object_deleted,
    "list_bundle": _from_bundle,
    "list_tables": _from_bundle,
}
