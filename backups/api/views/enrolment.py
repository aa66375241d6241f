"""How a host joins: a token for somebody who may give it, settings for the token."""

from __future__ import annotations

import ipaddress
from typing import Any

from django.conf import settings
from django.urls import get_script_prefix
from drf_spectacular.utils import extend_schema
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.generics import GenericAPIView
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response

from backups.actions import enrolment
from backups.api.access import person, require, visible_or_refused
from backups.api.node_credential import HostThrottle, IsNode, NodeAuthentication
from backups.api.serializers.common import ErrorBody
from backups.api.serializers.enrolment import (
    InvitationBody,
    InvitationRequest,
    JoinedBody,
    JoinRequest,
    NodeSelfBody,
)
from backups.errors import EnrolmentRefusedError
from backups.queries import may_invite_hosts, nodes_visible_to

UNCACHED = {"Cache-Control": "no-store"}


class NodeToken(GenericAPIView[Any]):
    """A token with which a host can join as the node, once."""

    serializer_class = InvitationRequest

    @extend_schema(
        request=InvitationRequest,
        responses={201: InvitationBody, 403: ErrorBody, 409: ErrorBody},
    )
    def post(self, request: Request, node_id: int) -> Response:
        """Make a token; the node's earlier ones end. Super admins only.

        A host that joins gets the database's password and the keys of all secrets.
        """
        user = person(request)
        node = visible_or_refused(nodes_visible_to(user), node_id)
        require(may_invite_hosts(user), "Only a super admin lets hosts join.")
        serializer = self.get_serializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        hours = serializer.validated_data["valid_hours"]
        invitation = enrolment.invite_host(node=node, valid_hours=hours, invited_by=user)
        panel = settings.HOLDFAST_PANEL_URL or _panel_url(request)
        command = f"manage.py node join --panel {panel} --token -"
        body = {
            "token": invitation.token,
            "expires_at": invitation.expires_at,
            "command": command,
        }
        return Response(InvitationBody(body).data, status=201, headers=UNCACHED)


class NodeJoin(GenericAPIView[Any]):
    """A host gives its token and gets its settings."""

    serializer_class = JoinRequest
    authentication_classes: list[Any] = []
    permission_classes = [AllowAny]
    throttle_classes = [HostThrottle]

    def get_authenticate_header(self, request: Request) -> str:
        """Name a scheme all the same: without it a refusal would read 403."""
        return 'Node realm="api"'

    @extend_schema(
        request=JoinRequest,
        responses={200: JoinedBody, 401: ErrorBody, 409: ErrorBody, 429: ErrorBody},
        auth=[],
    )
    def post(self, request: Request) -> Response:
        """Take the token and return the settings. Which refused token it was is told to nobody."""
        serializer = self.get_serializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        try:
            joined = enrolment.enrol_host(
                **serializer.validated_data, address=_address(request.META.get("REMOTE_ADDR"))
            )
        except EnrolmentRefusedError as error:
            raise AuthenticationFailed(error.message, code=error.code) from error
        body = {
            "node": joined.node,
            "settings": joined.settings,
            "credential": joined.credential,
        }
        return Response(JoinedBody(body).data, headers=UNCACHED)


class NodeSelf(GenericAPIView[Any]):
    """What a host that joined may ask for."""

    serializer_class = NodeSelfBody
    authentication_classes = [NodeAuthentication]
    permission_classes = [IsNode]
    throttle_classes = [HostThrottle]

    @extend_schema(responses={200: NodeSelfBody, 401: ErrorBody, 403: ErrorBody, 409: ErrorBody})
    def get(self, request: Request) -> Response:
        """Return the host's settings as they are now, after a password was changed for one."""
        node: Any = request.auth
        body = {"node": node, "settings": enrolment.settings_of_node(node)}
        return Response(NodeSelfBody(body).data, headers=UNCACHED)


def _panel_url(request: Request) -> str:
    """Return the panel's address as this request came to it, with the path that it lies below."""
    return str(request.build_absolute_uri(get_script_prefix())).rstrip("/")


def _address(text: str | None) -> str | None:
    """Return the address if it is one: behind a socket, a server has none to tell."""
    try:
        return str(ipaddress.ip_address(text or ""))
    except ValueError:
        return None
