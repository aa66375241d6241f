"""Users with what is assigned to them. Who sees whom is decided in `backups.queries`."""

from __future__ import annotations

from django.db.models import Prefetch, QuerySet, prefetch_related_objects

from backups.models import Node, Site
from backups.queries import nodes_visible_to, sites_visible_to, users_visible_to
from panel.accounts.models import User


def users_shown_to(viewer: User) -> QuerySet[User]:
    """Return the users that the viewer may see, each with the visible part of what they have."""
    nodes, sites = nodes_visible_to(viewer), sites_visible_to(viewer)
    users: QuerySet[User] = users_visible_to(viewer)
    return users.prefetch_related(*_assigned(nodes, sites))


def with_everything_assigned(user: User) -> User:
    """Return the user with all that is assigned: what people see of themselves."""
    prefetch_related_objects([user], *_assigned(Node.objects.all(), Site.objects.all()))
    return user


def _assigned(nodes: QuerySet[Node], sites: QuerySet[Site]) -> list[Prefetch[str]]:
    # The keys alone: a site's secrets stay unread.
    return [
        Prefetch("assigned_nodes", nodes.only("pk")),
        Prefetch("assigned_sites", sites.only("pk")),
    ]
