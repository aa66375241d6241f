"""Access and refresh tokens. They name the user and the sign-in, and hold nothing secret."""

from __future__ import annotations

import uuid
from typing import Any

from rest_framework.exceptions import AuthenticationFailed
from rest_framework_simplejwt.exceptions import TokenError
from rest_framework_simplejwt.tokens import RefreshToken

from panel.accounts import sign_ins
from panel.accounts.authentication import SIGN_IN_CLAIM, SignInAuthentication
from panel.accounts.models import User


def issue(user: User, *, address: str | None = None, user_agent: str = "") -> dict[str, Any]:
    """Return new tokens for somebody who has just proven who they are; begins a sign-in."""
    refresh = RefreshToken.for_user(user)
    sign_in = sign_ins.begin_sign_in(
        user=user, jti=refresh["jti"], address=address, user_agent=user_agent
    )
    return _body(refresh, sign_in.pk)


def renew(text: str) -> dict[str, Any]:
    """Return new tokens for a refresh token, which is good no more afterwards.

    Raises `AuthenticationFailed` for one that is not ours, has expired or was used before, of a
    sign-in that has ended, from before the password changed, or of somebody who is gone or
    disabled. One that was used before ends its sign-in (see `sign_ins.rotate_sign_in`).
    """
    try:
        old: Any = RefreshToken(text)  # type: ignore[arg-type]  # the stub wants a Token
        user = SignInAuthentication().get_user(old)
    except (TokenError, AuthenticationFailed) as error:
        raise _refused() from error
    sign_in_id, refresh = uuid.UUID(old[SIGN_IN_CLAIM]), RefreshToken.for_user(user)
    if not sign_ins.rotate_sign_in(sign_in_id=sign_in_id, jti=old["jti"], next_jti=refresh["jti"]):
        raise _refused()
    return _body(refresh, sign_in_id)


def user_of_access_token(text: str) -> tuple[User, uuid.UUID]:
    """Return the user of a raw access token, and the key of its sign-in.

    Raises `AuthenticationFailed` as a request with that token would.
    """
    authentication = SignInAuthentication()
    token = authentication.get_validated_token(text.encode("utf-8", "replace"))
    return authentication.get_user(token), uuid.UUID(token[SIGN_IN_CLAIM])


def sign_in_of_refresh_token(text: str) -> uuid.UUID | None:
    """Return the sign-in that a refresh token of ours names, whether or not it goes on."""
    try:
        token: Any = RefreshToken(text)  # type: ignore[arg-type]  # the stub wants a Token
        return uuid.UUID(str(token[SIGN_IN_CLAIM]))
    except (TokenError, KeyError, ValueError):
        return None


def _refused() -> AuthenticationFailed:
    return AuthenticationFailed(
        "The refresh token is not valid (any more); sign in again.", code="token_not_valid"
    )


def _body(refresh: RefreshToken, sign_in_id: uuid.UUID) -> dict[str, Any]:
    refresh[SIGN_IN_CLAIM] = str(sign_in_id)
    access = refresh.access_token
    return {
        "access_token": str(access),
        "token_type": "bearer",
        "refresh_token": str(refresh),
        "expires_in": int(access.lifetime.total_seconds()),
    }
