"""POST /api/auth/register and its alias."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from django.db import connection
from rest_framework.test import APIClient

from backups.errors import InvalidFieldError
from backups.models import Node, Site
from panel.accounts import actions
from panel.accounts.models import User

GOOD = {"email": "New@Example.com ", "password": "an-uncommon-phrase", "full_name": "New"}


@pytest.fixture(params=["/api/auth/register", "/api/v1/auth/register"])
def url(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(autouse=True)
def is_open(settings: Any) -> None:
    settings.HOLDFAST_REGISTRATION_OPEN = True


def test_site_admin_without_sites_is_made_when_registration_is_open(
    url: str, client: APIClient, db: None
) -> None:
    answer = client.post(url, GOOD)
    assert answer.status_code == 201, answer.content
    login = {"email": "new@example.com", "password": GOOD["password"]}
    token = client.post("/api/auth/login", login).json()["access_token"]
    me = client.get("/api/auth/me", headers={"authorization": f"Bearer {token}"}).json()
    assert answer.json() == me
    assert (me["email"], me["role"], me["full_name"]) == ("new@example.com", "site_admin", "New")
    assert (me["assigned_nodes"], me["assigned_sites"], me["is_verified"]) == ([], [], False)


def test_registration_is_refused_when_it_is_switched_off(
    url: str, client: APIClient, settings: Any, db: None
) -> None:
    settings.HOLDFAST_REGISTRATION_OPEN = False
    answer = client.post(url, GOOD)
    assert (answer.status_code, answer.json()["code"]) == (403, "registration_closed")
    assert not User.objects.exists()


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"password": "12345678901"}, "password"),
        ({"password": "password"}, "password"),
        ({"password": "short-1"}, "password"),
        ({"password": "new@example.com"}, "password"),
        ({"password": "Newton Newman", "full_name": "Newton Newman"}, "password"),
        ({"email": "nobody"}, "email"),
        ({"email": "ada@example.com"}, "email"),
        ({"email": " ADA@Example.com"}, "email"),
        ({"email": None}, "email"),
    ],
)
def test_field_is_named_when_it_cannot_be(
    change: dict[str, Any], field: str, url: str, client: APIClient, user: User
) -> None:
    answer = client.post(url, {**GOOD, **change})
    assert (answer.status_code, list(answer.json()["errors"])) == (400, [field])
    assert User.objects.count() == 1


def test_nothing_takes_effect_that_is_not_for_the_sender_to_say(
    url: str, client: APIClient, db: None
) -> None:
    node = Node.objects.create(name="web-01", allowed_roots=["/srv"])
    site = Site.objects.create(name="example.com", node=node, wp_path="/srv/example.com")
    more = {
        "role": "super_admin", "is_staff": True, "is_superuser": True, "is_verified": True,
        "assigned_sites": [site.pk], "assigned_nodes": [node.pk], "id": 1, "username": "root",
    }  # fmt: skip
    client.post(url, {**GOOD, **more})
    for made in User.objects.all():
        assert (made.role, made.username) == ("site_admin", None)
        assert not (made.is_staff or made.is_superuser or made.is_verified)
    assert not site.admins.exists()
    assert not node.admins.exists()


@pytest.mark.django_db(transaction=True)
def test_one_gets_the_address_when_many_register_it_at_once(db: None) -> None:
    barrier, outcomes = threading.Barrier(6), []

    def register() -> None:
        barrier.wait()
        try:
            actions.add_user(email="new@example.com", password="an-uncommon-phrase")
            outcomes.append("made")
        except InvalidFieldError as error:
            outcomes.append(error.field)
        finally:
            connection.close()

    threads = [threading.Thread(target=register) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(outcomes) == ["email"] * 5 + ["made"]
