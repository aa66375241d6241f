"""`node add` and `node list`."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import CommandError

from backups.actions import nodes
from backups.management.node.base import Options, Subcommand, Write
from backups.management.tables import lines_of, moment
from backups.models import Node
from backups.queries import nodes_with_standing

GIB = 1 << 30


def _add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("name")
    parser.add_argument(
        "--root", action="append", required=True, help="sites lie below it; may be repeated"
    )
    parser.add_argument("--slots", type=int, default=2, help="stages at once (default 2)")
    parser.add_argument(
        "--if-missing", action="store_true", help="leave a node of this name as it is"
    )


def _add(options: Options, write: Write) -> None:
    if options["if_missing"] and Node.objects.filter(name=options["name"]).exists():
        write(f"Node {options['name']} is there already.")
        return
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
    rows = [
        (node.name, _standing(node), node.slots, node.active_jobs, node.queued_jobs,
         _gibibytes(node.disk_free_bytes), _load(node.load_average), moment(node.last_seen_at),
         ",".join(node.allowed_roots))
        for node in nodes_with_standing(Node.objects.order_by("name"))
    ]  # fmt: skip
    if not rows:
        write("No nodes yet. Add one: manage.py node add web-01 --root /var/www")
        return
    header = ("NODE", "STANDING", "SLOTS", "ACTIVE", "QUEUED", "DISK FREE", "LOAD", "LAST SEEN",
              "ROOTS")  # fmt: skip
    for line in lines_of(header, rows):
        write(line)


def _standing(node: Any) -> str:  # noqa: ANN401
    if not node.is_enabled:
        return "disabled"
    standing = "online" if node.is_online else "offline"
    return f"{standing},draining" if node.is_draining else standing


def _gibibytes(size: int | None) -> str:
    return "-" if size is None else f"{size / GIB:.1f}GiB"


def _load(average: float | None) -> str:
    return "-" if average is None else f"{average:.2f}"


SUBCOMMANDS = (
    Subcommand("add", "add a host", _add_arguments, _add, "node.add"),
    Subcommand("list", "list the hosts", _no_arguments, _list),
)
