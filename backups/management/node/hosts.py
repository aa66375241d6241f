"""`node add` and `node list`."""

from __future__ import annotations

from argparse import ArgumentParser

from django.core.exceptions import ValidationError
from django.core.management.base import CommandError

from backups.actions import nodes
from backups.management.node.base import Options, Subcommand, Write
from backups.models import Node
from backups.queries import nodes_with_standing


def _add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("name")
    parser.add_argument(
        "--root", action="append", required=True, help="sites lie below it; may be repeated"
    )
    parser.add_argument("--slots", type=int, default=2, help="stages at once (default 2)")


def _add(options: Options, write: Write) -> None:
    try:
        node = nodes.add_node(
            name=options["name"], allowed_roots=options["root"], slots=options["slots"]
        )
    except ValidationError as error:
        raise CommandError(" ".join(error.messages)) from error
    write(f"Added {node.name}. On that host: manage.py worker --node {node.name}")


def _no_arguments(_parser: ArgumentParser) -> None:
    """`list` takes nothing."""


def _list(_options: Options, write: Write) -> None:
    rows = nodes_with_standing(Node.objects.all())
    if not rows:
        write("No nodes yet. Add one: manage.py node add web-01 --root /var/www")
    for node in rows:
        standing = "online" if node.is_online else "offline"
        standing = standing if node.is_enabled else "disabled"
        write(
            f"{node.name:20} {standing:8} {node.active_jobs}/{node.slots} slots, "
            f"{node.queued_jobs} queued, roots {', '.join(node.allowed_roots)}"
        )


SUBCOMMANDS = (
    Subcommand("add", "add a host", _add_arguments, _add),
    Subcommand("list", "list the hosts", _no_arguments, _list),
)
