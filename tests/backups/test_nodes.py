"""Which host is the node, what its workers are to do, and which coordinator leads."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db.models.functions import Now

from backups.actions import leadership, nodes
from backups.errors import NodeHeldError
from backups.models import Leadership, Node, Worker

READING = nodes.HostReading(1.0, 2.0, 3.0, 4, 0.5)


def beat(node: Node, worker: str, identity: str) -> bool:
    return nodes.record_heartbeat(
        node_id=node.pk,
        worker=worker,
        hostname=f"host-{identity}",
        process_id=1,
        concurrency=3,
        reading=READING,
        versions={},
        identity=identity,
    )


def test_second_host_is_refused_while_the_first_lives_and_replaces_it_when_it_is_silent(
    node: Node,
) -> None:
    nodes.claim_node(node_id=node.pk, identity="a")
    assert beat(node, "w1", "a")
    nodes.claim_node(node_id=node.pk, identity="a")
    with pytest.raises(NodeHeldError, match=r"host-a .*worker w1"):
        nodes.claim_node(node_id=node.pk, identity="b")
    Worker.objects.update(last_seen_at=Now() - timedelta(minutes=5))
    nodes.claim_node(node_id=node.pk, identity="b")
    assert beat(node, "w2", "b")
    assert not beat(node, "w1", "a")
    assert Worker.objects.get(name="w1").last_seen_at < Worker.objects.get(name="w2").last_seen_at
    node.refresh_from_db()
    assert (node.held_by, node.disk_free_bytes, node.load_average) == ("b", 4, 0.5)


@pytest.mark.parametrize(
    ("slots", "shares"), [(1, [1, 0, 0]), (2, [1, 1, 0]), (6, [2, 2, 2]), (7, [3, 2, 2])]
)
def test_workers_of_a_node_share_its_slots(node: Node, slots: int, shares: list[int]) -> None:
    nodes.scale_node(node=node, slots=slots)
    nodes.claim_node(node_id=node.pk, identity="a")
    names = ["w1", "w2", "w3"]
    for name in names:
        beat(node, name, "a")
    assert [nodes.orders_of(node_id=node.pk, worker=name).slots for name in names] == shares
    nodes.leave(worker="w3")
    Worker.objects.filter(name="w2").update(last_seen_at=Now() - timedelta(minutes=5))
    assert nodes.orders_of(node_id=node.pk, worker="w1").slots == slots


def test_orders_say_what_the_node_is_told(node: Node) -> None:
    nodes.drain_node(node=node)
    assert nodes.orders_of(node_id=node.pk, worker="w") == nodes.Orders(2, True, True, "")
    nodes.resume_node(node=node)
    nodes.change_node(node=node, is_enabled=False)
    assert nodes.orders_of(node_id=node.pk, worker="w") == nodes.Orders(2, False, False, "")


def test_one_leads_until_it_is_silent_or_resigns(db: None) -> None:
    def leads(holder: str) -> bool:
        return leadership.lead(name="coordinator", holder=holder, seconds=60)

    assert [leads("a"), leads("b"), leads("a")] == [True, False, True]
    Leadership.objects.update(expires_at=Now() - timedelta(seconds=1))
    assert [leads("b"), leads("a")] == [True, False]
    leadership.resign(name="coordinator", holder="a")
    assert not leads("a")
    leadership.resign(name="coordinator", holder="b")
    assert leads("a")
