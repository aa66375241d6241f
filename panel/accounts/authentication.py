"""Who asks, by an access token: its signature, its sign-in, its user, and their password."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.core.exceptions import ValidationError
from drf_spectacular.contrib.rest_framework_simplejwt import SimpleJWTScheme
from rest_framework_simplejwt.authentication import JWTAuthentication
from rest_framework_simplejwt.exceptions import AuthenticationFailed, InvalidToken
from rest_framework_simplejwt.settings import api_settings
from rest_framework_simplejwt.utils import get_md5_hash_password

from panel.accounts.models import SignIn, User

if TYPE_CHECKING:
    from rest_framework_simplejwt.tokens import Token

SIGN_IN_CLAIM = "sid"


class SignInAuthentication(JWTAuthentication):
    """An access token is good as long as its sign-in goes on, not only until it expires."""

    def get_user(self, validated_token: Token) -> User:  # type: ignore[override]
        """Return the user, with one query; raises `AuthenticationFailed`.

        That is for a token without a sign-in, of one that has ended, of somebody who is disabled,
        and for one from before the password changed.
        """
        sign_in = _sign_in_of(validated_token)
        if sign_in is None:
            raise InvalidToken("The token belongs to no sign-in.")
        user = sign_in.user
        if not user.is_active:
            raise AuthenticationFailed("This user is disabled.", code="user_inactive")
        claimed = validated_token.get(api_settings.REVOKE_TOKEN_CLAIM)
        if claimed != get_md5_hash_password(user.password):
            raise AuthenticationFailed(
                "The password has been changed; sign in again.", code="password_changed"
            )
        if sign_in.ended_at is not None:
            raise AuthenticationFailed(
                "This sign-in has ended; sign in again.", code="token_not_valid"
            )
        return user


def _sign_in_of(token: Token) -> SignIn | None:
    """Return the sign-in that the token names, if it is one of the user whom it names."""
    sign_in_id: Any = token.get(SIGN_IN_CLAIM)
    user_id: Any = token.get(api_settings.USER_ID_CLAIM)
    if not sign_in_id or not user_id:
        return None
    try:
        return SignIn.objects.select_related("user").filter(pk=sign_in_id, user=user_id).first()
    except (ValueError, TypeError, ValidationError):
        return None


class SignInScheme(SimpleJWTScheme):  # type: ignore[no-untyped-call]
    """How the schema shows it: as simplejwt's own."""

    target_class = "panel.accounts.authentication.SignInAuthentication"
    name = "jwtAuth"
