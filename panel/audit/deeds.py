"""From a request and its answer to what was done, on what, and what came of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from django.db import DatabaseError, InterfaceError
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from backups.models import AuditOutcome, AuditSource
from backups.queries import AuditedObject, audited_object, audited_objects
from panel.audit import admin, sent
from panel.audit.actions import SIGN_IN, SIGN_OUT, action_of, object_of
from panel.audit.answers import body_of, is_failed_form, leads_to_sign_in, outcome_of, sentence_of
from panel.errors import DASHBOARD

ADMIN = "/admin/"
STREAMS = ("/backup/stream/", "/backup-progress-sse/", "/running-sse")
WRONG_SIGN_IN = "The name or the password is wrong, or this account may not sign in here."
# What was known before the view ran, and may be gone after it.
BEFORE = "holdfast.audit.object"


@dataclass(frozen=True, slots=True)
class Deed:
    """What an entry says beside who and where from."""

    action: str
    what: AuditedObject
    outcome: AuditOutcome
    detail: str = ""


def source_of(request: HttpRequest) -> AuditSource:
    """Return through which face it came."""
    path = request.path_info
    if any(stream in path for stream in STREAMS):
        return AuditSource.STREAM
    if path.startswith(DASHBOARD):
        return AuditSource.DASHBOARD
    return AuditSource.ADMIN if path.startswith(ADMIN) else AuditSource.API


def word_of(request: HttpRequest, response: HttpResponseBase) -> str:
    """Return the word for what was asked for.

    A node's late answer is the end of what an earlier request, which got 202, has begun.
    """
    if request.method == "GET" and response.status_code == 201:
        return "site.add"
    if request.method == "GET" and "remote_deleted" in body_of(response):
        return "backup.delete"
    return action_of(request.resolver_match, request.method or "")


def is_refused(request: HttpRequest, response: HttpResponseBase) -> bool:
    """Return whether nothing came of it, as far as the answer alone tells."""
    is_sign_in = action_of(request.resolver_match, request.method or "") == SIGN_IN
    shown_again = is_sign_in and is_failed_form(response)
    return response.status_code >= 400 or shown_again or leads_to_sign_in(response)


def deeds_of(
    request: HttpRequest, response: HttpResponseBase, fields: Mapping[str, Any]
) -> list[Deed]:
    """Return what was done: one for each row of a list in the admin, else one.

    Nothing where a page of the admin only asked whether to do it.
    """
    word, match = word_of(request, response), request.resolver_match
    if word == SIGN_IN:
        return [_sign_in(request, response, fields)]
    if leads_to_sign_in(response):
        return [Deed(word, AuditedObject(), AuditOutcome.REFUSED, "Not signed in.")]
    if match is not None and source_of(request) is AuditSource.ADMIN and word != SIGN_OUT:
        found = admin.deed_of(request, response, match)
        return [] if found is None else _of_admin(request, response, found)
    what = _object(request, response, word)
    return [Deed(word, what, outcome_of(response.status_code), sentence_of(response))]


def _of_admin(
    request: HttpRequest, response: HttpResponseBase, found: admin.AdminDeed
) -> list[Deed]:
    things = _before(request) or asked(lambda: audited_objects(found.kind, found.keys))
    detail = found.detail or sentence_of(response)
    return [
        Deed(found.action, what, found.outcome, detail)
        for what in things or [AuditedObject(found.kind)]
    ]


def remember_objects(request: HttpRequest, arguments: Mapping[str, Any]) -> None:
    """Look at what a request may delete while it is there."""
    word = action_of(request.resolver_match, request.method or "")
    kind, key = object_of(word, arguments, {})
    keys: tuple[str, ...] = (key,) if key else ()
    model, _, page = word.removesuffix(".post").rpartition("_")
    if source_of(request) is AuditSource.ADMIN and page in ("delete", "changelist"):
        kind = model.rpartition("_")[2]
        listed = (str(arguments["object_id"]),) if "object_id" in arguments else ()
        keys = listed or admin.selected_keys(request)
    if keys:
        request.META[BEFORE] = asked(lambda: audited_objects(kind, keys))


def asked(question: Callable[[], list[AuditedObject]]) -> list[AuditedObject]:
    """Return the answer; nothing while the database is away: the entry is made all the same."""
    try:
        return question()
    except (DatabaseError, InterfaceError):
        return []


def _sign_in(request: HttpRequest, response: HttpResponseBase, fields: Mapping[str, Any]) -> Deed:
    [who] = asked(lambda: [sent.tried_user(sent.tried_name(fields))]) or [AuditedObject("user")]
    outcome = outcome_of(response.status_code)
    if is_failed_form(response):
        return Deed(SIGN_IN, who, AuditOutcome.REFUSED, WRONG_SIGN_IN)
    return Deed(SIGN_IN, who, outcome, sentence_of(response))


def _before(request: HttpRequest) -> list[AuditedObject]:
    found: list[AuditedObject] = request.META.get(BEFORE, [])
    return found if any(one.label for one in found) else []


def _object(request: HttpRequest, response: HttpResponseBase, word: str) -> AuditedObject:
    if before := _before(request):
        return before[0]
    match, body = request.resolver_match, body_of(response)
    kind, key = object_of(word, match.kwargs if match else {}, body)
    things = asked(lambda: [audited_object(kind, key)]) if key else []
    found = things[0] if things else AuditedObject(kind, key)
    site_id = body.get("site_id")
    if found.site_id is None and isinstance(site_id, int):
        return replace(found, site_id=site_id)
    return found
