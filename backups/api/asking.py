"""Requests that only a node can answer: asked, awaited for a bounded time, else 202 and a link.

The link is signed, holds what to do with the answer, and gives the same body in the end.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
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
from backups.models import Backup, Node
from backups.queries import backups_visible_to, may_manage_site, nodes_visible_to, sites_with_usage
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
    body = questions.wait_for_answer(task_id=task_id)
    payload = {
        "task": task_id,
        "user": person(request).pk,
        "purpose": question.purpose,
        "context": question.context,
    }
    if body is None:
        return pending(request, links.sign(links.ANSWER, payload))
    return _finished(request, payload, body)


def resume(request: Request, link: str) -> Response:
    """Return the response to an earlier request, 202 again if the node has not answered."""
    payload = links.read(links.ANSWER, link, seconds=links.ANSWER_SECONDS)
    if payload["user"] != person(request).pk:
        raise PermissionDenied
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


def _bundle_listed(answer: Answer) -> Response:
    return Response({**answer.context, **answer.body})


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


FINISH: dict[str, Callable[[Answer], Response]] = {
    "scan": _scanned,
    "add_site": _site_added,
    "test_storage": _storage_tested,
    "delete_backup": _object_deleted,
    "list_bundle": _bundle_listed,
}
