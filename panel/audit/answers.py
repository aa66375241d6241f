"""What an answer, and who got it, say to the audit trail."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from django.contrib.auth import get_user_model
from django.db import DatabaseError, InterfaceError
from django.http import HttpRequest, JsonResponse
from django.http.response import HttpResponseBase
from django.urls import reverse

from backups.models import AuditOutcome


@dataclass(frozen=True, slots=True)
class Actor:
    """Who did it, as they were then."""

    id: int
    name: str
    role: str


def body_of(response: HttpResponseBase) -> Mapping[str, Any]:
    """Return the object that was answered, nothing for any other answer."""
    body: Any = getattr(response, "data", None)
    if isinstance(response, JsonResponse):
        body = json.loads(response.content)
    return body if isinstance(body, Mapping) else {}


def sentence_of(response: HttpResponseBase) -> str:
    """Return what the answer tells a person."""
    body = body_of(response)
    sentence = body.get("message") or body.get("detail") or ""
    return sentence if isinstance(sentence, str) else ""


def is_failed_form(response: HttpResponseBase) -> bool:
    """Return whether a page shows its form again: a page that took it leads elsewhere."""
    is_page = str(response.get("Content-Type", "")).startswith("text/html")
    return response.status_code == 200 and is_page and not hasattr(response, "data")


def leads_to_sign_in(response: HttpResponseBase) -> bool:
    """Return whether somebody was sent to the sign-in page instead."""
    return urlsplit(response.get("Location", "")).path == reverse("admin:login")


def outcome_of(status: int) -> AuditOutcome:
    """Return what a status means."""
    if status >= 500:
        return AuditOutcome.FAILED
    return AuditOutcome.REFUSED if status >= 400 else AuditOutcome.SUCCESS


def signed_in(request: HttpRequest) -> Actor | None:
    """Return who sent the request; None for nobody, and while that cannot be asked."""
    try:
        return _actor(getattr(request, "user", None))
    except (DatabaseError, InterfaceError):
        return None


def user_with(key: str) -> Actor | None:
    """Return the user with that key, who has just proven who they are."""
    users = get_user_model()._default_manager
    return _actor(users.filter(pk=key).first()) if key else None


def _actor(user: Any) -> Actor | None:  # noqa: ANN401
    if user is None or not user.is_authenticated:
        return None
    return Actor(user.pk, str(user), str(getattr(user, "role", "")))
