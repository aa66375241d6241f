"""Who may see what. This is the one place that decides it."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, TypeVar

from django.contrib.auth import get_user_model
from django.db.models import Model, Q, QuerySet

from backups.models import (
    AuditEntry,
    Backup,
    FollowUpTask,
    Job,
    JobEvent,
    Node,
    Site,
    Stage,
    Storage,
)
from backups.roles import Person, Role

Row = TypeVar("Row", bound=Model)

_NOBODY = Q(pk__in=())
_NODE_ADMINS = Node.admins.through._default_manager
_SITE_ADMINS = Site.admins.through._default_manager


def _sees_everything(user: Person) -> bool:
    """Return whether no condition is needed: one that holds for all rows costs an index."""
    return user.is_active and user.role == Role.SUPER_ADMIN


def _sites_of(user: Person) -> Q:
    """Return the condition on sites; a node admin's own sites count as well."""
    if not user.is_active:
        return _NOBODY
    assigned = _SITE_ADMINS.filter(user=user.pk).values("site")
    if user.role == Role.SITE_ADMIN:
        return Q(pk__in=assigned)
    if user.role != Role.NODE_ADMIN:
        return _NOBODY
    # As lists: MariaDB reads every site when two subqueries are joined by OR.
    nodes = _NODE_ADMINS.filter(user=user.pk).values_list("node", flat=True)
    return Q(node__in=list(nodes)) | Q(pk__in=list(assigned.values_list("site", flat=True)))


def sites_visible_to(user: Person) -> QuerySet[Site]:
    """Return the sites that the user may see and back up."""
    return Site.objects.all() if _sees_everything(user) else Site.objects.filter(_sites_of(user))


def seen_among(wanted: Collection[tuple[Person, int]]) -> set[tuple[Any, int]]:
    """Return which of these people may see which of these sites, as `sites_visible_to` says.

    Pairs of ids: three queries, where that would be several for each of the people.
    """
    people = {user.pk: user for user, _ in wanted if user.is_active}
    nodes = dict(Site.objects.filter(pk__in={site for _, site in wanted}).values_list("pk", "node"))
    keepers = [pk for pk, user in people.items() if user.role == Role.NODE_ADMIN]
    own = [*keepers, *(pk for pk, user in people.items() if user.role == Role.SITE_ADMIN)]
    assigned = _SITE_ADMINS.filter(user__in=own, site__in=nodes.keys())
    kept = _NODE_ADMINS.filter(user__in=keepers, node__in=set(nodes.values()))
    by_site = set(assigned.values_list("user", "site"))
    by_node = set(kept.values_list("user", "node"))
    return {
        (user.pk, site)
        for user, site in wanted
        if site in nodes
        and (
            _sees_everything(user)
            or (user.pk, site) in by_site
            or (user.pk, nodes[site]) in by_node
        )
    }


def nodes_visible_to(user: Person) -> QuerySet[Node]:
    """Return the nodes that the user may see and manage."""
    if _sees_everything(user):
        return Node.objects.all()
    if not user.is_active or user.role != Role.NODE_ADMIN:
        return Node.objects.none()
    return Node.objects.filter(pk__in=_NODE_ADMINS.filter(user=user.pk).values("node"))


def jobs_visible_to(user: Person) -> QuerySet[Job]:
    """Return the jobs of the sites that the user may see."""
    return _of_visible(Job.objects.all(), "site__in", user)


def backups_visible_to(user: Person) -> QuerySet[Backup]:
    """Return the backups of the sites that the user may see."""
    return _of_visible(Backup.objects.all(), "site__in", user)


def stages_visible_to(user: Person) -> QuerySet[Stage]:
    """Return the stages of the jobs that the user may see."""
    return _of_visible(Stage.objects.all(), "job__site__in", user)


def events_visible_to(user: Person) -> QuerySet[JobEvent]:
    """Return the log of the jobs that the user may see."""
    return _of_visible(JobEvent.objects.all(), "job__site__in", user)


def _of_visible(rows: QuerySet[Row], site: str, user: Person) -> QuerySet[Row]:
    return rows if _sees_everything(user) else rows.filter(**{site: sites_visible_to(user)})


def task_owners_visible_to(user: Person) -> QuerySet[Any]:
    """Return the people whose to-do lists the user may read and write."""
    people: QuerySet[Any] = get_user_model()._default_manager.all()
    if user.is_active and user.role == Role.SUPER_ADMIN:
        return people
    return people.filter(pk=user.pk) if user.is_active else people.none()


def follow_up_tasks_visible_to(user: Person) -> QuerySet[FollowUpTask]:
    """Return the tasks that the user may read and write: their own, a super admin any."""
    return FollowUpTask.objects.filter(user__in=task_owners_visible_to(user))


def responsible_for(site: Site) -> QuerySet[Any]:
    """Return the active people to whom the site or its node is assigned, else the super admins."""
    people: QuerySet[Any] = get_user_model()._default_manager.filter(is_active=True)
    of_site = Q(pk__in=site.admins.values("pk"))
    # A node that is assigned to a site admin is of no effect: they see nothing of it.
    of_node = Q(pk__in=site.node.admins.values("pk")) & ~Q(role=Role.SITE_ADMIN)
    assigned = people.filter(of_site | of_node)
    return assigned if assigned.exists() else people.filter(role=Role.SUPER_ADMIN)


def storages_visible_to(user: Person) -> QuerySet[Storage]:
    """Return the storages that the user may choose for a site; their secrets stay unread."""
    chooses = user.is_active and user.role in (Role.SUPER_ADMIN, Role.NODE_ADMIN)
    return (Storage.objects.all() if chooses else Storage.objects.none()).defer("secrets")


def audit_entries_visible_to(user: Person) -> QuerySet[AuditEntry]:
    """Return what the user did, and what was done to the nodes and sites that they may see.

    An entry says where its site was then: who had the node reads it on after a move.
    """
    if not user.is_active:
        return AuditEntry.objects.none()
    if user.role == Role.SUPER_ADMIN:
        return AuditEntry.objects.all()
    sites, nodes = sites_visible_to(user), nodes_visible_to(user)
    return AuditEntry.objects.filter(
        Q(actor=user.pk) | Q(site_id__in=sites.values("pk")) | Q(node_id__in=nodes.values("pk"))
    )


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


def users_visible_to(user: Person) -> QuerySet[Any]:
    """Return whom the user may see: a node admin the site admins of their nodes' sites, too."""
    their_sites = Site.objects.filter(node__admins=user.pk)
    of_their_sites = Q(role=Role.SITE_ADMIN, assigned_sites__in=their_sites.values("pk"))
    own = Q(pk=user.pk)
    conditions = {
        Role.SUPER_ADMIN: Q(),
        Role.NODE_ADMIN: own | of_their_sites,
        Role.SITE_ADMIN: own,
    }
    condition = conditions.get(Role(user.role), _NOBODY) if user.is_active else _NOBODY
    users: QuerySet[Any] = get_user_model()._default_manager.all()
    return users.filter(pk__in=users.filter(condition).values("pk"))


def may_manage_users(user: Person) -> bool:
    """Return whether the user may add, change and delete other users, and assign things to them."""
    return user.is_active and user.role == Role.SUPER_ADMIN


def may_read_metrics(user: Person) -> bool:
    """Return whether the user may read the figures of the whole installation."""
    return user.is_active and user.role == Role.SUPER_ADMIN
