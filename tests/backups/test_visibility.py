"""Who may see what."""

from __future__ import annotations

import pytest
from pytest_django import DjangoAssertNumQueries

from backups.actions import followups
from backups.models import Node, Site, Storage
from backups.queries import (
    backups_visible_to,
    follow_up_tasks_visible_to,
    jobs_visible_to,
    may_manage_site,
    may_manage_storage,
    nodes_visible_to,
    sites_visible_to,
    storages_visible_to,
)
from backups.queries.visibility import seen_among
from panel.accounts.models import User
from tests.backups.conftest import ended_job


@pytest.fixture
def people(
    super_admin: User, node_admin: User, site_admin: User, other_site: Site
) -> dict[str, User]:
    stranger = User.objects.create_user("stranger@example.com")
    return {"super": super_admin, "node": node_admin, "site": site_admin, "stranger": stranger}


def test_each_role_sees_what_the_contract_gives_it(
    people: dict[str, User], site: Site, other_site: Site, make_backup: object
) -> None:
    for one in (site, other_site):
        make_backup(one, job=ended_job(one))  # type: ignore[operator]
    everything, own, nothing = [site, other_site], [site], []
    expected = {"super": everything, "node": own, "site": own, "stranger": nothing}
    for name, sites in expected.items():
        user = people[name]
        ids = {one.pk for one in sites}
        assert {one.pk for one in sites_visible_to(user)} == ids, name
        assert {job.site_id for job in jobs_visible_to(user)} == ids, name
        assert {backup.site_id for backup in backups_visible_to(user)} == ids, name
    nodes = {name: nodes_visible_to(user).count() for name, user in people.items()}
    assert nodes == {"super": 2, "node": 1, "site": 0, "stranger": 0}


def test_many_are_asked_about_at_once_with_the_same_answer(
    people: dict[str, User],
    node_admin: User,
    site: Site,
    other_site: Site,
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    other_site.admins.add(node_admin)
    # Of no effect: a site admin has no nodes.
    site.node.admins.add(people["stranger"])
    people["gone"] = User.objects.create_superuser("gone@example.com")
    people["gone"].is_active = False
    asked = {(user, pk) for user in people.values() for pk in (site.pk, other_site.pk, 10**9)}
    with django_assert_num_queries(3):
        seen = seen_among(asked)
    each = {(user, pk) for user, pk in asked if sites_visible_to(user).filter(pk=pk).exists()}
    assert seen == {(user.pk, pk) for user, pk in each}
    assert len(seen) == 5


def test_nobody_sees_anything_when_disabled(people: dict[str, User], storage: Storage) -> None:
    for user in people.values():
        user.is_active = False
        assert not sites_visible_to(user).exists()
        assert not nodes_visible_to(user).exists()
        assert not storages_visible_to(user).exists()
        assert not may_manage_storage(user)


def test_rows_come_once_when_assigned_twice(node_admin: User, site: Site, node: Node) -> None:
    site.admins.add(node_admin)
    assert sites_visible_to(node_admin).count() == 1
    for _ in range(3):
        node.admins.add(User.objects.create_user(f"{User.objects.count()}@example.com"))
    assert sites_visible_to(node_admin).count() == 1


def test_only_the_nodes_admins_manage_a_site(people: dict[str, User], site: Site) -> None:
    managing = {name: may_manage_site(user, site) for name, user in people.items()}
    assert managing == {"super": True, "node": True, "site": False, "stranger": False}


def test_storages_can_be_chosen_by_whoever_adds_sites(
    people: dict[str, User], storage: Storage
) -> None:
    choosing = {name: storages_visible_to(user).count() for name, user in people.items()}
    assert choosing == {"super": 1, "node": 1, "site": 0, "stranger": 0}


def test_lists_are_their_owners_and_super_admins(
    super_admin: User, node_admin: User, site_admin: User
) -> None:
    """Whatever a person administers, somebody else's list is none of it."""
    tasks = [followups.add_task(user=user, title="x") for user in (node_admin, site_admin)]
    assert list(follow_up_tasks_visible_to(node_admin)) == tasks[:1]
    assert list(follow_up_tasks_visible_to(site_admin)) == tasks[1:]
    assert set(follow_up_tasks_visible_to(super_admin)) == set(tasks)
    for user in (super_admin, site_admin):
        user.is_active = False
        assert not follow_up_tasks_visible_to(user).exists()
