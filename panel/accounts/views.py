"""Sign-in."""

from __future__ import annotations

from typing import Any

from django.contrib.auth import authenticate
from django.contrib.auth.signals import user_logged_in
from drf_spectacular.utils import extend_schema
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.generics import GenericAPIView
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response

from backups.api.serializers.common import ErrorBody
from panel.accounts import tokens
from panel.accounts.models import User
from panel.accounts.serializers import (
    LoginSerializer,
    RefreshSerializer,
    TokensBody,
    UserSerializer,
)


class SignInView(GenericAPIView[Any]):
    """A route that gives out credentials, so it asks for none: an old token does not matter."""

    authentication_classes: list[Any] = []
    permission_classes = [AllowAny]

    def get_authenticate_header(self, request: Request) -> str:
        """Name the scheme all the same: without it a refusal would read 403."""
        return 'Bearer realm="api"'


class Login(SignInView):
    """Sign in by e-mail and password."""

    serializer_class = LoginSerializer

    @extend_schema(request=LoginSerializer, responses={200: TokensBody, 401: ErrorBody}, auth=[])
    def post(self, request: Request) -> Response:
        """Return tokens. An unknown user and a wrong password look alike and take as long."""
        serializer = self.get_serializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        given = serializer.validated_data
        email = given.get("email") or given["username"]
        user = authenticate(request, username=email.strip(), password=given["password"])
        if not isinstance(user, User):
            raise AuthenticationFailed(
                "Unknown e-mail address or wrong password.", code="invalid_credentials"
            )
        user_logged_in.send(sender=User, request=request._request, user=user)
        meta = request.META
        return Response(
            tokens.issue(
                user,
                address=meta.get("REMOTE_ADDR") or None,
                user_agent=meta.get("HTTP_USER_AGENT", ""),
            )
        )


class Refresh(SignInView):
    """Get a new access token."""

    serializer_class = RefreshSerializer

    @extend_schema(request=RefreshSerializer, responses={200: TokensBody, 401: ErrorBody}, auth=[])
    def post(self, request: Request) -> Response:
        """Return new tokens; the refresh token that was sent is good no more."""
        serializer = self.get_serializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        return Response(tokens.renew(serializer.validated_data["refresh_token"]))


class Me(GenericAPIView[Any]):
    """Who you are."""

    serializer_class = UserSerializer

    @extend_schema(responses=UserSerializer)
    def get(self, request: Request) -> Response:
        """Return the user who asks."""
        return Response(self.get_serializer(request.user).data)
