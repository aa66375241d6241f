"""`manage.py healthcheck worker|coordinator`: whether that process does its work, for supervisors.

A process that only exists proves nothing: what counts is the row that it renews. Neither check
speaks to Redis, for nobody gets well by being restarted while the broker is away.
"""

from __future__ import annotations

import socket
from argparse import ArgumentParser
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError, InterfaceError
from django.db.models.functions import Now

from backups.management.commands.coordinator import LEADERSHIP
from backups.models import Leadership, Worker

MISSED_HEARTBEATS = 3


class Command(BaseCommand):
    help = (
        "Exit code 0 if a worker of this host keeps its heartbeat, or if a coordinator leads; "
        "else 1 and a sentence."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("what", choices=("worker", "coordinator"))

    def handle(self, *args: Any, **options: Any) -> None:  # noqa: ANN401
        check = {"worker": check_worker, "coordinator": check_coordinator}[options["what"]]
        try:
            self.stdout.write(check())
        except (DatabaseError, InterfaceError) as error:
            raise CommandError(f"The panel's database does not answer: {error}") from error


def check_worker() -> str:
    """Return who keeps the heartbeat; raises `CommandError` if nobody on this host does."""
    hostname = socket.gethostname()
    seconds = MISSED_HEARTBEATS * settings.HOLDFAST_HEARTBEAT_SECONDS
    here = Worker.objects.filter(hostname=hostname)
    fresh = here.filter(last_seen_at__gt=Now() - timedelta(seconds=seconds)).first()
    if fresh is None:
        raise CommandError(f"No worker on {hostname} gave a sign of life in the last {seconds} s.")
    return f"Worker {fresh.name} is alive."


def check_coordinator() -> str:
    """Return who leads; raises `CommandError` if no coordinator does.

    A copy that stands by is as well as the one that leads: should that one end, it takes over.
    """
    leader = Leadership.objects.filter(pk=LEADERSHIP, expires_at__gt=Now()).first()
    if leader is None:
        raise CommandError("No coordinator leads: none runs, or none reaches the database.")
    return f"Coordinator {leader.holder} leads."
