"""/api/v1/activity-logs/ and /api/v1/activity-logs/me."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.db.models.functions import Now
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from rest_framework.test import APIClient

from backups.actions import audit
from backups.actions.audit import Fact
from backups.api.views import activity
from backups.models import AuditEntry, AuditOutcome, AuditSource, Node, Site
from backups.queries import AuditedObject
from panel.accounts.models import User

ClientOf = Callable[[User], APIClient]
URL = "/api/v1/activity-logs/"


def happened(action: str = "backup.start", user: User | None = None, **values: Any) -> int:
    """Write an entry and return its id."""
    what = AuditedObject(
        values.pop("kind", "site"),
        str(values.pop("key", "")),
        values.pop("label", ""),
        values.pop("site_id", None),
        values.pop("node_id", None),
    )
    actor = {"actor_id": user.pk, "actor_name": user.email} if user else {}
    fact = {"source": AuditSource.API, "outcome": AuditOutcome.SUCCESS, **actor, **values}
    audit.record_entry(Fact(action=action, what=what, **fact))
    return int(AuditEntry.objects.latest("id").pk)


def found(client: APIClient, url: str = URL, **query: Any) -> list[int]:
    answer = client.get(url, query)
    assert answer.status_code == 200, answer.content
    return [entry["id"] for entry in answer.json()["results"]]


def test_entry_is_shown_whole_and_newest_first(api: APIClient, super_admin: User) -> None:
    first = happened("site.add", super_admin, key=7, label="a.example", site_id=7, node_id=3,
                     address="2001:db8::1", fields=("name",), detail="Done")  # fmt: skip
    second = happened()
    body = api.get(URL).json()
    assert [entry["id"] for entry in body["results"]] == [second, first]
    assert body["count"] == 2
    entry = body["results"][1]
    assert entry.pop("created_at").endswith("Z")
    assert entry == {
        "id": first, "actor": super_admin.pk, "actor_name": super_admin.email, "actor_role": "",
        "source": "api", "action": "site.add", "object_type": "site", "object_id": "7",
        "object_label": "a.example", "site_id": 7, "node_id": 3, "address": "2001:db8::1",
        "user_agent": "", "request_id": "", "outcome": "success", "status_code": None,
        "detail": "Done", "fields_sent": ["name"],
    }  # fmt: skip


def test_everybody_sees_their_own_and_what_is_theirs_to_see(
    node: Node, other_node: Node, site: Site, other_site: Site, super_admin: User,
    node_admin: User, site_admin: User, client_of: ClientOf,
) -> None:  # fmt: skip
    on_site = happened(site_id=site.pk, node_id=node.pk)
    on_other = happened(site_id=other_site.pk, node_id=other_node.pk)
    on_node = happened("node.drain", kind="node", node_id=node.pk)
    of_nobody = happened("sign_in", kind="user")
    of_site_admin = happened("sign_in", site_admin, kind="user")
    everything = [of_site_admin, of_nobody, on_node, on_other, on_site]
    assert found(client_of(super_admin)) == everything
    assert found(client_of(node_admin)) == [on_node, on_site]
    assert found(client_of(site_admin)) == [of_site_admin, on_site]
    assert found(client_of(site_admin), f"{URL}me") == [of_site_admin]
    assert found(client_of(node_admin), f"{URL}me/") == []
    site_admin.is_active = False
    assert not AuditEntry.objects.filter(pk__in=_visible(site_admin)).exists()


def _visible(user: User) -> Any:
    from backups.queries import audit_entries_visible_to

    return audit_entries_visible_to(user).values("pk")


def test_anonymous_sees_nothing(anonymous: APIClient) -> None:
    for path in (URL, f"{URL}me", URL.rstrip("/")):
        assert anonymous.get(path).status_code == 401


def test_filters_choose(api: APIClient, super_admin: User) -> None:
    one = happened("node.scale", super_admin, kind="node", key=5, label="web-05", node_id=5)
    two = happened("site.delete", site_id=9, key=9, label="b.example",
                   outcome=AuditOutcome.REFUSED, source=AuditSource.COMMAND)  # fmt: skip
    for query, wanted in (
        ({"action": "node.scale"}, [one]),
        ({"outcome": "refused"}, [two]),
        ({"source": "command"}, [two]),
        ({"actor": super_admin.pk}, [one]),
        ({"site_id": 9}, [two]),
        ({"node_id": 5}, [one]),
        ({"object_type": "node"}, [one]),
        ({"object_type": "site", "object_id": "9"}, [two]),
        ({"search": "B.EXAMPLE"}, [two]),
        ({"search": "super@"}, [one]),
        ({"search": "nothing"}, []),
        ({"since": (timezone.now() - timedelta(minutes=5)).isoformat()}, [two, one]),
        ({"until": (timezone.now() - timedelta(minutes=5)).isoformat()}, []),
        ({"limit": 1}, [two]),
        ({"limit": 1, "offset": 1}, [one]),
    ):
        assert found(api, **query) == wanted, query


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("outcome=maybe", "outcome"), ("source=mail", "source"), ("actor=me", "actor"),
        ("site_id=x", "site_id"), ("since=yesterday", "since"), ("limit=0", "limit"),
        ("limit=501", "limit"), ("offset=-1", "offset"), ("acton=x", "acton"),
        ("since=2026-01-02T00:00:00Z&until=2026-01-01T00:00:00Z", "until"),
        ("search=%00", "search"),
    ],
)  # fmt: skip
def test_filter_that_cannot_be_is_refused(query: str, field: str, api: APIClient) -> None:
    answer = api.get(f"{URL}?{query}")
    assert (answer.status_code, list(answer.json()["errors"])) == (400, [field])


def test_number_of_queries_is_the_same_however_many_there_are(
    client_of: ClientOf, node_admin: User, site: Site
) -> None:
    counts = []
    for number in (1, 20):
        for _ in range(number):
            happened(user=node_admin, site_id=site.pk)
        with CaptureQueriesContext(connection) as queries:
            found(client_of(node_admin))
        counts.append(len(queries))
    assert counts[0] == counts[1] <= 8


def test_count_ends_somewhere(api: APIClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(activity, "MOST_COUNTED", 3)
    for _ in range(5):
        happened()
    assert api.get(URL).json()["count"] == 3


def test_old_entries_go_in_batches_and_only_those(
    db: None, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [happened() for _ in range(5)]
    rows = AuditEntry._base_manager.filter(pk__in=ids[:4])
    rows.update(created_at=Now() - timedelta(days=31))
    settings.HOLDFAST_AUDIT_DAYS = 0
    assert audit.remove_old_entries() == 0
    settings.HOLDFAST_AUDIT_DAYS = 30
    monkeypatch.setattr(audit, "BATCH_ROWS", 3)
    assert audit.remove_old_entries() == 4
    assert [entry.pk for entry in AuditEntry.objects.all()] == ids[4:]


def test_text_that_no_column_holds_is_cut_and_written_out(db: None) -> None:
    key = happened(label="x\udc80\0" * 500, user_agent="y" * 500, address="nowhere",
                   fields=("z" * 500,) * 500)  # fmt: skip
    entry = AuditEntry.objects.get(pk=key)
    assert entry.object_label.startswith("x\\udc80\\x00")
    assert (len(entry.object_label), len(entry.user_agent)) == (254, 200)
    assert (entry.address, len(entry.fields), len(entry.fields[0])) == (None, 50, 60)
