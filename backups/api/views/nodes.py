"""Nodes: list and one."""

from __future__ import annotations

from django.db.models import QuerySet
from rest_framework.generics import ListAPIView, RetrieveAPIView

from backups.api.access import person, visible_or_refused
from backups.api.serializers.nodes import NodeSerializer
from backups.models import Node
from backups.queries import nodes_visible_to, nodes_with_standing


class NodeList(ListAPIView[Node]):
    """The nodes that you may see."""

    serializer_class = NodeSerializer
    pagination_class = None

    def get_queryset(self) -> QuerySet[Node]:
        """Return the visible nodes and how they stand."""
        return nodes_with_standing(nodes_visible_to(person(self.request)))


class NodeDetail(RetrieveAPIView[Node]):
    """One node."""

    serializer_class = NodeSerializer

    def get_object(self) -> Node:
        """Return the node; raises 403 or 404."""
        visible = nodes_with_standing(nodes_visible_to(person(self.request)))
        node: Node = visible_or_refused(visible, self.kwargs["node_id"])
        return node
