"""The routes of users: who sees whom, who changes what, and that somebody is always left."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from rest_framework.test import APIClient

from backups.errors import DomainError
from backups.models import Node, Site
from backups.roles import Role
from panel.accounts import actions, tokens
from panel.accounts.models import SignIn, User
from tests.panel.conftest import PASSWORD

USERS = "/api/v1/users/"
NEW_PASSWORD = "an-uncommon-phrase"


@pytest.fixture
def people(db: None) -> dict[str, User]:
    """A super admin, the admins of two nodes, and the admins of the site on each."""
    made = {"super": User.objects.create_superuser("super@example.com", PASSWORD)}
    for number in (1, 2):
        node = Node.objects.create(name=f"web-{number}", allowed_roots=["/srv"])
        site = Site.objects.create(name=f"site-{number}", node=node, wp_path=f"/srv/{number}")
        for role, row in ((Role.NODE_ADMIN, node), (Role.SITE_ADMIN, site)):
            name = f"{role.partition('_')[0]}{number}"
            made[name] = User.objects.create_user(f"{name}@example.com", PASSWORD, role=role)
            row.admins.add(made[name])
    return made


def client_of(user: User) -> APIClient:
    client = APIClient(raise_request_exception=False)
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {tokens.issue(user)['access_token']}")
    return client


def url(user: User, rest: str = "") -> str:
    return f"{USERS}{user.pk}{rest}"


VISIBLE = {
    "super": {"super", "node1", "node2", "site1", "site2"},
    "node1": {"node1", "site1"},
    "site1": {"site1"},
}


@pytest.mark.parametrize("viewer", VISIBLE)
def test_each_sees_just_whom_they_may(viewer: str, people: dict[str, User]) -> None:
    client = client_of(people[viewer])
    body = client.get(USERS).json()
    assert body.keys() == {"count", "next", "previous", "results"}
    assert {one["email"].partition("@")[0] for one in body["results"]} == VISIBLE[viewer]
    for name, user in people.items():
        for rest in ("", "/nodes", "/sites"):
            status = client.get(url(user, rest)).status_code
            assert status == (200 if name in VISIBLE[viewer] else 403), (name, rest)
    for rest in ("", "/nodes", "/sites"):
        assert client.get(f"{USERS}999{rest}").status_code == 404


def test_node_admin_sees_of_a_site_admin_only_what_is_on_their_nodes(
    people: dict[str, User],
) -> None:
    one, two = Site.objects.order_by("name")
    two.admins.add(people["site1"])
    Node.objects.get(name="web-2").admins.add(people["site1"])
    client = client_of(people["node1"])
    body = client.get(url(people["site1"])).json()
    assert (body["assigned_sites"], body["assigned_nodes"]) == ([one.pk], [])
    assert client.get(url(people["site1"], "/sites")).json()["results"] == [
        {"id": one.pk, "name": "site-1"}
    ]
    assert client.get(url(people["site1"], "/nodes")).json()["count"] == 0


@pytest.mark.parametrize("viewer", ["node1", "site1"])
def test_only_super_admins_write(viewer: str, people: dict[str, User]) -> None:
    client = client_of(people[viewer])
    before = list(User.objects.order_by("pk").values())
    new = {"email": "x@example.com", "role": "super_admin", "password": NEW_PASSWORD}
    assert client.post(USERS, new).status_code == 403
    for user in people.values():
        for field, value in (
            *(("role", "super_admin"), ("is_active", False), ("is_staff", True)),
            *(("email", "x@example.com"), ("username", "x"), ("is_verified", True)),
        ):
            assert client.patch(url(user), {field: value}).status_code == 403, field
        assert client.delete(url(user)).status_code == 403
        for kind in ("node", "site"):
            for method in (client.post, client.put, client.delete):
                body = {f"{kind}_ids": [1]}
                assert method(url(user, f"/{kind}s"), body).status_code == 403
    if viewer != "site1":
        assert client.patch(url(people["site1"]), {"full_name": "X"}).status_code == 403
    assert list(User.objects.order_by("pk").values()) == before
    assert Site.objects.get(name="site-2").admins.get() == people["site2"]


def test_super_admin_adds_a_user_who_can_sign_in_by_user_name(people: dict[str, User]) -> None:
    client = client_of(people["super"])
    body = {
        "email": "New@Example.com", "username": "New.One", "full_name": "New", "is_staff": True,
        "role": "node_admin", "password": NEW_PASSWORD,
    }  # fmt: skip
    answer = client.post(USERS, body)
    assert answer.status_code == 201, answer.content
    shown = answer.json()
    assert (shown["email"], shown["username"]) == ("new@example.com", "new.one")
    assert (shown["role"], shown["is_staff"], "password" in shown) == ("node_admin", True, False)
    for name in ("NEW.one", " new.one ", "new@example.com"):
        for field in ("email", "username"):
            sent = {field: name, "password": NEW_PASSWORD}
            assert APIClient().post("/api/auth/login", sent).status_code == 200, (field, name)


@pytest.mark.parametrize(
    ("role", "is_staff"), [("super_admin", True), ("node_admin", True), ("site_admin", False)]
)
def test_who_opens_the_dashboard_follows_from_the_role_when_nobody_says(
    role: str, is_staff: bool, people: dict[str, User]
) -> None:
    client = client_of(people["super"])
    shown = client.post(USERS, {"email": "new@example.com", "role": role}).json()
    assert shown["is_staff"] is is_staff
    explicit = {"email": "other@example.com", "role": role, "is_staff": not is_staff}
    assert client.post(USERS, explicit).json()["is_staff"] is not is_staff
    other = "site_admin" if is_staff else "node_admin"
    changed = client.patch(f"{USERS}{shown['id']}", {"role": other}).json()
    assert changed["is_staff"] is not is_staff


def test_user_without_a_password_cannot_sign_in_by_one(people: dict[str, User]) -> None:
    body = {"email": "new@example.com", "role": "site_admin"}
    assert client_of(people["super"]).post(USERS, body).status_code == 201
    assert not User.objects.get(email="new@example.com").has_usable_password()


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"email": "SITE1@example.com"}, "email"),
        ({"username": "a@b"}, "username"),
        ({"username": "site1@example.com"}, "username"),
        ({"username": "a b"}, "username"),
        ({"username": "TAKEN"}, "username"),
        ({"role": "root"}, "role"),
        ({"password": "12345678901"}, "password"),
    ],
)
def test_field_is_named_when_it_cannot_be(
    change: dict[str, Any], field: str, people: dict[str, User]
) -> None:
    User.objects.filter(pk=people["node2"].pk).update(username="taken")
    client = client_of(people["super"])
    body = {"email": "new@example.com", "role": "site_admin", **change}
    for answer in (client.post(USERS, body), client.patch(url(people["node1"]), change)):
        assert (answer.status_code, list(answer.json()["errors"])) == (400, [field])


def test_many_have_no_user_name(people: dict[str, User]) -> None:
    client = client_of(people["super"])
    assert client.patch(url(people["site1"]), {"username": "one"}).json()["username"] == "one"
    assert client.patch(url(people["site1"]), {"username": None}).json()["username"] is None
    assert User.objects.filter(username=None).count() == len(people)


def test_role_and_djangos_flag_say_the_same(people: dict[str, User]) -> None:
    client = client_of(people["super"])
    for role, flag in (("super_admin", True), ("node_admin", False)):
        assert client.patch(url(people["site1"]), {"role": role}).status_code == 200
        assert User.objects.get(pk=people["site1"].pk).is_superuser is flag


def test_password_of_another_changes_and_ends_their_sign_ins(people: dict[str, User]) -> None:
    theirs = client_of(people["site1"])
    answer = client_of(people["super"]).patch(url(people["site1"]), {"password": NEW_PASSWORD})
    assert answer.status_code == 200
    assert theirs.get("/api/auth/me").status_code == 401
    assert User.objects.get(pk=people["site1"].pk).check_password(NEW_PASSWORD)


@pytest.mark.parametrize("name", ["super", "node1", "site1"])
def test_own_password_changes_only_with_the_current_one(name: str, people: dict[str, User]) -> None:
    client, me = client_of(people[name]), url(people[name])
    for current in ({}, {"current_password": "wrong"}):
        answer = client.patch(me, {"password": NEW_PASSWORD, **current})
        assert (answer.status_code, list(answer.json()["errors"])) == (400, ["current_password"])
    body = {"password": NEW_PASSWORD, "current_password": PASSWORD, "full_name": "Me"}
    answer = client.patch(me, body)
    assert (answer.status_code, answer.json()["full_name"]) == (200, "Me")
    assert client.get("/api/auth/me").status_code == 401


def test_guessing_the_current_password_is_locked_out(people: dict[str, User]) -> None:
    client, me = client_of(people["site1"]), url(people["site1"])
    body = {"password": NEW_PASSWORD, "current_password": "wrong"}
    answers = [client.patch(me, body) for _ in range(5)]
    assert (answers[-1].status_code, answers[-1].json()["code"]) == (429, "too_many_attempts")
    assert int(answers[-1]["Retry-After"]) > 0


def test_deactivated_users_token_is_dead_at_once(people: dict[str, User]) -> None:
    theirs = client_of(people["site1"])
    client_of(people["super"]).patch(url(people["site1"]), {"is_active": False})
    assert theirs.get("/api/auth/me").status_code == 401
    assert SignIn.objects.get(user=people["site1"]).end_reason == "deactivated"


def test_nobody_takes_their_own_rights_away(people: dict[str, User]) -> None:
    User.objects.create_superuser("second@example.com", PASSWORD)
    client, me = client_of(people["super"]), url(people["super"])
    for answer in (
        client.delete(me),
        client.patch(me, {"role": "site_admin"}),
        client.patch(me, {"is_active": False}),
    ):
        assert (answer.status_code, answer.json()["code"]) == (409, "own_account")
    assert client.get("/api/auth/me").json()["role"] == "super_admin"


def test_last_active_super_admin_stays(people: dict[str, User]) -> None:
    second = User.objects.create_superuser("second@example.com", PASSWORD)
    User.objects.filter(pk=second.pk).update(is_active=False)
    for act in (
        lambda: actions.delete_user(user=people["super"], deleted_by=second),
        lambda: actions.change_user(user=people["super"], changed_by=None, role=Role.SITE_ADMIN),
        lambda: actions.change_user(user=people["super"], changed_by=second, is_active=False),
    ):
        with pytest.raises(DomainError) as caught:
            act()
        assert caught.value.code == "last_super_admin"


REMOVALS: dict[str, Callable[[User, User], object]] = {
    "delete": lambda user, by: actions.delete_user(user=user, deleted_by=by),
    "demote": lambda user, by: actions.change_user(user=user, changed_by=by, role="site_admin"),
    "deactivate": lambda user, by: actions.change_user(user=user, changed_by=by, is_active=False),
}


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("removal", REMOVALS)
def test_one_is_left_when_two_super_admins_remove_each_other(removal: str, db: None) -> None:
    one, two = (User.objects.create_superuser(f"{n}@example.com", PASSWORD) for n in "ab")
    barrier, refused = threading.Barrier(2), []

    def remove(user: User, by: User) -> None:
        barrier.wait()
        try:
            REMOVALS[removal](user, by)
        except DomainError as error:
            refused.append(error.code)
        finally:
            connection.close()

    threads = [threading.Thread(target=remove, args=pair) for pair in ((one, two), (two, one))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert User.objects.filter(role=Role.SUPER_ADMIN, is_active=True).count() == 1
    assert refused == ["last_super_admin"]


def test_super_admin_deletes_a_user(people: dict[str, User]) -> None:
    client = client_of(people["super"])
    assert client.delete(url(people["site1"])).status_code == 204
    assert client.get(url(people["site1"])).status_code == 404
    assert Site.objects.count() == 2


@pytest.mark.parametrize(("kind", "model"), [("node", Node), ("site", Site)])
def test_assignments_are_added_replaced_and_taken_away(
    kind: str, model: Any, people: dict[str, User]
) -> None:
    client, user = client_of(people["super"]), people["node1" if kind == "node" else "site1"]
    address, field = url(user, f"/{kind}s"), f"{kind}_ids"
    one, two = model.objects.order_by("name").values_list("pk", flat=True)
    assert client.post(address, {field: [two]}).json() == {field: [one, two]}
    assert client.post(address, {field: [two, two]}).json() == {field: [one, two]}
    names = [row["name"] for row in client.get(address).json()["results"]]
    assert names == sorted(model.objects.values_list("name", flat=True))
    assert client.delete(address, {field: [one]}).json() == {field: [two]}
    assert client.put(address, {field: [one]}).json() == {field: [one]}
    assert client.put(address, {field: []}).json() == {field: []}


@pytest.mark.parametrize("method", ["post", "put", "delete"])
def test_nothing_is_assigned_when_an_id_does_not_exist(
    method: str, people: dict[str, User]
) -> None:
    client, address = client_of(people["super"]), url(people["site1"], "/sites")
    two = Site.objects.get(name="site-2").pk
    answer = getattr(client, method)(address, {"site_ids": [two, 998, 999]})
    assert answer.status_code == 400
    assert answer.json()["errors"] == {"site_ids": ["There is no site 998, 999."]}
    assert people["site1"].assigned_sites.get().name == "site-1"
    for wrong in ({}, {"site_ids": 1}, {"site_ids": ["x"]}, {"site_ids": [2**70]}):
        answer = getattr(client, method)(address, wrong)
        assert (answer.status_code, "errors" in answer.json()) == (400, True), wrong


def test_assigned_site_can_be_reached_at_once(people: dict[str, User]) -> None:
    theirs, two = client_of(people["site1"]), Site.objects.get(name="site-2").pk
    status = f"/api/v1/sites/{two}/backup/status"
    assert theirs.get(status).status_code == 403
    address = url(people["site1"], "/sites")
    client_of(people["super"]).post(address, {"site_ids": [two]})
    assert theirs.get(status).status_code == 200


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("role=node_admin", ["node1", "node2"]),
        ("is_active=false", ["site2"]),
        ("search=site1", ["site1"]),
        ("ordering=-email&limit=2", ["super", "site2"]),
        ("limit=1&offset=1", ["node2"]),
    ],
)
def test_list_is_filtered_searched_ordered_and_paged(
    query: str, names: list[str], people: dict[str, User]
) -> None:
    User.objects.filter(pk=people["site2"].pk).update(is_active=False)
    body = client_of(people["super"]).get(f"{USERS}?{query}").json()
    assert [one["email"].partition("@")[0] for one in body["results"]] == names


@pytest.mark.parametrize("query", ["role=root", "is_active=perhaps"])
def test_list_says_what_is_wrong_with_a_filter(query: str, people: dict[str, User]) -> None:
    answer = client_of(people["super"]).get(f"{USERS}?{query}")
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid")


def test_list_takes_as_many_queries_for_few_as_for_many(
    people: dict[str, User], django_assert_num_queries: Any
) -> None:
    client = client_of(people["super"])
    for number in range(2):
        with django_assert_num_queries(5):
            assert client.get(USERS).status_code == 200
        for one in range(20):
            extra = User.objects.create_user(f"extra{number}-{one}@example.com")
            extra.assigned_sites.set(Site.objects.all())
