"""`Authorization: Node <credential>`: a host that joined asks for its own settings."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import AnonymousUser
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework.authentication import BaseAuthentication, get_authorization_header
from rest_framework.exceptions import AuthenticationFailed, PermissionDenied
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.throttling import SimpleRateThrottle
from rest_framework.views import APIView

from backups.models import Node
from backups.queries.enrolment import node_with_credential

SCHEME = "Node"


class NodeAuthentication(BaseAuthentication):
    """Puts the node into `request.auth`; nobody is signed in by it."""

    def authenticate(self, request: Request) -> tuple[AnonymousUser, Node] | None:
        """Return the node; raises 401 for no node's credential, 403 for a disabled one's."""
        words = get_authorization_header(request).decode("latin-1").split()
        if len(words) != 2 or words[0].lower() != SCHEME.lower():
            return None
        node = node_with_credential(words[1])
        if node is None:
            raise AuthenticationFailed(
                "This is no node's credential, or the node was joined again since.",
                code="invalid_credentials",
            )
        if not node.is_enabled:
            raise PermissionDenied("This node is disabled.", code="node_disabled")
        return AnonymousUser(), node

    def authenticate_header(self, request: Request) -> str:
        """Return the challenge of a 401."""
        return f'{SCHEME} realm="api"'


class IsNode(BasePermission):
    """Only a host that joined."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        """Whether `NodeAuthentication` found its node."""
        return isinstance(request.auth, Node)


class HostThrottle(SimpleRateThrottle):
    """So many requests from one address; guessing is hopeless anyway, and must not cost much."""

    scope = "host"
    rate = "60/min"

    def get_cache_key(self, request: Request, view: APIView) -> str:
        """Count by the connection's address: what a header says of it, anybody can write."""
        return f"throttle_{self.scope}_{request.META.get('REMOTE_ADDR', '')}"


class NodeScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """How the schema shows it."""

    target_class = "backups.api.node_credential.NodeAuthentication"
    name = "nodeCredential"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:  # noqa: ANN401
        """Return the scheme; OpenAPI knows no other way to write a word of one's own."""
        return {"type": "apiKey", "in": "header", "name": "Authorization"}
