"""`manage.py healthcheck`: what counts is the row that a process renews, by the database's time."""

from __future__ import annotations

import socket
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db.models.functions import Now

from backups.actions import leadership
from backups.management.commands.coordinator import LEADERSHIP
from backups.models import Leadership, Node, Worker

pytestmark = pytest.mark.django_db


def add_worker(node: Node, hostname: str, seen: timedelta, **fields: Any) -> None:
    Worker.objects.create(
        name=f"{node.name}.1@{hostname}",
        node=node,
        hostname=hostname,
        process_id=1,
        started_at=Now(),
        last_seen_at=Now() - seen,
        **fields,
    )


def test_a_worker_of_this_host_with_a_fresh_heartbeat_is_well(node: Node) -> None:
    add_worker(node, socket.gethostname(), timedelta(seconds=40))
    call_command("healthcheck", "worker")


def test_a_worker_that_leaves_is_well_until_it_has_left(node: Node) -> None:
    add_worker(node, socket.gethostname(), timedelta(), is_leaving=True)
    call_command("healthcheck", "worker")


@pytest.mark.parametrize(
    ("hostname", "seen"), [(socket.gethostname(), timedelta(seconds=50)), ("another", timedelta())]
)
def test_a_worker_is_unwell_when_it_is_silent_or_of_another_host(
    node: Node, hostname: str, seen: timedelta
) -> None:
    add_worker(node, hostname, seen)
    with pytest.raises(CommandError, match=r"No worker on .* sign of life in the last 45 s"):
        call_command("healthcheck", "worker")


def test_coordinators_are_well_while_one_of_them_leads() -> None:
    leadership.lead(name=LEADERSHIP, holder="somebody", seconds=10)
    call_command("healthcheck", "coordinator")
    Leadership.objects.update(expires_at=Now() - timedelta(seconds=1))
    with pytest.raises(CommandError, match="No coordinator leads"):
        call_command("healthcheck", "coordinator")


def test_a_leadership_of_another_name_is_no_coordinator() -> None:
    leadership.lead(name="something-else", holder="somebody", seconds=10)
    with pytest.raises(CommandError, match="No coordinator leads"):
        call_command("healthcheck", "coordinator")
