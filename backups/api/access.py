"""What a request may touch: lists are filtered, a real object of others is 403, none is 404."""

from __future__ import annotations

from typing import Any, TypeVar, cast

from django.db.models import Model, Q, QuerySet
from rest_framework.exceptions import NotFound, PermissionDenied
from rest_framework.relations import PrimaryKeyRelatedField
from rest_framework.request import Request

from backups.errors import InvalidFieldError
from backups.models import Node
from backups.queries import nodes_visible_to, nodes_with_live_workers
from backups.roles import Person

Row = TypeVar("Row", bound=Model)


def person(request: Request) -> Person:
    """Return who asks; only for views that nobody anonymous gets to."""
    return cast(Person, request.user)


def visible_or_refused(visible: QuerySet[Row], key: object) -> Row:
    """Return the row with that key; raises 403 if it is not among `visible`, 404 if none is."""
    row = visible.filter(pk=key).first()
    if row is not None:
        return row
    if visible.model._default_manager.filter(pk=key).exists():
        raise PermissionDenied
    raise NotFound


def require(allowed: bool, sentence: str) -> None:
    """Raise 403 with the sentence unless allowed."""
    if not allowed:
        raise PermissionDenied(sentence)


def chosen_node(user: Person, node_id: int | None) -> Node:
    """Return the node that the user named, or their only one."""
    visible = nodes_visible_to(user)
    if node_id is not None:
        return visible_or_refused(visible, node_id)
    nodes = list(visible[:2])
    require(bool(nodes), "You have no node to do this on.")
    if len(nodes) > 1:
        raise InvalidFieldError("node_id", "There are several nodes; name one.")
    return nodes[0]


def live_node(user: Person, node_id: int | None) -> Node | None:
    """Return the node that the user named, or any of theirs that somebody works on now."""
    visible = nodes_visible_to(user)
    if node_id is not None:
        return visible_or_refused(visible, node_id)
    return visible.filter(pk__in=nodes_with_live_workers().values("pk")).first()


class VisibleKeyField(PrimaryKeyRelatedField[Any]):
    """A reference to a row that the user may see; to another one it is 403, to none 400.

    `visible_to` returns what a user may see; forms list just that.
    """

    def __init__(self, **options: Any) -> None:  # noqa: ANN401
        self.visible_to = options.pop("visible_to", None)
        if self.visible_to is not None:
            options["queryset"] = Node.objects.none()
        super().__init__(**options)

    def get_queryset(self) -> QuerySet[Any]:
        """Return what the user of this request may refer to, and what is referred to already."""
        request = self.context.get("request")
        if request is None:
            return Node.objects.none()
        rows: QuerySet[Any] = self.visible_to(person(request))
        row = getattr(self.parent, "instance", None)
        if not isinstance(row, Model):
            return rows
        kept = Q(pk=getattr(row, f"{self.source}_id"))
        allowed: QuerySet[Any] = rows.model._default_manager.filter(
            Q(pk__in=rows.values("pk")) | kept
        )
        return allowed

    def to_internal_value(self, data: Any) -> Any:  # noqa: ANN401
        """Return the row that was named."""
        rows = self.get_queryset()
        is_key = isinstance(data, int | str) and not isinstance(data, bool) and str(data).isdigit()
        if is_key and not rows.filter(pk=data).exists():
            require(not rows.model._default_manager.filter(pk=data).exists(), "Not yours to use.")
        return super().to_internal_value(data)
