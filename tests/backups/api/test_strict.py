"""A body with a field that nobody declared is refused, and says what is allowed."""

from __future__ import annotations

from typing import Any

import pytest
from django.http import QueryDict
from django.test import Client
from rest_framework import serializers
from rest_framework.test import APIClient

from backups.api import urls
from backups.api.serializers.strict import Strict, StrictSerializer
from backups.models import Job, Node, Site, Storage
from tests.backups.conftest import ended_job

WRITES = ("post", "put", "patch")


class Inner(StrictSerializer):
    path = serializers.CharField()


class Outer(StrictSerializer):
    name = serializers.CharField()
    inner = Inner(required=False)
    shown = serializers.CharField(read_only=True)


def errors_of(data: Any) -> dict[str, Any]:
    serializer = Outer(data=data)
    return {} if serializer.is_valid() else dict(serializer.errors)


def test_unknown_field_is_told_with_what_is_allowed_and_what_was_meant() -> None:
    assert errors_of({"name": "a", "nmae": "b"}) == {
        "nmae": ["There is no such field here. Did you mean name? Allowed: name, inner."]
    }
    assert errors_of({"name": "a", "zzz": 1}) == {
        "zzz": ["There is no such field here. Allowed: name, inner."]
    }


def test_other_mistakes_are_told_beside_an_unknown_field() -> None:
    assert errors_of({"zzz": 1}).keys() == {"zzz", "name"}


def test_unknown_field_is_told_when_it_is_nested() -> None:
    found = errors_of({"name": "a", "inner": {"path": "/", "pth": 1}})
    assert list(found["inner"]) == ["pth"]


def test_field_that_is_only_read_is_left_alone_when_it_is_sent_back() -> None:
    serializer = Outer(data={"name": "a", "shown": "b"})
    serializer.is_valid(raise_exception=True)
    assert serializer.validated_data == {"name": "a"}


def test_form_may_hold_what_forms_add() -> None:
    assert not errors_of(QueryDict("name=a&csrfmiddlewaretoken=x&_method=PUT&inner.path=/"))
    assert errors_of(QueryDict("name=a&other=x")).keys() == {"other"}
    # In JSON those are fields like any other.
    assert errors_of({"name": "a", "_method": "PUT"}).keys() == {"_method"}


def test_every_route_that_reads_a_body_is_strict() -> None:
    classes = {view.view_class for _, view, _ in urls.ROUTES if hasattr(view, "view_class")}
    writing = {cls for cls in classes if any(hasattr(cls, method) for method in WRITES)}
    assert len(writing) > 10
    assert {
        cls.__name__ for cls in writing if not issubclass(cls.serializer_class, Strict)
    } == set()


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("post", "sites/", {"name": "a", "wp_path": "/a"}),
        ("patch", "sites/{site}", {}),
        ("post", "sites/manual", {"path": "/a"}),
        ("post", "sites/{site}/backup/start", {}),
        ("post", "sites/{site}/backup/stop", {}),
        ("post", "daemon/backup/reset/{site}", {}),
        ("post", "jobs/{job}/retry", {}),
        ("patch", "nodes/{node}", {}),
        ("post", "nodes/{node}/token", {}),
        ("post", "nodes/{node}/scale", {"concurrency": 1}),
        ("post", "nodes/{node}/drain", {}),
        ("post", "nodes/{node}/resume", {}),
        ("post", "nodes/join", {"token": "a", "hostname": "b"}),
        ("post", "storage/providers", {"name": "a", "type": "local"}),
        ("patch", "storage/providers/{storage}", {}),
        ("post", "storage/providers/{storage}/test", {}),
    ],
)
def test_request_changes_nothing_when_a_field_is_unknown(
    method: str, path: str, body: dict[str, Any], api: APIClient, site: Site, storage: Storage
) -> None:
    job = ended_job(site, "failed")
    url = path.format(site=site.pk, job=job.pk, node=site.node_id, storage=storage.pk)
    answer = getattr(api, method)(f"/api/v1/{url}", {**body, "is_admin": True})
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid")
    assert answer.json()["errors"]["is_admin"][0].startswith("There is no such field here.")
    node = Node.objects.get()
    assert (Job.objects.count(), Site.objects.count(), Storage.objects.count()) == (1, 1, 1)
    assert not node.is_draining


@pytest.mark.parametrize("body", [None, {}])
def test_order_without_fields_takes_no_body_or_an_empty_one(
    body: dict[str, Any] | None, api: APIClient, site: Site
) -> None:
    assert api.post(f"/api/v1/sites/{site.pk}/backup/start", body).status_code == 202
    assert api.post(f"/api/v1/nodes/{site.node_id}/drain", body).status_code == 202


@pytest.mark.parametrize("body", [[], "text", 1])
def test_order_without_fields_refuses_what_is_no_object(
    body: Any, api: APIClient, site: Site
) -> None:
    answer = api.post(f"/api/v1/sites/{site.pk}/backup/start", body)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid")
    assert not Job.objects.exists()


def test_site_can_be_put_back_as_it_was_got(api: APIClient, site: Site) -> None:
    got = api.get(f"/api/v1/sites/{site.pk}").json()
    assert api.put(f"/api/v1/sites/{site.pk}", got).json() == got


def test_right_is_asked_before_the_body(anonymous: APIClient, staff: Client, site: Site) -> None:
    url = f"/api/v1/sites/{site.pk}/backup/start"
    assert anonymous.post(url, {"is_admin": True}).status_code == 401
    assert staff.post("/api/v1/sites/999/backup/start", {"x": 1}).status_code == 404
