"""`manage.py worker --node web-01`: a Celery worker and its agent, for one node's sites."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from backups.errors import NodeHeldError
from backups.models import Node
from workers.agent.start import work_as
from workers.agent.supervisor import REFUSED
from workers.engine.errors import EngineError


class Command(BaseCommand):
    help = "Run the stages of one node's sites, on the host where the files are."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--node",
            default=settings.HOLDFAST_NODE,
            help="the node's name, as `node list` shows; without it, HOLDFAST_NODE",
        )
        parser.add_argument("--loglevel", default="INFO", help="of Celery's own messages")

    def handle(self, *args: Any, **options: Any) -> None:  # noqa: ANN401
        node = _node_called(options["node"])
        try:
            work_as(node, loglevel=options["loglevel"])
        except EngineError as error:
            raise CommandError(error.sentences(), returncode=REFUSED) from error
        except NodeHeldError as error:
            raise CommandError(error.message, returncode=REFUSED) from error


def _node_called(name: str) -> Node:
    if not name:
        raise CommandError(
            "Which node is this host? Say --node NAME, or set HOLDFAST_NODE.", returncode=REFUSED
        )
    node = Node.objects.filter(name=name).first()
    if node is None:
        known = ", ".join(Node.objects.values_list("name", flat=True)) or "none yet"
        raise CommandError(
            f"There is no node {name!r} (known: {known}). "
            f"Add it with: manage.py node add {name} --root /var/www",
            returncode=REFUSED,
        )
    return node
