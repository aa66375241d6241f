"""Nodes: list, one, change, scale, drain and resume. Whoever sees a node manages it."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework.generics import GenericAPIView, ListAPIView
from rest_framework.request import Request
from rest_framework.response import Response

from backups.actions import nodes
from backups.api.access import person, visible_or_refused
from backups.api.serializers.common import EmptyBody, ErrorBody, require_empty
from backups.api.serializers.nodes import (
    NodeChanges,
    NodeOrderedBody,
    NodeSerializer,
    ScaleSerializer,
)
from backups.models import Node
from backups.queries import nodes_visible_to, nodes_with_standing


def visible_node(request: Request, node_id: int) -> Node:
    """Return the node and how it stands; raises 403 or 404."""
    visible = nodes_with_standing(nodes_visible_to(person(request)))
    node: Node = visible_or_refused(visible, node_id)
    return node


class NodeList(ListAPIView[Node]):
    """The nodes that you may see."""

    serializer_class = NodeSerializer
    pagination_class = None

    def get_queryset(self) -> QuerySet[Node]:
        """Return the visible nodes and how they stand."""
        return nodes_with_standing(nodes_visible_to(person(self.request)))


class NodeDetail(GenericAPIView[Node]):
    """One node."""

    serializer_class = NodeChanges

    def get_object(self) -> Node:
        """Return the node; raises 403 or 404."""
        return visible_node(self.request, self.kwargs["node_id"])

    @extend_schema(responses=NodeSerializer)
    def get(self, request: Request, node_id: int) -> Response:
        """Return the node."""
        return Response(NodeSerializer(self.get_object()).data)

    @extend_schema(request=NodeChanges, responses={200: NodeSerializer, 400: ErrorBody})
    def patch(self, request: Request, node_id: int) -> Response:
        """Change a node's settings; what is left out stays.

        One that is not enabled gets no work, and its credential is of no use. Limits count from
        the next stage on.
        """
        serializer = self.get_serializer(self.get_object(), data=request.data, partial=True)
        serializer.is_valid(raise_exception=True)
        serializer.save()
        return Response(NodeSerializer(self.get_object()).data)


class NodeOrder(GenericAPIView[Any]):
    """What is ordered of a node; its workers see to it within seconds."""

    serializer_class: Any = EmptyBody

    def ordered(self, node: Node, message: str) -> Response:
        """Return 202 and the node as it stands now."""
        standing = nodes_with_standing(Node.objects.filter(pk=node.pk)).get()
        body = {"success": True, "message": message, "node": NodeSerializer(standing).data}
        return Response(body, status=202)


class NodeScale(NodeOrder):
    """How many stages the node runs at once, over all its workers."""

    serializer_class = ScaleSerializer

    @extend_schema(request=ScaleSerializer, responses={202: NodeOrderedBody, 400: ErrorBody})
    def post(self, request: Request, node_id: int) -> Response:
        """Let the node's workers grow or shrink; no running stage is ended for it.

        The number is the node's, so it stays over restarts.
        """
        node = visible_node(request, node_id)
        serializer = self.get_serializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        slots = serializer.validated_data["concurrency"]
        nodes.scale_node(node=node, slots=slots)
        return self.ordered(node, f"Stages at once on {node}: {slots}")


class NodeDrain(NodeOrder):
    """Take a node out of service gently."""

    @extend_schema(request=EmptyBody, responses={202: NodeOrderedBody})
    def post(self, request: Request, node_id: int) -> Response:
        """Let running stages end and no new one begin; what is left waits for a resume."""
        node = visible_node(request, node_id)
        require_empty(request)
        nodes.drain_node(node=node)
        return self.ordered(node, f"Draining {node}: running stages end, no new one begins")


class NodeResume(NodeOrder):
    """Take a drained node into service again."""

    @extend_schema(request=EmptyBody, responses={202: NodeOrderedBody})
    def post(self, request: Request, node_id: int) -> Response:
        """Let the node take stages again."""
        node = visible_node(request, node_id)
        require_empty(request)
        nodes.resume_node(node=node)
        return self.ordered(node, f"Resumed {node}: it takes stages again")
