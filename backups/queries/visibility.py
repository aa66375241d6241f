"""Who may see what. This is the one place that decides it."""

from __future__ import annotations

from django.db.models import Q, QuerySet

from backups.models import Backup, Job, Node, Site, Storage
from backups.roles import Person, Role

_NOBODY = Q(pk__in=())


def _sites_of(user: Person) -> Q:
    """Return the condition on sites; a node admin's own sites count as well."""
    if not user.is_active:
        return _NOBODY
    assigned = Q(admins=user.pk)
    conditions = {
        Role.SUPER_ADMIN: Q(),
        Role.NODE_ADMIN: Q(node__admins=user.pk) | assigned,
        Role.SITE_ADMIN: assigned,
    }
    return conditions.get(Role(user.role), _NOBODY)


def sites_visible_to(user: Person) -> QuerySet[Site]:
    """Return the sites that the user may see and back up."""
    return Site.objects.filter(pk__in=Site.objects.filter(_sites_of(user)).values("pk"))


def nodes_visible_to(user: Person) -> QuerySet[Node]:
    """Return the nodes that the user may see and manage."""
    conditions = {Role.SUPER_ADMIN: Q(), Role.NODE_ADMIN: Q(admins=user.pk)}
    condition = conditions.get(Role(user.role), _NOBODY) if user.is_active else _NOBODY
    return Node.objects.filter(pk__in=Node.objects.filter(condition).values("pk"))


def jobs_visible_to(user: Person) -> QuerySet[Job]:
    """Return the jobs of the sites that the user may see."""
    return Job.objects.filter(site__in=sites_visible_to(user))


def backups_visible_to(user: Person) -> QuerySet[Backup]:
    """Return the backups of the sites that the user may see."""
    return Backup.objects.filter(site__in=sites_visible_to(user))


def storages_visible_to(user: Person) -> QuerySet[Storage]:
    """Return the storages that the user may choose for a site; their secrets stay unread."""
    chooses = user.is_active and user.role in (Role.SUPER_ADMIN, Role.NODE_ADMIN)
    return (Storage.objects.all() if chooses else Storage.objects.none()).defer("secrets")


def may_manage_site(user: Person, site: Site) -> bool:
    """Return whether the user may move, remove and rewire the site: its node is theirs.

    A site's own admins must not: with another path or database they could read what belongs to
    other sites of the host.
    """
    return nodes_visible_to(user).filter(pk=site.node_id).exists()


def may_manage_storage(user: Person) -> bool:
    """Return whether the user may add, change and test storages."""
    return user.is_active and user.role == Role.SUPER_ADMIN


def may_invite_hosts(user: Person) -> bool:
    """Return whether the user may let hosts join: such a host reads the whole database."""
    return user.is_active and user.role == Role.SUPER_ADMIN


def may_read_metrics(user: Person) -> bool:
    """Return whether the user may read the figures of the whole installation."""
    return user.is_active and user.role == Role.SUPER_ADMIN
