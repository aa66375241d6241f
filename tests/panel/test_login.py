"""POST /api/auth/login and its alias."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from django.contrib.auth.hashers import BCryptSHA256PasswordHasher
from rest_framework.test import APIClient

from panel.accounts.models import User
from tests.panel.conftest import PASSWORD


@pytest.fixture(params=["/api/auth/login", "/api/v1/auth/login"])
def url(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(autouse=True)
def quick_passwords() -> None:
    """Hash passwords as production does."""


def claims(token: str) -> dict[str, Any]:
    payload = token.split(".")[1]
    return dict(json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4))))


@pytest.mark.parametrize("name", ["email", "username"])
@pytest.mark.parametrize("address", ["ada@example.com", "Ada@Example.COM", " ada@example.com "])
def test_tokens_come_when_the_password_is_right(
    name: str, address: str, url: str, client: APIClient, user: User
) -> None:
    answer = client.post(url, {name: address, "password": PASSWORD})
    assert answer.status_code == 200, answer.content
    body = answer.json()
    assert body.keys() == {"access_token", "token_type", "refresh_token", "expires_in"}
    assert (body["token_type"], body["expires_in"]) == ("bearer", 3600)
    bearer = {"authorization": f"Bearer {body['access_token']}"}
    assert client.get("/api/auth/me", headers=bearer).json()["email"] == "ada@example.com"
    user.refresh_from_db()
    assert user.last_login is not None


def test_answer_and_work_are_the_same_when_the_user_is_unknown_or_the_password_wrong(
    url: str, client: APIClient, user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed: list[str] = []
    encode = BCryptSHA256PasswordHasher.encode

    def counted(self: BCryptSHA256PasswordHasher, password: str, *args: Any, **kwargs: Any) -> str:
        hashed.append(password)
        return encode(self, password, *args, **kwargs)

    monkeypatch.setattr(BCryptSHA256PasswordHasher, "encode", counted)
    answers = [
        client.post(url, {"email": email, "password": "wrong"})
        for email in ("ada@example.com", "nobody@example.com")
    ]
    assert [answer.status_code for answer in answers] == [401, 401]
    bodies = [{**answer.json(), "request_id": ""} for answer in answers]
    assert bodies[0] == bodies[1]
    assert answers[0].json()["code"] == "invalid_credentials"
    assert answers[0]["WWW-Authenticate"].startswith("Bearer")
    assert hashed == ["wrong", "wrong"]


def test_sign_in_is_refused_when_the_user_is_disabled(
    url: str, client: APIClient, user: User
) -> None:
    User.objects.update(is_active=False)
    answer = client.post(url, {"email": user.email, "password": PASSWORD})
    assert (answer.status_code, answer.json()["code"]) == (401, "invalid_credentials")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"password": "x"}, "email"),
        ({"email": "ada@example.com"}, "password"),
        ({"email": "a\0b", "password": "x"}, "email"),
        ({"email": "ada@example.com", "password": "x" * 1001}, "password"),
        ({"email": ["ada@example.com"], "password": "x"}, "email"),
    ],
)
def test_field_is_named_when_it_is_missing_or_cannot_be(
    body: dict[str, Any], field: str, url: str, client: APIClient, db: None
) -> None:
    answer = client.post(url, body)
    assert (answer.status_code, list(answer.json()["errors"])) == (400, [field])


def test_old_token_does_not_matter_when_signing_in(url: str, client: APIClient, user: User) -> None:
    body = {"email": user.email, "password": PASSWORD}
    answer = client.post(url, body, headers={"authorization": "Bearer long.dead.token"})
    assert answer.status_code == 200


def test_tokens_hold_nothing_secret(url: str, client: APIClient, user: User) -> None:
    body = client.post(url, {"email": user.email, "password": PASSWORD}).json()
    for token in (body["access_token"], body["refresh_token"]):
        held = claims(token)
        names = {"token_type", "exp", "iat", "jti", "iss", "user_id", "hash_password", "sid"}
        assert held.keys() == names
        assert user.password not in json.dumps(held)
        assert PASSWORD not in json.dumps(held)
