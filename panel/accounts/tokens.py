"""Access and refresh tokens. They name the user and hold nothing secret."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import update_last_login
from rest_framework.exceptions import AuthenticationFailed
from rest_framework_simplejwt.authentication import JWTAuthentication
from rest_framework_simplejwt.exceptions import TokenError
from rest_framework_simplejwt.tokens import RefreshToken

from panel.accounts.models import User


def issue(user: User) -> dict[str, Any]:
    """Return new tokens for somebody who has just proven who they are."""
    update_last_login(User, user)
    return _body(RefreshToken.for_user(user))


def renew(text: str) -> dict[str, Any]:
    """Return a new access token for a refresh token.

    Raises `AuthenticationFailed` for one that is not ours, has expired, was issued before the
    password changed, or belongs to somebody who is gone or disabled.
    """
    try:
        refresh: Any = RefreshToken(text)  # type: ignore[arg-type]  # the stub wants a Token
        JWTAuthentication().get_user(refresh)
    except (TokenError, AuthenticationFailed) as error:
        raise AuthenticationFailed(
            "The refresh token is not valid (any more); sign in again.", code="token_not_valid"
        ) from error
    return _body(refresh)


def _body(refresh: RefreshToken) -> dict[str, Any]:
    return {
        "access_token": str(refresh.access_token),
        "token_type": "bearer",
        "refresh_token": str(refresh),
        "expires_in": int(refresh.access_token.lifetime.total_seconds()),
    }
