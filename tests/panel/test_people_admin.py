"""People in the admin: super admins manage; Django's permissions make nobody one."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission
from django.test import Client
from rest_framework.test import APIClient

from backups.models import Node, Site
from backups.roles import Role
from panel.accounts import tokens
from panel.accounts.models import SignIn, User
from tests.panel.conftest import PASSWORD

LIST = "/admin/accounts/user/"
NEW_PASSWORD = "an-uncommon-phrase"


@pytest.fixture
def site(db: None) -> Site:
    node = Node.objects.create(name="web-01", allowed_roots=["/srv"])
    return Site.objects.create(name="example.com", node=node, wp_path="/srv/example.com")


@pytest.fixture
def super_admin(db: None) -> User:
    return User.objects.create_superuser("super@example.com", PASSWORD)


@pytest.fixture
def helper(site: Site) -> User:
    """A node admin in the admin, with every permission that Django knows."""
    made = User.objects.create_user(
        "node@example.com", PASSWORD, role=Role.NODE_ADMIN, is_staff=True
    )
    made.user_permissions.set(Permission.objects.all())
    site.node.admins.add(made)
    return made


def browser_of(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def form_of(user: User, **changes: Any) -> dict[str, Any]:
    fields = {
        "email": user.email, "username": user.username or "", "full_name": user.full_name,
        "role": user.role, "is_active": "on", "is_staff": "on" if user.is_staff else "",
    }  # fmt: skip
    return {name: value for name, value in {**fields, **changes}.items() if value != ""}


def page(user: User) -> str:
    return f"{LIST}{user.pk}/change/"


def test_super_admin_adds_a_user(super_admin: User) -> None:
    form = {
        "email": "New@example.com", "username": "New", "full_name": "New", "role": "node_admin",
        "usable_password": "true", "password1": NEW_PASSWORD, "password2": NEW_PASSWORD,
    }  # fmt: skip
    assert browser_of(super_admin).post(f"{LIST}add/", form).status_code == 302
    made = User.objects.get(email="new@example.com")
    assert (made.username, made.role, made.is_superuser) == ("new", "node_admin", False)
    assert made.check_password(NEW_PASSWORD)


def test_super_admin_changes_role_and_assignments(
    super_admin: User, user: User, site: Site
) -> None:
    client = browser_of(super_admin)
    assert client.get(page(user)).status_code == 200
    changes = {"role": "super_admin", "assigned_sites": [site.pk], "assigned_nodes": [site.node_id]}
    assert client.post(page(user), form_of(user, **changes)).status_code == 302
    user.refresh_from_db()
    assert (user.role, user.is_superuser) == ("super_admin", True)
    assert (user.assigned_sites.get(), user.assigned_nodes.get()) == (site, site.node)
    form = form_of(user, role="site_admin", assigned_nodes=[site.node_id])
    assert client.post(page(user), form).status_code == 302
    user.refresh_from_db()
    assert (user.is_superuser, user.assigned_sites.count()) == (False, 0)


def test_deactivation_and_new_passwords_end_sign_ins(super_admin: User, user: User) -> None:
    client = browser_of(super_admin)
    tokens.issue(user)
    form = {"usable_password": "true", "password1": NEW_PASSWORD, "password2": NEW_PASSWORD}
    assert client.post(f"{LIST}{user.pk}/password/", form).status_code == 302
    assert SignIn.objects.get().end_reason == "password_changed"
    user.refresh_from_db()
    assert user.check_password(NEW_PASSWORD)
    tokens.issue(user)
    assert client.post(page(user), form_of(user, is_active="")).status_code == 302
    assert SignIn.objects.filter(ended_at=None).count() == 0
    form = {"usable_password": "false", "unset-password": "1"}
    assert client.post(f"{LIST}{user.pk}/password/", form).status_code == 302
    user.refresh_from_db()
    assert not user.has_usable_password()


def test_super_admin_cannot_remove_himself_or_the_last_one(super_admin: User, user: User) -> None:
    client = browser_of(super_admin)
    for form in (form_of(super_admin, role="site_admin"), form_of(super_admin, is_active="")):
        answer = client.post(page(super_admin), form, follow=True)
        assert "another super admin can" in answer.content.decode()
    chosen = {
        "action": "delete_selected",
        "post": "yes",
        "_selected_action": [user.pk, super_admin.pk],
    }
    answer = client.post(LIST, chosen, follow=True)
    assert "cannot delete yourself" in answer.content.decode()
    super_admin.refresh_from_db()
    assert (super_admin.role, super_admin.is_active) == ("super_admin", True)
    assert User.objects.count() == 2


def test_other_staff_sees_whom_the_api_shows_and_no_password(
    helper: User, super_admin: User, user: User, site: Site
) -> None:
    client = browser_of(helper)
    assert user.email not in client.get(LIST).content.decode()
    assert client.get(page(user)).status_code == 302
    site.admins.add(user)
    listed = client.get(LIST).content.decode()
    assert user.email in listed
    assert super_admin.email not in listed
    shown = client.get(page(user)).content.decode()
    assert user.email in shown
    assert "md5" not in shown
    assert "assigned_sites" not in shown


def test_other_staff_changes_nobody_whatever_django_permits(
    helper: User, user: User, site: Site
) -> None:
    site.admins.add(user)
    client, before = browser_of(helper), list(User.objects.order_by("pk").values())
    group = Group.objects.create(name="group")
    form = {"usable_password": "true", "password1": NEW_PASSWORD, "password2": NEW_PASSWORD}
    for one in (user, helper):
        wanted = form_of(one, role="super_admin", is_superuser="on", groups=[group.pk])
        assert client.post(page(one), wanted).status_code == 403
        assert client.post(f"{LIST}{one.pk}/password/", form).status_code == 403
        assert client.post(f"{LIST}{one.pk}/delete/", {"post": "yes"}).status_code == 403
    new = {"email": "x@example.com", "role": "super_admin", **form}
    assert client.post(f"{LIST}add/", new).status_code == 403
    chosen = {"action": "delete_selected", "post": "yes", "_selected_action": [user.pk]}
    client.post(LIST, chosen)
    assert client.post(f"/admin/auth/group/{group.pk}/change/", {"name": "x"}).status_code == 404
    assert list(User.objects.order_by("pk").values()) == before


def test_sign_ins_are_ended_by_super_admins_and_by_those_whose_they_are(
    helper: User, super_admin: User, user: User
) -> None:
    address = "/admin/accounts/signin/"
    token = tokens.issue(user)["access_token"]
    chosen = {"action": "end", "_selected_action": [str(SignIn.objects.get().pk)]}
    browser_of(helper).post(address, chosen)
    assert SignIn.objects.get().ended_at is None
    assert user.email not in browser_of(helper).get(address).content.decode()
    client = browser_of(super_admin)
    listed = client.get(address).content.decode()
    assert user.email in listed
    row = SignIn.objects.get()
    assert row.refresh_jti not in client.get(f"{address}{row.pk}/change/").content.decode()
    assert client.post(address, chosen).status_code == 302
    assert SignIn.objects.get().end_reason == "by_admin"
    bearer = {"authorization": f"Bearer {token}"}
    assert APIClient().get("/api/auth/me", headers=bearer).status_code == 401
