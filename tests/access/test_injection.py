"""Paths and headers that are meant for something else than they say."""

from __future__ import annotations

from typing import Any

import pytest

from tests.access.conftest import World

ODD_PATHS = (
    "/api/v1/sites/..%2f..%2fadmin/",
    "/api/v1/sites/%00",
    "/api/v1/sites/1%00",
    "/api/v1/sites/1%0d%0aSet-Cookie:x=y",
    "/api/v1/sites/1;admin=true",
    "/api/v1//sites/",
    "//evil.example/api/v1/sites/",
    "/api/v1/sites/" + "9" * 400,
    "/api/v1/sites/-1",
    "/api/v1/jobs/%F0%9F%92%A9",
    "/api/v1/sites/?ordering=node__credential_hash",
    "/api/v1/sites/?ordering=db_password",
    "/api/v1/jobs?site_id=1%20OR%201=1",
    "/api/v1/users/?ordering=password&search=%27%22%3B--",
)
HEADERS: tuple[dict[str, str], ...] = (
    {"x-forwarded-for": "10.0.0.1", "x-forwarded-host": "evil.example"},
    {"x-http-method-override": "DELETE"},
    {"x-request-id": "a\tb"},
    {"x-request-id": "x" * 5000},
    {"accept": "text/evil;q=oops"},
    {"accept": "*"},
    {"origin": "https://evil.example"},
    {"referer": "javascript:alert(1)"},
)


def require_sane(answer: Any) -> None:
    assert answer.status_code < 500, answer.content
    location = answer.get("Location", "")
    assert not location.startswith(("//", "http://evil", "https://evil")), location
    assert "Set-Cookie" not in answer
    assert "evil.example" not in str(dict(answer.items()))


@pytest.mark.parametrize("path", ODD_PATHS)
@pytest.mark.parametrize("who", ["super", "anonymous"])
def test_odd_path_ends_in_a_plain_refusal_or_an_empty_list(
    path: str, who: str, world: World
) -> None:
    answer = world.clients[who].get(path)
    require_sane(answer)
    assert b"credential_hash" not in answer.content
    assert b'password":"' not in answer.content.replace(b" ", b"")


@pytest.mark.parametrize("headers", HEADERS)
def test_header_changes_nothing_but_what_it_is_for(headers: dict[str, str], world: World) -> None:
    path = world.path("/api/v1/sites/{site_id}")
    answer = world.clients["super"].get(path, headers=headers)
    require_sane(answer)
    assert len(answer["X-Request-ID"]) == 32
    assert "Access-Control-Allow-Origin" not in answer
    assert world.clients["super"].get(path).status_code == 200


def test_token_in_the_query_of_an_ordinary_route_is_none(world: World) -> None:
    shown = world.clients["super"]._credentials["HTTP_AUTHORIZATION"].partition(" ")[2]
    answer = world.clients["anonymous"].get(f"/api/v1/sites/?token={shown}")
    assert answer.status_code == 401


def test_credential_of_a_host_signs_nobody_in(world: World) -> None:
    client = world.clients["anonymous"]
    answer = client.get("/api/v1/sites/", headers={"authorization": "Node x"})
    assert answer.status_code == 401
