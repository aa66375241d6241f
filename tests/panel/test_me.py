"""GET /api/auth/me and its aliases."""

from __future__ import annotations

import pytest
from rest_framework.test import APIClient

from backups.models import Node, Site
from panel.accounts import tokens
from panel.accounts.models import User


@pytest.mark.parametrize("url", ["/api/auth/me", "/api/v1/auth/me", "/api/v1/users/me"])
def test_every_field_of_the_contract_is_there(url: str, client: APIClient, user: User) -> None:
    node = Node.objects.create(name="web-01", allowed_roots=["/srv"])
    site = Site.objects.create(name="example.com", node=node, wp_path="/srv/example.com")
    node.admins.add(user)
    site.admins.add(user)
    bearer = {"authorization": f"Bearer {tokens.issue(user)['access_token']}"}
    body = client.get(url, headers=bearer).json()
    assert body.pop("created_at").endswith("Z")
    assert body == {
        "id": user.pk,
        "email": "ada@example.com",
        "username": None,
        "full_name": "Ada",
        "is_active": True,
        "is_verified": False,
        "role": "site_admin",
        "assigned_nodes": [node.pk],
        "assigned_sites": [site.pk],
    }


def test_access_token_is_dead_when_the_password_has_changed(client: APIClient, user: User) -> None:
    bearer = {"authorization": f"Bearer {tokens.issue(user)['access_token']}"}
    user.set_password("another-fine-password")
    user.save()
    answer = client.get("/api/auth/me", headers=bearer)
    assert (answer.status_code, answer.json()["code"]) == (401, "password_changed")


def test_session_signs_in_through_the_browsable_apis_form(client: APIClient, user: User) -> None:
    from tests.panel.conftest import PASSWORD

    form = {"username": "Ada@example.com", "password": PASSWORD}
    answer = client.post("/api-auth/login/", form, format="multipart")
    assert (answer.status_code, answer["Location"]) == (302, "/api/v1/sites/")
    assert client.get("/api/auth/me").status_code == 200
