"""Lock-out on sign-in: at every door, by user and address, with nothing of the password kept."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from axes.models import AccessAttempt
from django.contrib.auth.hashers import MD5PasswordHasher
from django.db import connection
from django.test import Client
from django.utils import timezone
from rest_framework.test import APIClient

from panel.accounts.models import User
from tests.panel.conftest import PASSWORD

LIMIT = 5
API, FORM, ADMIN, PAGE = "/api/auth/login", "/api-auth/login/", "/admin/login/", "/sign-in/"


@pytest.fixture
def named(user: User) -> User:
    User.objects.filter(pk=user.pk).update(username="ada", is_staff=True)
    return User.objects.get(pk=user.pk)


def attempt(door: str, name: str, password: str, address: str = "192.0.2.1") -> Any:
    body = {"username": name, "password": password}
    if door == API:
        return APIClient(REMOTE_ADDR=address).post(door, body)
    return Client(REMOTE_ADDR=address).post(door, body)


def fail(door: str = API, name: str = "ada@example.com", times: int = LIMIT, **more: Any) -> Any:
    answers = [attempt(door, name, "wrong", **more) for _ in range(times)]
    return answers[-1]


@pytest.mark.parametrize("door", [API, FORM, ADMIN, PAGE])
def test_locked_out_at_every_door_when_failed_too_often_at_one(door: str, named: User) -> None:
    assert fail(door, times=LIMIT - 1).status_code in (200, 401)
    assert fail(door, times=1).status_code == 429
    for other in (API, FORM, ADMIN, PAGE):
        answer = attempt(other, "ada@example.com", PASSWORD)
        assert answer.status_code == 429, other
        assert 1 <= int(answer["Retry-After"]) <= 15 * 60 + 1
        if other == API:
            assert answer.json().keys() == {"detail", "code", "request_id"}
            assert answer.json()["code"] == "too_many_attempts"
        else:
            assert answer["Content-Type"].startswith("text/html")
            assert "Too many" in answer.content.decode()


def test_another_address_and_another_user_get_in_when_one_is_locked_out(named: User) -> None:
    User.objects.create_user("bob@example.com", PASSWORD)
    assert fail().status_code == 429
    assert attempt(API, "ada@example.com", PASSWORD, address="192.0.2.2").status_code == 200
    assert attempt(API, "bob@example.com", PASSWORD).status_code == 200


def test_spelling_gives_no_more_tries(named: User) -> None:
    for name in ("ada@example.com", " Ada@Example.com ", "ada", "ADA "):
        fail(name=name, times=1)
    assert fail(name="aDa", times=1).status_code == 429


def test_unknown_name_is_locked_out_as_a_known_one(named: User) -> None:
    known, unknown = fail(), fail(name="nobody@example.com")
    assert known.status_code == unknown.status_code
    told = [{**answer.json(), "request_id": ""} for answer in (known, unknown)]
    assert told[0] == told[1]


def test_failures_are_forgotten_when_somebody_signs_in(named: User) -> None:
    fail(times=LIMIT - 1)
    assert attempt(API, "ada", PASSWORD).status_code == 200
    assert fail(times=LIMIT - 1).status_code == 401


def test_lock_ends_by_itself_and_trying_on_makes_it_no_longer(named: User) -> None:
    fail()
    before = AccessAttempt.objects.get().attempt_time
    fail(times=2)
    assert AccessAttempt.objects.get().attempt_time == before
    AccessAttempt.objects.update(attempt_time=timezone.now() - timedelta(minutes=16))
    assert attempt(API, "ada@example.com", PASSWORD).status_code == 200


def test_no_hash_is_made_when_locked_out(named: User, monkeypatch: pytest.MonkeyPatch) -> None:
    fail()
    hashed: list[str] = []
    monkeypatch.setattr(MD5PasswordHasher, "encode", lambda _self, one, *_a: hashed.append(one))
    attempt(API, "ada@example.com", PASSWORD)
    assert hashed == []


@pytest.mark.parametrize("door", [API, FORM, ADMIN, PAGE])
def test_nothing_that_was_typed_is_kept_or_logged(
    door: str, named: User, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    sent = {"username": "s3cret-as-name", "password": "s3cret-word"}
    if not door.startswith("/api/"):  # which refuses a field that it does not know
        sent["pasword"] = "s3cret-slip"
    for _ in range(LIMIT + 1):
        Client().post(f"{door}?password=s3cret-query", sent)
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM axes_accessattempt")
        rows = str(cursor.fetchall())
    assert "192" in rows or "127" in rows
    assert "s3cret" not in rows
    ours = [one.getMessage() for one in caplog.records if one.name.startswith(("axes", "panel"))]
    assert ours
    assert "s3cret" not in "\n".join(ours)


def test_throttle_answers_in_our_shape_when_one_address_asks_too_often(db: None) -> None:
    client = APIClient()
    for _ in range(60):
        client.post("/api/auth/refresh", {"refresh_token": "x"})
    answer = client.post("/api/auth/refresh", {"refresh_token": "x"})
    assert (answer.status_code, answer.json()["code"]) == (429, "throttled")
    assert int(answer["Retry-After"]) > 0
    other = APIClient(REMOTE_ADDR="192.0.2.9")
    assert other.post("/api/auth/refresh", {"refresh_token": "x"}).status_code == 401
