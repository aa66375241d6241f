"""What one word after `manage.py node` consists of."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.core.management.base import CommandError

from backups.models import Node
from backups.queries import AuditedObject, audited_object

Options = dict[str, Any]
Write = Callable[[str], object]


@dataclass(frozen=True, slots=True)
class Subcommand:
    """`run` gets the parsed options and what writes a line; it raises `CommandError`.

    `action` is the audit trail's word for one that writes to the database.
    """

    name: str
    help: str
    add_arguments: Callable[[ArgumentParser], None]
    run: Callable[[Options, Write], None]
    action: str = ""


def audited_node(name: str) -> AuditedObject:
    """Return the node of that name for the audit trail, or the name alone."""
    node = Node.objects.filter(name=name).first()
    return audited_object("node", node.pk) if node else AuditedObject("node", label=name)


def add_name(parser: ArgumentParser) -> None:
    """Let the command take a node's name."""
    parser.add_argument("name", help="as `node list` shows it")


def named_node(name: str) -> Node:
    """Return the node; raises `CommandError` that lists the known ones."""
    node = Node.objects.filter(name=name).first()
    if node is None:
        known = ", ".join(Node.objects.values_list("name", flat=True)) or "none yet"
        raise CommandError(
            f"There is no node {name!r} (known: {known}). "
            f"Add it with: manage.py node add {name} --root /var/www"
        )
    return node
