"""`manage.py worker --node web-01`: a Celery worker with the flags that Holdfast needs."""

from __future__ import annotations

import os
import socket
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import connection

from backups.models import Node
from workers.celery import app

# One process more than stages: a scan or a test of a storage is answered while all slots are busy.
# How many stages run at once is decided where jobs are given out, not here.
ANSWERING_PROCESSES = 1
# Between many workers these three cost far more than they give; see docs/architecture.md.
QUIET = ("--without-gossip", "--without-mingle", "--without-heartbeat")


class Command(BaseCommand):
    help = "Run the stages of one node's sites, on the host where the files are."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--node", required=True, help="the node's name, as `node list` shows")
        parser.add_argument("--loglevel", default="INFO")

    def handle(self, *args: Any, **options: Any) -> None:  # noqa: ANN401
        node = Node.objects.filter(name=options["node"]).first()
        if node is None:
            known = ", ".join(Node.objects.values_list("name", flat=True)) or "none yet"
            raise CommandError(
                f"There is no node {options['node']!r} (known: {known}). "
                f"Add it with: manage.py node add {options['node']} --root /var/www"
            )
        if not node.is_enabled:
            raise CommandError(f"Node {node.name} is disabled; enable it in the panel first.")
        prepare_spool(Path(settings.HOLDFAST_SPOOL_DIRECTORY))
        argv = [
            "worker",
            *("-n", f"{node.name}.{os.getpid()}@{socket.gethostname()}"),
            *("-Q", node.queue),
            *("-P", "prefork"),
            *("-c", str(node.slots + ANSWERING_PROCESSES)),
            *("-l", options["loglevel"]),
            *QUIET,
        ]
        connection.close()
        app.worker_main(argv)


def prepare_spool(spool: Path) -> None:
    """Make the spool's folder for this user alone; it will hold people's databases."""
    try:
        spool.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise CommandError(
            f"The spool {spool} cannot be made ({error.strerror}). "
            "Set HOLDFAST_SPOOL_DIRECTORY to a folder that this user may write to."
        ) from error
    if not os.access(spool, os.W_OK | os.X_OK):
        raise CommandError(
            f"The spool {spool} is not writable for this user. "
            "Set HOLDFAST_SPOOL_DIRECTORY to another folder, or change its owner."
        )
