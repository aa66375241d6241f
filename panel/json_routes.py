"""Where programs ask, nobody is sent elsewhere: no slash is added, no sign-in page is shown."""

from __future__ import annotations

from urllib.parse import urlsplit

from django.db import DatabaseError, InterfaceError
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.middleware.common import CommonMiddleware
from django.urls import reverse

from backups.api.errors import json_error
from panel.errors import wants_json
from panel.proxies import GetResponse

CHALLENGE = 'Session realm="admin"'


class CommonChecks(CommonMiddleware):
    """Django's own, but for the redirect to an address with a slash."""

    def should_redirect_with_slash(self, request: HttpRequest) -> bool:
        """Return False where a program would lose its body by it."""
        return not wants_json(request.path_info) and super().should_redirect_with_slash(request)


class NoSignInPage:
    """Turns a redirect to a sign-in page into 401, or into 403 for who is signed in."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Look at the answer's address only."""
        response = self.get_response(request)
        target = urlsplit(response.get("Location", "")).path
        sign_in_pages = (reverse("admin:login"), reverse("sign-in"))
        if not wants_json(request.path_info) or target not in sign_in_pages:
            return response
        if _is_signed_in(request):
            return json_error(403, "You may not do this.", "permission_denied")
        sentence = "Sign in: there is no session, or it has expired."
        return json_error(401, sentence, "not_authenticated", {"WWW-Authenticate": CHALLENGE})


def _is_signed_in(request: HttpRequest) -> bool:
    try:
        return bool(request.user.is_authenticated)
    except (AttributeError, DatabaseError, InterfaceError):
        return False
