"""Sign-in, sign-up, and what comes of them."""

from __future__ import annotations

import uuid
from typing import Any, cast

from django.conf import settings
from django.contrib.auth import logout
from django.contrib.auth.signals import user_logged_in, user_logged_out
from drf_spectacular.utils import extend_schema
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.generics import GenericAPIView
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response

from backups.api.serializers.common import EmptyBody, ErrorBody
from backups.roles import Role
from panel.accounts import actions, lockout, sign_ins, tokens
from panel.accounts.authentication import SIGN_IN_CLAIM
from panel.accounts.errors import RegistrationClosedError
from panel.accounts.models import EndOfSignIn, User
from panel.accounts.queries import with_everything_assigned
from panel.accounts.serializers import (
    LoginSerializer,
    LogoutSerializer,
    RefreshSerializer,
    RegisterSerializer,
    SignedOutBody,
    TicketBody,
    TokensBody,
    UserSerializer,
)
from panel.accounts.throttles import SignInThrottle

UNCACHED = {"Cache-Control": "no-store"}


class SignInView(GenericAPIView[Any]):
    """A route that gives out credentials, so it asks for none: an old token does not matter."""

    authentication_classes: list[Any] = []
    permission_classes = [AllowAny]
    throttle_classes = [SignInThrottle]

    def get_authenticate_header(self, request: Request) -> str:
        """Name the scheme all the same: without it a refusal would read 403."""
        return 'Bearer realm="api"'


class Register(SignInView):
    """Sign up, where the installation is open to it."""

    serializer_class = RegisterSerializer

    @extend_schema(
        request=RegisterSerializer,
        responses={201: UserSerializer, 400: ErrorBody, 403: ErrorBody, 429: ErrorBody},
        auth=[],
    )
    def post(self, request: Request) -> Response:
        """Make a site admin without any site: a super admin assigns some."""
        if not settings.HOLDFAST_REGISTRATION_OPEN:
            raise RegistrationClosedError("Nobody signs up here; ask an admin for an account.")
        serializer = self.get_serializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        given = serializer.validated_data
        user = actions.add_user(
            email=given["email"],
            password=given["password"],
            full_name=given.get("full_name", ""),
            role=Role.SITE_ADMIN,
        )
        return Response(UserSerializer(user).data, status=201)


class Login(SignInView):
    """Sign in by e-mail address or user name, and password."""

    serializer_class = LoginSerializer

    @extend_schema(
        request=LoginSerializer,
        responses={200: TokensBody, 400: ErrorBody, 401: ErrorBody, 429: ErrorBody},
        auth=[],
    )
    def post(self, request: Request) -> Response:
        """Return tokens. An unknown user and a wrong password look alike and take as long."""
        serializer = self.get_serializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        given = serializer.validated_data
        http = request._request
        name = given.get("email") or given["username"]
        user = lockout.check_credentials(http, name=name, password=given["password"])
        if user is None:
            raise AuthenticationFailed(
                "Unknown e-mail address or wrong password.", code="invalid_credentials"
            )
        # Django's own notice: the time is kept, and counted failures are forgotten.
        user_logged_in.send(sender=User, request=http, user=user)
        body = tokens.issue(
            user,
            address=lockout.client_address(http),
            user_agent=http.META.get("HTTP_USER_AGENT", ""),
        )
        return Response(body, headers=UNCACHED)


class Refresh(SignInView):
    """Get new tokens."""

    serializer_class = RefreshSerializer

    @extend_schema(
        request=RefreshSerializer,
        responses={200: TokensBody, 400: ErrorBody, 401: ErrorBody, 429: ErrorBody},
        auth=[],
    )
    def post(self, request: Request) -> Response:
        """Return new tokens; the refresh token that was sent is good no more.

        One that is sent again later ends the sign-in: somebody else has it as well.
        """
        serializer = self.get_serializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        body = tokens.renew(serializer.validated_data["refresh_token"])
        return Response(body, headers=UNCACHED)


class Logout(GenericAPIView[Any]):
    """Sign out."""

    serializer_class = LogoutSerializer

    @extend_schema(request=LogoutSerializer, responses={200: SignedOutBody, 400: ErrorBody})
    def post(self, request: Request) -> Response:
        """End this sign-in: its access token and its refresh token are dead at once."""
        serializer = self.get_serializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        user, http = signed_in_user(request), request._request
        other = serializer.validated_data.get("refresh_token")
        ended = {sign_in_of(request), tokens.sign_in_of_refresh_token(other) if other else None}
        for key in ended - {None}:
            sign_ins.end_sign_in(user=user, sign_in_id=key, reason=EndOfSignIn.SIGNED_OUT)  # type: ignore[arg-type]
        if sign_in_of(request) is None:
            logout(http)
        else:
            user_logged_out.send(sender=User, request=http, user=user)
        return Response({"success": True, "message": "Signed out"})


class StreamTicketView(GenericAPIView[Any]):
    """A ticket for a stream, since a browser can send a stream's request no header."""

    serializer_class = EmptyBody
    throttle_classes = [SignInThrottle]

    @extend_schema(request=None, responses={200: TicketBody, 429: ErrorBody})
    def post(self, request: Request) -> Response:
        """Return a ticket that opens one stream within a minute, and nothing else."""
        ticket = sign_ins.give_stream_ticket(
            user=signed_in_user(request), sign_in_id=sign_in_of(request)
        )
        body = {"ticket": ticket, "expires_in": sign_ins.TICKET_SECONDS}
        return Response(body, headers=UNCACHED)


class Me(GenericAPIView[Any]):
    """Who you are."""

    serializer_class = UserSerializer

    @extend_schema(responses=UserSerializer)
    def get(self, request: Request) -> Response:
        """Return the user who asks."""
        return Response(self.get_serializer(with_everything_assigned(signed_in_user(request))).data)


def signed_in_user(request: Request) -> User:
    """Return who asks; only for views that nobody anonymous gets to."""
    return cast(User, request.user)


def sign_in_of(request: Request) -> uuid.UUID | None:
    """Return the key of the sign-in that the request's token belongs to; None for a session."""
    token: Any = request.auth
    return None if token is None else uuid.UUID(token[SIGN_IN_CLAIM])
