"""`manage.py node add|list`: the hosts of the cluster."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError

from backups.actions import nodes
from backups.models import Node
from backups.queries import nodes_with_standing


class Command(BaseCommand):
    help = "Add a node, or list the nodes."

    def add_arguments(self, parser: ArgumentParser) -> None:
        commands = parser.add_subparsers(dest="what", required=True)
        add = commands.add_parser("add", help="add a host")
        add.add_argument("name")
        add.add_argument(
            "--root", action="append", required=True, help="sites lie below it; may be repeated"
        )
        add.add_argument("--slots", type=int, default=2, help="stages at once (default 2)")
        commands.add_parser("list", help="list the hosts")

    def handle(self, *args: Any, **options: Any) -> None:  # noqa: ANN401
        {"add": self.add, "list": self.list}[options["what"]](options)

    def add(self, options: dict[str, Any]) -> None:
        try:
            node = nodes.add_node(
                name=options["name"], allowed_roots=options["root"], slots=options["slots"]
            )
        except ValidationError as error:
            raise CommandError(" ".join(error.messages)) from error
        self.stdout.write(f"Added {node.name}. On that host: manage.py worker --node {node.name}")

    def list(self, _options: dict[str, Any]) -> None:
        rows = nodes_with_standing(Node.objects.all())
        if not rows:
            self.stdout.write("No nodes yet. Add one: manage.py node add web-01 --root /var/www")
        for node in rows:
            standing = "online" if node.is_online else "offline"
            standing = standing if node.is_enabled else "disabled"
            self.stdout.write(
                f"{node.name:20} {standing:8} {node.active_jobs}/{node.slots} slots, "
                f"{node.queued_jobs} queued, roots {', '.join(node.allowed_roots)}"
            )
