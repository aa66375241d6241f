"""Lock-out on sign-in. django-axes counts failures by user and address, in the database.

So somebody who guesses locks out nobody but himself, at whichever door: the API, the browsable
API's form and the admin's all go through `django.contrib.auth.authenticate`.
"""

from __future__ import annotations

import ipaddress
from typing import Any

from axes.handlers.database import AxesDatabaseHandler
from axes.models import AccessAttempt
from django.conf import settings
from django.contrib.auth import authenticate
from django.db.models import Max
from django.http import HttpRequest, HttpResponseBase, QueryDict
from django.shortcuts import render
from django.utils import timezone
from django.utils.crypto import salted_hmac
from rest_framework.exceptions import APIException

from backups.actions.deadlocks import again_after_deadlock
from backups.api.errors import json_error
from panel.accounts.models import User

CODE = "too_many_attempts"
SENTENCE = "Too many failed attempts to sign in. Try again in {minutes}."
_KEYS = "_holdfast_lock_keys"


class TooManyAttemptsError(APIException):
    """Somebody failed too often from one address; `wait` goes into `Retry-After`."""

    status_code = 429
    default_code = CODE

    def __init__(self, wait: int) -> None:
        super().__init__(_sentence(wait))
        self.wait = wait


def check_credentials(request: HttpRequest, *, name: str, password: str) -> User | None:
    """Return who has that name and password, None for nobody; a failure counts.

    Raises `TooManyAttemptsError`. An unknown name costs a hash, as a wrong password does.
    """
    user = authenticate(request, username=name, password=password)
    if getattr(request, "axes_locked_out", False):
        # Said here, so AxesMiddleware needs not say it in the place of our answer.
        request.axes_locked_out = False  # type: ignore[attr-defined]
        raise TooManyAttemptsError(seconds_left(request, {"username": name}))
    return user if isinstance(user, User) else None


class FailureHandler(AxesDatabaseHandler):  # type: ignore[misc]
    """Counts without keeping what was sent: a password may be in any field, also in a wrong one."""

    @again_after_deadlock
    def user_login_failed(
        self,
        sender: object,
        credentials: dict[str, Any],
        request: Any = None,  # noqa: ANN401
        **more: Any,  # noqa: ANN401
    ) -> None:
        """Count a failure (axes calls this)."""
        if request is None:
            return
        sent = request.GET, request.POST
        request.GET = request.POST = QueryDict()
        try:
            super().user_login_failed(sender, credentials, request, **more)
        finally:
            request.GET, request.POST = sent


def lock_key(request: HttpRequest, credentials: dict[str, Any] | None) -> str:
    """Return what failures are counted by: the user's e-mail address, whatever name was typed.

    So letters' case, blanks and the second name give nobody more tries. Of a name that is nobody's
    only a keyed hash is kept: people type passwords into that field.
    """
    given = credentials if credentials else request.POST
    name = str(given.get("username") or given.get("email") or "").strip().lower()
    keys: dict[str, str] = request.__dict__.setdefault(_KEYS, {})
    if name not in keys:
        try:
            keys[name] = User.objects.get_by_natural_key(name).email
        except User.DoesNotExist:
            keys[name] = salted_hmac("holdfast.sign-in", name, algorithm="sha256").hexdigest()
    return keys[name]


def client_address(request: HttpRequest) -> str | None:
    """Return the client's address; None where there is none, as behind a Unix socket.

    What proxies say of it has been looked at before, and only what trusted ones say.
    """
    address = request.META.get("REMOTE_ADDR", "")
    try:
        return str(ipaddress.ip_address(address))
    except ValueError:
        return None


def seconds_left(request: HttpRequest, credentials: dict[str, Any] | None) -> int:
    """Return how long the lock of this user at this address lasts."""
    rows = AccessAttempt.objects.filter(
        username=lock_key(request, credentials), ip_address=client_address(request)
    )
    newest = rows.aggregate(newest=Max("attempt_time"))["newest"]
    if newest is None:
        return 1
    left = newest + settings.AXES_COOLOFF_TIME - timezone.now()
    return max(1, int(left.total_seconds()) + 1)


def locked_out(request: HttpRequest, *_: Any) -> HttpResponseBase:  # noqa: ANN401
    """Return what a form says to somebody who is locked out (axes asks for it).

    Axes hands over more, but in another order when it runs asynchronously.
    """
    wait = seconds_left(request, getattr(request, "axes_credentials", None))
    headers = {"Retry-After": str(wait)}
    if request.path_info.startswith("/api/"):
        return json_error(429, _sentence(wait), CODE, headers)
    page = render(request, "panel/locked_out.html", {"sentence": _sentence(wait)}, status=429)
    page["Retry-After"] = str(wait)
    return page


def _sentence(wait: int) -> str:
    minutes = -(-wait // 60)
    return SENTENCE.format(minutes="a minute" if minutes == 1 else f"{minutes} minutes")
