"""POST /api/auth/refresh and its alias."""

from __future__ import annotations

import pytest
from rest_framework.test import APIClient
from rest_framework_simplejwt.tokens import AccessToken, RefreshToken

from panel.accounts import tokens
from panel.accounts.models import User


@pytest.fixture(params=["/api/auth/refresh", "/api/v1/auth/refresh"])
def url(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def refused(client: APIClient, url: str, token: str) -> bool:
    answer = client.post(url, {"refresh_token": token})
    assert answer["WWW-Authenticate"].startswith("Bearer")
    return (answer.status_code, answer.json()["code"]) == (401, "token_not_valid")


def test_new_access_token_comes_when_the_refresh_token_is_good(
    url: str, client: APIClient, user: User
) -> None:
    answer = client.post(url, {"refresh_token": tokens.issue(user)["refresh_token"]})
    assert answer.status_code == 200
    bearer = {"authorization": f"Bearer {answer.json()['access_token']}"}
    assert client.get("/api/v1/users/me", headers=bearer).status_code == 200


def test_token_is_refused_when_it_is_no_refresh_token(
    url: str, client: APIClient, user: User
) -> None:
    for wrong in ("x", "a.b.c", str(AccessToken.for_user(user))):
        assert refused(client, url, wrong), wrong


def test_token_is_refused_when_it_has_expired(url: str, client: APIClient, user: User) -> None:
    token = RefreshToken.for_user(user)
    token.set_exp(lifetime=-token.lifetime)
    assert refused(client, url, str(token))


def test_token_is_refused_when_its_user_changed_gone_or_disabled(
    url: str, client: APIClient, user: User
) -> None:
    token = tokens.issue(user)["refresh_token"]
    User.objects.update(is_active=False)
    assert refused(client, url, token)
    User.objects.update(is_active=True)
    user.set_password("another-fine-password")
    user.save()
    assert refused(client, url, token)
    token = tokens.issue(user)["refresh_token"]
    user.delete()
    assert refused(client, url, token)


def test_refresh_token_opens_nothing_else(url: str, client: APIClient, user: User) -> None:
    bearer = {"authorization": f"Bearer {tokens.issue(user)['refresh_token']}"}
    assert client.get("/api/auth/me", headers=bearer).status_code == 401
