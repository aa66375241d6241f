"""What files of this folder make by the API."""

from __future__ import annotations

from typing import Any

from tests.servers.cluster import Cluster

PEOPLE_PASSWORD = "a-fine-password-for-people"


def created(cluster: Cluster, path: str, body: dict[str, Any]) -> dict[str, Any]:
    answer = cluster.post(path, body)
    assert answer.status == 201, answer
    row: dict[str, Any] = answer.body
    return row
