"""What the audit trail says of a body: the names in it, and never a value."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.exceptions import SuspiciousOperation
from django.http import HttpRequest
from django.http.multipartparser import MultiPartParserError
from django.http.request import RawPostDataException, UnreadablePostError

from backups.api.serializers.strict import OF_FORMS
from backups.queries import AuditedObject

FORMS = ("application/x-www-form-urlencoded", "multipart/form-data")
UNREADABLE = (
    RawPostDataException, UnreadablePostError, SuspiciousOperation, MultiPartParserError,
)  # fmt: skip


def keep_body(request: HttpRequest) -> None:
    """Read the body before the view does: it can be read only once otherwise."""
    # Where it cannot be read the view meets the same, and answers it.
    with suppress(*UNREADABLE):
        _ = request.body


def sent(request: HttpRequest) -> Mapping[str, Any]:
    """Return the fields of the body; nothing for one that cannot be read."""
    if not hasattr(request, "_body"):  # nobody has read it, and nobody shall any more
        return {}
    try:
        if request.content_type in FORMS and request.method == "POST":
            return {name: request.POST[name] for name in request.POST if name not in OF_FORMS}
        body = json.loads(request.body)
    except (ValueError, RecursionError, *UNREADABLE):
        return {}
    return body if isinstance(body, dict) else {}


def tried_name(fields: Mapping[str, Any]) -> str:
    """Return the name that somebody tried to sign in with."""
    name = fields.get("email") or fields.get("username") or ""
    return name.strip() if isinstance(name, str) else ""


def tried_user(name: str) -> AuditedObject:
    """Return the user of that name, or what tells the same wrong name again.

    People type passwords into the wrong field: a name that is nobody's is never written down, and
    without the panel's key nobody can try words against what is.
    """
    if not name:
        return AuditedObject("user")
    model = get_user_model()
    with suppress(model.DoesNotExist, ValueError):  # PostgreSQL's driver refuses a NUL
        known = model._default_manager.get_by_natural_key(name)
        return AuditedObject("user", str(known.pk), str(known))
    key = hashlib.sha256(f"audit:{settings.SECRET_KEY}".encode()).digest()
    digest = hmac.new(key, name.lower().encode("utf-8", "replace"), hashlib.sha256).hexdigest()
    return AuditedObject("user", "", f"nobody ({digest[:12]})")
