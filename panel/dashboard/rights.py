"""Whether a stream may be opened, and whether an open one may go on."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from django.contrib.sessions.models import Session
from django.utils import timezone
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework.authentication import (
    BaseAuthentication,
    SessionAuthentication,
    get_authorization_header,
)
from rest_framework.exceptions import NotAuthenticated
from rest_framework.request import Request

from backups.queries.visibility import seen_among
from panel.accounts.models import User
from panel.accounts.stream_access import StreamRight, still_streaming, stream_right

CHECK_SECONDS = 5.0
IN_THE_URL = ("ticket", "token")


class StreamAuthentication(BaseAuthentication):
    """A ticket or an access token, in the URL, since EventSource sends no header; or in one."""

    def authenticate(self, request: Request) -> tuple[User, StreamRight] | None:
        """Return who asks; None if the request shows neither. A ticket is used up by this."""
        credential = next(
            (value for name in IN_THE_URL if (value := request.query_params.get(name))), ""
        )
        words = get_authorization_header(request).decode("latin-1").split()
        if not credential and len(words) == 2 and words[0].lower() == "bearer":
            credential = words[1]
        if not credential:
            return None
        right = stream_right(credential)
        return right.user, right

    def authenticate_header(self, request: Request) -> str:
        """Return the challenge of a 401."""
        return 'Bearer realm="api"'


class StaffSession(SessionAuthentication):
    """A session of the admin; without one it is 401, where DRF's own would make it 403."""

    def authenticate_header(self, request: Request) -> str:
        """Return the challenge of a 401."""
        return 'Session realm="admin"'


@dataclass(frozen=True, slots=True)
class Viewer:
    """Who watches a site. `session_key` is empty for who did not come with a session.

    Without a site it is a list that the role decides: another role is to open another list.
    """

    right: StreamRight
    site_id: int | None
    session_key: str = ""
    role: str = ""
    must_be_staff: bool = False


def viewer_of(request: Request, site_id: int | None, *, must_be_staff: bool = False) -> Viewer:
    """Return who opens a stream with this request."""
    if isinstance(request.auth, StreamRight):
        return Viewer(request.auth, site_id)
    user: Any = request.user
    if not isinstance(user, User):
        raise NotAuthenticated
    right = StreamRight(user, None, user.get_session_auth_hash())
    session_key = request._request.session.session_key or ""
    return Viewer(right, site_id, session_key, user.role, must_be_staff)


def still_allowed(viewers: Collection[Viewer]) -> set[Viewer]:
    """Return which open streams may go on: six queries at most, however many they are."""
    keys = {viewer.session_key for viewer in viewers} - {""}
    rows = Session.objects.filter(session_key__in=keys, expire_date__gt=timezone.now())
    sessions = {"", *(rows.values_list("session_key", flat=True) if keys else ())}
    users = still_streaming({viewer.right for viewer in viewers})
    here = [
        (viewer, users[viewer.right])
        for viewer in viewers
        if viewer.right in users and viewer.session_key in sessions
    ]
    of_sites = [(user, viewer.site_id) for viewer, user in here if viewer.site_id is not None]
    seen = seen_among(of_sites)
    return {
        viewer
        for viewer, user in here
        if (user.is_staff or not viewer.must_be_staff)
        and (
            user.role == viewer.role
            if viewer.site_id is None
            else (user.pk, viewer.site_id) in seen
        )
    }


class StreamScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """How the schema shows it."""

    target_class = "panel.dashboard.rights.StreamAuthentication"
    name = "streamCredential"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:  # noqa: ANN401
        """Return the scheme."""
        return {"type": "apiKey", "in": "query", "name": "token"}
