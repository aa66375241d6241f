"""`node token`: on the panel, lets one host join."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError
from contextlib import suppress

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.management.base import CommandError

from backups.actions import enrolment, nodes
from backups.errors import DomainError
from backups.management.node.base import Options, Subcommand, Write, named_node
from backups.models import Node


def _add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("name", help="the node that the host will be")
    parser.add_argument("--valid-hours", type=_hours, default=1.0, help="good for so long (1)")
    parser.add_argument(
        "--root",
        action="append",
        help="make the node where there is none, with its sites below this; may be repeated",
    )
    parser.add_argument("--quiet", action="store_true", help="print the token alone, for scripts")


def _hours(text: str) -> float:
    longest = enrolment.LONGEST_VALID_HOURS
    with suppress(ValueError):
        if 0 < float(text) <= longest:
            return float(text)
    raise ArgumentTypeError(f"it must be above 0 and not above {longest}")


def _token(options: Options, write: Write) -> None:
    node = _wanted_node(options["name"], options["root"])
    try:
        invitation = enrolment.invite_host(
            node=node, valid_hours=options["valid_hours"], invited_by=None
        )
    except DomainError as error:
        raise CommandError(error.message) from error
    write(invitation.token)
    if not options["quiet"]:
        panel = settings.HOLDFAST_PANEL_URL or (
            f"https://address.of.this.panel{settings.HOLDFAST_URL_PREFIX}"
        )
        write(
            f"\nThis lets one host join as {node.name}, once, until "
            f"{invitation.expires_at:%Y-%m-%d %H:%M} UTC; earlier tokens of the node ended.\n"
            f"On that host, and give it the token when it asks:\n"
            f"    manage.py node join --panel {panel} --token -"
        )


def _wanted_node(name: str, roots: list[str] | None) -> Node:
    node = Node.objects.filter(name=name).first()
    if roots is None:
        return node or named_node(name)
    if node is None:
        try:
            return nodes.add_node(name=name, allowed_roots=roots)
        except ValidationError as error:
            raise CommandError(" ".join(error.messages)) from error
    if set(node.allowed_roots) != set(roots):
        known = ", ".join(node.allowed_roots) or "none"
        raise CommandError(f"{name} is there already, with other roots ({known}).")
    return node


SUBCOMMANDS = (
    Subcommand("token", "let one host join as a node", _add_arguments, _token, "node.invite"),
)
