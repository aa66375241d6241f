"""How hosts join: /nodes/{id}/token, /nodes/join, /nodes/self."""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.core.cache import cache
from django.db import connection
from django.db.models.functions import Now
from django.test.utils import CaptureQueriesContext
from rest_framework.test import APIClient

from backups.models import AuditEntry, EnrolmentToken, Node
from panel.accounts.models import User

DATABASE_URL = "mysql://holdfast:geheim%40@db.example.com/holdfast"
BROKER_URL = "rediss://:geheim@redis.example.com/0"
JOIN, SELF = "/api/v1/nodes/join", "/api/v1/nodes/self"


@pytest.fixture(autouse=True)
def reachable_panel(settings: Any) -> None:
    """What a panel gives that other hosts can reach; nobody has asked it anything yet."""
    settings.HOLDFAST_NODE_DATABASE_URL = DATABASE_URL
    settings.HOLDFAST_NODE_BROKER_URL = BROKER_URL
    cache.clear()


@pytest.fixture
def token(api: APIClient, node: Node) -> str:
    return str(api.post(f"/api/v1/nodes/{node.pk}/token").json()["token"])


def join(client: APIClient, token: str, hostname: str = "web.example.com") -> Any:
    return client.post(JOIN, {"token": token, "hostname": hostname})


def with_credential(client: APIClient, credential: str) -> Any:
    return client.get(SELF, headers={"authorization": f"Node {credential}"})


def test_token_is_shown_once_and_only_its_hash_is_kept(
    api: APIClient, node: Node, super_admin: User
) -> None:
    answer = api.post(f"/api/v1/nodes/{node.pk}/token", {"valid_hours": 2})
    assert answer.status_code == 201
    assert answer["Cache-Control"] == "no-store"
    body = answer.json()
    # 32 bytes in base64, behind letters: never like an option of a command.
    assert re.fullmatch(r"holdfast_join_[\w-]{43}", body["token"])
    assert body["command"] == "manage.py node join --panel http://testserver --token -"
    row = EnrolmentToken.objects.get()
    assert row.token_hash == hashlib.sha256(body["token"].encode()).hexdigest()
    assert row.expires_at - row.created_at == timedelta(hours=2)
    assert (row.created_by, row.used_at) == (super_admin, None)


def test_command_names_the_panels_own_address(api: APIClient, node: Node, settings: Any) -> None:
    settings.HOLDFAST_PANEL_URL = "https://backups.example.com"
    body = api.post(f"/api/v1/nodes/{node.pk}/token").json()
    assert "--panel https://backups.example.com " in body["command"]


def test_earlier_tokens_end_when_another_one_is_made(
    api: APIClient, node: Node, token: str, anonymous: APIClient
) -> None:
    other = api.post(f"/api/v1/nodes/{node.pk}/token").json()["token"]
    assert join(anonymous, token).status_code == 401
    assert join(anonymous, other).status_code == 200


def test_only_super_admins_make_tokens(
    node: Node,
    other_node: Node,
    node_admin: User,
    site_admin: User,
    client_of: Callable[[User], APIClient],
    anonymous: APIClient,
) -> None:
    """The database's password is in the answer to a token: more than any node's admin may read."""
    path = f"/api/v1/nodes/{node.pk}/token"
    assert anonymous.post(path).status_code == 401
    for user in (node_admin, site_admin):
        assert client_of(user).post(path).status_code == 403
        assert client_of(user).post(f"/api/v1/nodes/{other_node.pk}/token").status_code == 403
    assert client_of(node_admin).post("/api/v1/nodes/999/token").status_code == 404
    assert not EnrolmentToken.objects.exists()


@pytest.mark.parametrize("hours", [0, -1, 169, "soon"])
def test_token_is_refused_when_its_time_makes_no_sense(
    api: APIClient, node: Node, hours: object
) -> None:
    answer = api.post(f"/api/v1/nodes/{node.pk}/token", {"valid_hours": hours})
    assert (answer.status_code, list(answer.json()["errors"])) == (400, ["valid_hours"])


