"""`node scale`, `drain`, `resume`, `enable` and `disable`."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Callable

from django.core.exceptions import ValidationError
from django.core.management.base import CommandError

from backups.actions import nodes
from backups.management.node.base import Options, Subcommand, Write, add_name, named_node
from backups.models import MAX_SLOTS, Node


def _add_scale_arguments(parser: ArgumentParser) -> None:
    add_name(parser)
    parser.add_argument("slots", type=int, help=f"how many stages run at once, 1 to {MAX_SLOTS}")


def _scale(options: Options, write: Write) -> None:
    node = named_node(options["name"])
    try:
        nodes.scale_node(node=node, slots=options["slots"])
    except ValidationError as error:
        raise CommandError(" ".join(error.messages)) from error
    write(f"Stages at once on {node.name}: {node.slots}. Nothing that runs is ended for it.")


def _drain(node: Node) -> str:
    nodes.drain_node(node=node)
    return f"Draining {node.name}: running stages end, no new one begins. Undo it with: resume"


def _resume(node: Node) -> str:
    nodes.resume_node(node=node)
    return f"Resumed {node.name}: it takes stages again"


def _add_enable_arguments(parser: ArgumentParser) -> None:
    add_name(parser)
    parser.add_argument(
        "--root",
        action="append",
        default=[],
        help="of a node that the catalogue was rebuilt with: sites lie below it; may be repeated",
    )


def _enable(options: Options, write: Write) -> None:
    node, roots = named_node(options["name"]), options["root"]
    if roots and node.allowed_roots and set(node.allowed_roots) != set(roots):
        known = ", ".join(node.allowed_roots)
        raise CommandError(f"{node.name} has other roots already ({known}).")
    try:
        nodes.change_node(node=node, is_enabled=True, allowed_roots=roots or node.allowed_roots)
    except ValidationError as error:
        raise CommandError(" ".join(error.messages)) from error
    write(f"Enabled {node.name}: it gets work again")


def _disable(node: Node) -> str:
    nodes.change_node(node=node, is_enabled=False)
    return f"Disabled {node.name}: it gets no work, and its credential is refused"


def _of_node(change: Callable[[Node], str]) -> Callable[[Options, Write], None]:
    """Return what runs `change` on the node that was named and says what it returns."""

    def run(options: Options, write: Write) -> None:
        write(change(named_node(options["name"])))

    return run


_Row = tuple[str, str, Callable[[ArgumentParser], None], Callable[[Options, Write], None]]
_ROWS: tuple[_Row, ...] = (
    ("scale", "change how many stages run at once", _add_scale_arguments, _scale),
    ("drain", "let running stages end, and none begin", add_name, _of_node(_drain)),
    ("resume", "let a drained host take stages again", add_name, _of_node(_resume)),
    ("enable", "take a host back into the cluster", _add_enable_arguments, _enable),
    ("disable", "take a host out of the cluster", add_name, _of_node(_disable)),
)
SUBCOMMANDS = tuple(Subcommand(*row, action=f"node.{row[0]}") for row in _ROWS)
