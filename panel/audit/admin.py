"""What was done in Django's admin, as far as a request and its answer tell."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.urls import ResolverMatch
from django.utils.html import strip_tags

from backups.models import AuditOutcome

VERBS = ("changelist", "add", "change", "delete", "history")
# A page of a list has fewer rows.
MOST_SELECTED = 200
FORM_AGAIN = "The form was shown again: it could not be used as it was."


@dataclass(frozen=True, slots=True)
class AdminDeed:
    """A page's action, the keys of what it was for, and what the page said to it."""

    action: str
    kind: str = ""
    keys: tuple[str, ...] = ()
    detail: str = ""
    outcome: AuditOutcome = AuditOutcome.SUCCESS


def deed_of(
    request: HttpRequest, response: HttpResponseBase, match: ResolverMatch
) -> AdminDeed | None:
    """Return what a page of a model did; None where it only asked whether to."""
    model, _, verb = (match.url_name or "").rpartition("_")
    if verb not in VERBS:
        return AdminDeed(f"admin.{match.url_name}", outcome=_outcome(request, response))
    kind = model.rpartition("_")[2]
    if verb == "changelist":
        return _of_list(request, response, kind)
    has_ended = response.status_code != 200
    if not has_ended and verb == "delete":
        return None
    outcome = _outcome(request, response) if has_ended else AuditOutcome.REFUSED
    detail = _said(request) if has_ended else FORM_AGAIN
    keys = (str(match.kwargs["object_id"]),) if "object_id" in match.kwargs else ()
    return AdminDeed(f"admin.{kind}.{verb}", kind, keys, detail, outcome)


def _of_list(request: HttpRequest, response: HttpResponseBase, kind: str) -> AdminDeed | None:
    word = request.POST.get("action", "")
    if response.status_code == 200 and word:
        return None
    keys = selected_keys(request)
    whole = "All of the list. " if request.POST.get("select_across") == "1" else ""
    together = f"{len(keys)} selected together. " if len(keys) > 1 else ""
    known = word if word.isidentifier() else "list"
    detail = f"{whole}{together}{_said(request)}".strip()
    return AdminDeed(f"admin.{kind}.{known}", kind, keys, detail, _outcome(request, response))


def selected_keys(request: HttpRequest) -> tuple[str, ...]:
    """Return the keys of the rows that an action on a list was for."""
    return tuple(request.POST.getlist(ACTION_CHECKBOX_NAME)[:MOST_SELECTED])


def _queued(request: HttpRequest) -> list[Any]:
    """Return what this request's page will tell the user."""
    return list(getattr(getattr(request, "_messages", None), "_queued_messages", ()))


def _said(request: HttpRequest) -> str:
    return " ".join(strip_tags(str(message.message)) for message in _queued(request))


def _outcome(request: HttpRequest, response: HttpResponseBase) -> AuditOutcome:
    """A page that refuses redirects as well: its messages tell the difference."""
    if response.status_code >= 500:
        return AuditOutcome.FAILED
    levels = {message.level for message in _queued(request)}
    all_refused = bool(levels) and min(levels) >= messages.WARNING
    if response.status_code >= 400 or messages.ERROR in levels or all_refused:
        return AuditOutcome.REFUSED
    return AuditOutcome.SUCCESS
