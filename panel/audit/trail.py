"""Sees to it that every write and every refused attempt over HTTP is in the audit trail."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.urls import Resolver404, resolve

from backups.actions import audit
from backups.actions.audit import Fact
from backups.models import AuditOutcome, AuditSource
from backups.queries import AuditedObject
from panel.audit import sent
from panel.audit.actions import SIGN_IN, SIGN_OUT, action_of
from panel.audit.answers import Actor, body_of, signed_in, user_with
from panel.audit.deeds import Deed, deeds_of, is_refused, remember_objects, source_of, word_of
from panel.audit.flood import Flood
from panel.proxies import GetResponse
from panel.requests import QUIET_PATHS

logger = logging.getLogger(__name__)

WRITES = frozenset({"POST", "PUT", "PATCH", "DELETE"})
REFUSALS = frozenset({401, 403, 429})
LEAVER = "holdfast.audit.leaver"
NOBODY = "anonymous"

flood = Flood()


class AuditTrail:
    """Looks at the answer, which tells who it was and what came of it."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Answer, then write the entry."""
        response = self.get_response(request)
        try:
            if _is_worth_it(request, response):
                _find_route(request)
                _write(request, response)
            tell_of_floods()
        except Exception:
            # The answer is true whatever becomes of its entry.
            logger.exception("a request could not be written to the audit trail")
        return response

    def process_view(
        self,
        request: HttpRequest,
        view: Any,  # noqa: ANN401
        args: Any,  # noqa: ANN401
        kwargs: dict[str, Any],
    ) -> None:
        """Keep what the view uses up: the body, the row that it deletes, the session it ends."""
        if request.method not in WRITES:
            return
        sent.keep_body(request)
        word = action_of(request.resolver_match, request.method)
        if request.method == "DELETE" or word.endswith(("_delete.post", "_changelist.post")):
            remember_objects(request, kwargs)
        if word == SIGN_OUT:
            request.META[LEAVER] = signed_in(request)


def _find_route(request: HttpRequest) -> None:
    """Find what was asked for where a middleware has answered before the route was looked for."""
    if request.resolver_match is None:
        with suppress(Resolver404):
            request.resolver_match = resolve(request.path_info)


def tell_of_floods() -> None:
    """Write one entry for what was left out of each address in a minute that is over."""
    for address, number in flood.ended():
        detail = f"{number} more refusals from {address or 'one address'} within a minute."
        audit.record_entry(
            Fact(
                action="flood",
                source=AuditSource.API,
                outcome=AuditOutcome.REFUSED,
                actor_name=NOBODY,
                address=address,
                detail=detail,
            )
        )


def _is_worth_it(request: HttpRequest, response: HttpResponseBase) -> bool:
    path = request.path_info
    if path in QUIET_PATHS or request.path.startswith(settings.STATIC_URL):
        return False
    if request.method in WRITES or response.status_code in REFUSALS:
        return True
    # What a node did only after its request had got 202: a site is added, a backup is gone.
    return response.status_code == 201 or "remote_deleted" in body_of(response)


def _write(request: HttpRequest, response: HttpResponseBase) -> None:
    actor = request.META.get(LEAVER) or signed_in(request)
    address = request.META.get("REMOTE_ADDR")
    if actor is None and is_refused(request, response) and not flood.admits(address):
        deed = Deed(word_of(request, response), AuditedObject(), AuditOutcome.REFUSED)
        audit.say_only(_fact(request, response, deed, None, {}))
        return
    fields = sent.sent(request)
    for done in deeds_of(request, response, fields):
        if actor is None and done.action == SIGN_IN and done.outcome is AuditOutcome.SUCCESS:
            actor = user_with(done.what.id)
        audit.record_entry(_fact(request, response, done, actor, fields))


def _fact(
    request: HttpRequest,
    response: HttpResponseBase,
    deed: Deed,
    actor: Actor | None,
    fields: Mapping[str, Any],
) -> Fact:
    return Fact(
        action=deed.action,
        source=source_of(request),
        outcome=deed.outcome,
        what=deed.what,
        actor_id=actor.id if actor else None,
        actor_name=actor.name if actor else NOBODY,
        actor_role=actor.role if actor else "",
        address=request.META.get("REMOTE_ADDR"),
        user_agent=request.headers.get("User-Agent", ""),
        status_code=response.status_code,
        detail=deed.detail,
        fields=tuple(str(name) for name in fields),
    )
