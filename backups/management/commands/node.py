"""`manage.py node …`: the hosts of the cluster. What each word does is in `management/node/`."""

from __future__ import annotations

from argparse import ArgumentParser
from functools import partial
from typing import Any

from django.core.management.base import BaseCommand

from backups.management.audited import audited
from backups.management.node import control, hosts, inviting, joining
from backups.management.node.base import audited_node

MODULES = (hosts, control, inviting, joining)
SUBCOMMANDS = {command.name: command for module in MODULES for command in module.SUBCOMMANDS}


class Command(BaseCommand):
    help = "Add, list and change the hosts of the cluster."

    def add_arguments(self, parser: ArgumentParser) -> None:
        words = parser.add_subparsers(dest="what", required=True)
        for command in SUBCOMMANDS.values():
            command.add_arguments(words.add_parser(command.name, help=command.help))

    def handle(self, *args: Any, **options: Any) -> None:  # noqa: ANN401
        command = SUBCOMMANDS[options["what"]]
        if not command.action:
            command.run(options, self.stdout.write)
            return
        with audited(command.action, partial(audited_node, options["name"])):
            command.run(options, self.stdout.write)