def test_host_gets_its_settings_and_a_credential_for_its_token(
    node: Node, token: str, anonymous: APIClient, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        answer = join(anonymous, token)
    assert answer.status_code == 200, answer.content
    assert answer["Cache-Control"] == "no-store"
    body = answer.json()
    assert body["node"] == {
        "id": node.pk,
        "uuid": str(node.uuid),
        "name": "web-01",
        "allowed_roots": node.allowed_roots,
    }
    assert body["settings"] == {
        "HOLDFAST_ENVIRONMENT": "development",
        "HOLDFAST_NODE": "web-01",
        "HOLDFAST_DATABASE_URL": DATABASE_URL,
        "HOLDFAST_BROKER_URL": BROKER_URL,
        "HOLDFAST_ENCRYPTION_KEYS": ",".join(settings.HOLDFAST_ENCRYPTION_KEYS),
        "HOLDFAST_LEASE_SECONDS": "90",
        "HOLDFAST_CLAIM_SECONDS": "30",
        "HOLDFAST_HEARTBEAT_SECONDS": "15",
        "HOLDFAST_KEEP_FAILED_HOURS": "24",
    }
    assert settings.SECRET_KEY not in answer.content.decode()
    node.refresh_from_db()
    assert node.credential_hash == hashlib.sha256(body["credential"].encode()).hexdigest()
    assert (node.hostname, node.ip_address) == ("web.example.com", "127.0.0.1")
    row = EnrolmentToken.objects.get()
    assert (row.used_at is not None, row.used_from) == (True, "127.0.0.1")
    assert "joined as node web-01" in caplog.text
    for secret in (token, body["credential"], "geheim", *settings.HOLDFAST_ENCRYPTION_KEYS):
        assert secret not in caplog.text


def test_unknown_used_expired_and_disabled_nodes_tokens_look_alike(
    api: APIClient, node: Node, other_node: Node, anonymous: APIClient
) -> None:
    def fresh(of: Node) -> str:
        return str(api.post(f"/api/v1/nodes/{of.pk}/token").json()["token"])

    used, disabled = fresh(node), fresh(other_node)
    assert join(anonymous, used).status_code == 200
    expired = fresh(node)
    EnrolmentToken.objects.filter(used_at=None, node=node).update(expires_at=Now())
    Node.objects.filter(pk=other_node.pk).update(is_enabled=False)
    answers, statements = [], []
    for token in ("unknown", used, expired, disabled):
        with CaptureQueriesContext(connection) as queries:
            answers.append(join(anonymous, token))
        statements.append([query["sql"].partition(" ")[0] for query in queries])
    assert {answer.status_code for answer in answers} == {401}
    assert {answer["WWW-Authenticate"] for answer in answers} == {'Node realm="api"'}
    assert answers[0].json()["code"] == "enrolment_refused"
    assert len({(answer.json()["detail"], answer.json()["code"]) for answer in answers}) == 1
    assert statements == [statements[0]] * 4
    other_node.refresh_from_db()
    assert other_node.credential_hash == ""


@pytest.mark.parametrize("missing", ["HOLDFAST_NODE_DATABASE_URL", "HOLDFAST_NODE_BROKER_URL"])
def test_joining_is_refused_when_no_other_host_can_reach_the_panels_servers(
    api: APIClient, node: Node, token: str, anonymous: APIClient, settings: Any, missing: str
) -> None:
    setattr(settings, missing, "")
    for answer in (api.post(f"/api/v1/nodes/{node.pk}/token"), join(anonymous, token)):
        assert (answer.status_code, answer.json()["code"]) == (409, "enrolment_unavailable")
        assert missing in answer.json()["detail"]
    # The token was not used up by it.
    setattr(settings, missing, "postgres://x@db.example.com/x")
    assert join(anonymous, token).status_code == 200


def test_joining_is_refused_when_the_database_is_a_file(
    api: APIClient, node: Node, settings: Any
) -> None:
    settings.HOLDFAST_NODE_DATABASE_URL = "sqlite:////srv/panel.sqlite3"
    answer = api.post(f"/api/v1/nodes/{node.pk}/token")
    assert (answer.status_code, answer.json()["code"]) == (409, "enrolment_unavailable")


def test_credential_gets_the_settings_as_they_are_now_and_nothing_else(
    token: str, anonymous: APIClient, settings: Any
) -> None:
    body = join(anonymous, token).json()
    settings.HOLDFAST_NODE_BROKER_URL = "redis://elsewhere.example.com/0"
    answer = with_credential(anonymous, body["credential"])
    assert answer.status_code == 200
    assert answer["Cache-Control"] == "no-store"
    expected = {**body["settings"], "HOLDFAST_BROKER_URL": "redis://elsewhere.example.com/0"}
    assert answer.json() == {"node": body["node"], "settings": expected}
    for path in ("nodes/", f"nodes/{body['node']['id']}", "sites/", "jobs", "storage/providers"):
        for scheme in ("Node", "Bearer"):
            header = {"authorization": f"{scheme} {body['credential']}"}
            assert anonymous.get(f"/api/v1/{path}", headers=header).status_code == 401, path


def test_credential_is_replaced_when_a_host_joins_again(
    api: APIClient, node: Node, token: str, anonymous: APIClient
) -> None:
    first = join(anonymous, token).json()["credential"]
    again = api.post(f"/api/v1/nodes/{node.pk}/token").json()["token"]
    second = join(anonymous, again).json()["credential"]
    assert with_credential(anonymous, first).status_code == 401
    assert with_credential(anonymous, second).status_code == 200


def test_host_that_joins_is_in_the_audit_trail(
    anonymous: APIClient, node: Node, token: str
) -> None:
    credential = join(anonymous, token).json()["credential"]
    entry = AuditEntry.objects.get(action="node.join")
    assert (entry.node_id, entry.object_label, entry.outcome) == (node.pk, node.name, "success")
    kept = str(AuditEntry.objects.values())
    assert token not in kept
    assert credential not in kept
    assert "geheim" not in kept


def test_disabled_node_gets_neither_settings_nor_a_token(
    api: APIClient, node: Node, token: str, anonymous: APIClient
) -> None:
    credential = join(anonymous, token).json()["credential"]
    assert api.patch(f"/api/v1/nodes/{node.pk}", {"is_enabled": False}).status_code == 200
    answer = with_credential(anonymous, credential)
    assert answer.status_code == 403
    body = answer.json()
    assert (body["detail"], body["code"]) == ("This node is disabled.", "node_disabled")
    answer = api.post(f"/api/v1/nodes/{node.pk}/token")
    assert (answer.status_code, answer.json()["code"]) == (409, "node_disabled")
    api.patch(f"/api/v1/nodes/{node.pk}", {"is_enabled": True})
    assert with_credential(anonymous, credential).status_code == 200


@pytest.mark.django_db
@pytest.mark.parametrize("header", ["", "Node", "Node ", "Node x y", "Node x", "Basic eDp4"])
def test_wrong_credential_is_401_with_a_challenge(header: str, anonymous: APIClient) -> None:
    Node.objects.create(name="never-joined")
    answer = anonymous.get(SELF, headers={"authorization": header})
    assert answer.status_code == 401
    assert answer["WWW-Authenticate"] == 'Node realm="api"'
    assert answer.json()["code"] in ("not_authenticated", "invalid_credentials")


def test_session_and_token_of_a_person_are_no_credential_of_a_node(api: APIClient) -> None:
    assert api.get(SELF).status_code == 401


@pytest.mark.django_db
def test_many_requests_from_one_address_are_slowed_down_whatever_they_claim(
    anonymous: APIClient,
) -> None:
    answers = [
        anonymous.post(
            JOIN, {"token": "x", "hostname": "x"}, headers={"x-forwarded-for": f"10.0.0.{number}"}
        )
        for number in range(61)
    ]
    assert {answer.status_code for answer in answers[:60]} == {401}
    assert (answers[60].status_code, answers[60].json()["code"]) == (429, "throttled")
    assert int(answers[60]["Retry-After"]) > 0


@pytest.mark.django_db
@pytest.mark.parametrize("body", [{}, {"token": "x"}, {"token": "x" * 201, "hostname": "x"}])
def test_request_is_refused_without_telling_what_was_sent(
    body: dict[str, str], anonymous: APIClient
) -> None:
    answer = anonymous.post(JOIN, body)
    assert answer.status_code == 400
    assert "xxxx" not in answer.content.decode()
