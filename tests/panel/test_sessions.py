"""Sign-ins: attacks on tokens, logout, rotation, replays and races, stream tickets on the API."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import jwt
import pytest
from django.conf import settings
from django.db import connection
from django.db.models.functions import Now
from django.test import Client
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.test import APIClient

from panel.accounts import actions, sign_ins, tokens
from panel.accounts.models import EndOfSignIn, SignIn, User
from tests.panel.conftest import PASSWORD

ME, LOGOUT, REFRESH, TICKET = (
    f"/api/auth/{name}" for name in ("me", "logout", "refresh", "stream-ticket")
)


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


def is_good(client: APIClient, token: str) -> bool:
    answer = client.get(ME, headers=bearer(token))
    if answer.status_code == 401:
        assert answer.json().keys() == {"detail", "code", "request_id"}
        assert answer["WWW-Authenticate"].startswith("Bearer")
    return bool(answer.status_code == 200)


def refreshes(client: APIClient, token: str) -> bool:
    return bool(client.post(REFRESH, {"refresh_token": token}).status_code == 200)


def encoded(claims: dict[str, Any], key: str | None = None, algorithm: str = "HS256") -> str:
    return jwt.encode(claims, settings.SECRET_KEY if key is None else key, algorithm=algorithm)


def edited(token: str, **changes: Any) -> str:
    """Return the token with another payload under the old signature."""
    head, body, signature = token.split(".")
    claims = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    text = json.dumps({**claims, **changes}).encode()
    return ".".join((head, base64.urlsafe_b64encode(text).rstrip(b"=").decode(), signature))


ATTACKS: dict[str, Callable[[dict[str, Any], str], str]] = {
    "no algorithm": lambda claims, _: encoded(claims, "", "none"),
    "another key": lambda claims, _: encoded(claims, "k" * 64),
    "another algorithm": lambda claims, _: encoded(claims, algorithm="HS512"),
    "another user edited in": lambda _, token: edited(token, user_id="2"),
    "another sign-in edited in": lambda _, token: edited(token, sid="0" * 32),
    "no signature": lambda _, token: token.rpartition(".")[0] + ".",
    "expired": lambda claims, _: encoded({**claims, "exp": claims["iat"] - 1}),
    "another issuer": lambda claims, _: encoded({**claims, "iss": "somebody"}),
    "another type": lambda claims, _: encoded({**claims, "token_type": "ticket"}),
    "no sign-in": lambda claims, _: encoded({k: v for k, v in claims.items() if k != "sid"}),
    "a sign-in that is none": lambda claims, _: encoded({**claims, "sid": "x"}),
    "somebody else's sign-in": lambda claims, _: encoded({**claims, "user_id": "999"}),
    "no expiry": lambda claims, _: encoded({k: v for k, v in claims.items() if k != "exp"}),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_token_is_refused_when_it_was_made_with(attack: str, client: APIClient, user: User) -> None:
    token = tokens.issue(user)["access_token"]
    claims = jwt.decode(token, options={"verify_signature": False})
    # The means work: the same claims, signed as ours are, are good.
    assert is_good(client, encoded(claims))
    assert not is_good(client, ATTACKS[attack](claims, token))


def test_bearer_check_costs_one_query(user: User, django_assert_num_queries: Any) -> None:
    token = tokens.issue(user)["access_token"]
    with django_assert_num_queries(1):
        assert tokens.user_of_access_token(token)[0] == user


def test_both_tokens_are_dead_at_once_after_logout(client: APIClient, user: User) -> None:
    mine, other = tokens.issue(user), tokens.issue(user)
    answer = client.post(LOGOUT, {}, headers=bearer(mine["access_token"]))
    assert (answer.status_code, answer.json()["success"]) == (200, True)
    assert not is_good(client, mine["access_token"])
    assert not refreshes(client, mine["refresh_token"])
    assert is_good(client, other["access_token"])


def test_logout_ends_the_named_sign_in_as_well_but_only_ones_own(
    client: APIClient, user: User
) -> None:
    bob = User.objects.create_user("bob@example.com", PASSWORD)
    mine, second, bobs = tokens.issue(user), tokens.issue(user), tokens.issue(bob)
    third = tokens.issue(user)
    for body, caller in ((second, mine), (bobs, third)):
        sent = {"refresh_token": body["refresh_token"]}
        answer = client.post(LOGOUT, sent, headers=bearer(caller["access_token"]))
        assert answer.status_code == 200
    assert not refreshes(client, second["refresh_token"])
    assert is_good(client, bobs["access_token"])


def test_session_is_over_after_logout(user: User) -> None:
    browser = Client()
    browser.force_login(user)
    assert browser.post(LOGOUT, {}, content_type="application/json").status_code == 200
    assert browser.get(ME).status_code == 401


def test_session_needs_its_csrf_token_for_logout(user: User) -> None:
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(user)
    assert browser.post(LOGOUT, {}, content_type="application/json").status_code == 403


def test_all_sign_ins_end_when_the_password_changes(client: APIClient, user: User) -> None:
    body = tokens.issue(user)
    actions.change_user(user=user, changed_by=None, password="an-uncommon-phrase")
    assert not is_good(client, body["access_token"])
    assert not refreshes(client, body["refresh_token"])
    assert SignIn.objects.get().end_reason == EndOfSignIn.PASSWORD_CHANGED


def test_tokens_stay_dead_when_a_deactivated_user_is_active_again(
    client: APIClient, user: User
) -> None:
    body = tokens.issue(user)
    actions.change_user(user=user, changed_by=None, is_active=False)
    assert not is_good(client, body["access_token"])
    actions.change_user(user=user, changed_by=None, is_active=True)
    assert not is_good(client, body["access_token"])
    assert not refreshes(client, body["refresh_token"])


def test_refresh_token_rotates(client: APIClient, user: User) -> None:
    first = tokens.issue(user)
    second = client.post(REFRESH, {"refresh_token": first["refresh_token"]}).json()
    assert second["refresh_token"] != first["refresh_token"]
    assert is_good(client, second["access_token"])
    assert refreshes(client, second["refresh_token"])


def test_second_tab_is_only_refused_when_it_comes_a_moment_later(
    client: APIClient, user: User
) -> None:
    first = tokens.issue(user)["refresh_token"]
    second = tokens.renew(first)
    assert not refreshes(client, first)
    assert is_good(client, second["access_token"])


def test_sign_in_ends_when_a_replaced_token_is_shown_later(client: APIClient, user: User) -> None:
    first = tokens.issue(user)["refresh_token"]
    second = tokens.renew(first)
    SignIn.objects.update(rotated_at=Now() - timedelta(seconds=11))
    assert not refreshes(client, first)
    assert not is_good(client, second["access_token"])
    assert not refreshes(client, second["refresh_token"])
    assert SignIn.objects.get().end_reason == EndOfSignIn.REPLAYED


def test_sign_in_ends_when_a_token_from_before_the_previous_is_shown(
    client: APIClient, user: User
) -> None:
    first = tokens.issue(user)["refresh_token"]
    third = tokens.renew(tokens.renew(first)["refresh_token"])
    assert not refreshes(client, first)
    assert not is_good(client, third["access_token"])


@pytest.mark.django_db(transaction=True)
def test_one_wins_when_many_refresh_at_once(user: User) -> None:
    token = tokens.issue(user)["refresh_token"]
    barrier, won = threading.Barrier(8), []

    def renew() -> None:
        barrier.wait()
        try:
            won.append(tokens.renew(token))
        except AuthenticationFailed:
            pass
        finally:
            connection.close()

    threads = [threading.Thread(target=renew) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(won) == 1
    assert SignIn.objects.get().ended_at is None


def test_no_token_is_in_the_database(user: User) -> None:
    body = tokens.issue(user)
    stored = str(list(SignIn.objects.values_list()))
    for token in (body["access_token"], body["refresh_token"]):
        assert all(part not in stored for part in token.split("."))


def test_sign_in_says_from_where_and_with_what(client: APIClient, user: User) -> None:
    body = {"email": user.email, "password": PASSWORD}
    headers = {"user-agent": "x" * 500, "x-forwarded-for": "203.0.113.7"}
    client.post("/api/auth/login", body, headers=headers)
    row = SignIn.objects.get()
    assert (row.address, row.user_agent) == ("127.0.0.1", "x" * 200)


def test_old_sign_ins_are_forgotten_when_their_user_signs_in_again(user: User) -> None:
    for _ in range(3):
        tokens.issue(user)
    ended, unused, _ = SignIn.objects.order_by("pk")
    SignIn.objects.filter(pk=ended.pk).update(ended_at=Now() - timedelta(days=31))
    SignIn.objects.filter(pk=unused.pk).update(last_used_at=Now() - timedelta(days=45))
    tokens.issue(user)
    assert SignIn.objects.count() == 2
    assert sign_ins.forget_old_sign_ins() == 0


def test_ticket_comes_for_a_token_and_for_a_session_and_opens_no_route(
    client: APIClient, user: User
) -> None:
    browser = Client()
    browser.force_login(user)
    answers = [
        client.post(TICKET, headers=bearer(tokens.issue(user)["access_token"])),
        browser.post(TICKET),
    ]
    for answer in answers:
        assert (answer.status_code, answer.json()["expires_in"]) == (200, 60)
        assert answer["Cache-Control"] == "no-store"
        assert not is_good(client, answer.json()["ticket"])
    assert client.post(TICKET, headers=bearer(answers[0].json()["ticket"])).status_code == 401
