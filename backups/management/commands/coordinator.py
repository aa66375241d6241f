"""`manage.py coordinator`: gives out queued jobs and takes back lost ones, about once a second."""

from __future__ import annotations

import logging
import signal
import threading
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand
from django.db import DatabaseError, InterfaceError, connection

from backups.actions import jobs

logger = logging.getLogger(__name__)


class Command(BaseCommand):
    help = "Give out queued jobs to nodes with free slots, and take back what was lost."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--interval", type=float, default=1.0, help="seconds between rounds")
        parser.add_argument("--once", action="store_true", help="one round, then end")

    def handle(self, *args: Any, **options: Any) -> None:  # noqa: ANN401
        ending = threading.Event()
        if not options["once"]:
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, lambda *_: ending.set())
            self.stdout.write("Coordinator started")
        while True:
            go_round()
            if options["once"] or ending.wait(options["interval"]):
                return


def go_round() -> None:
    """Do everything that is due; a database that is away is tried again in the next round."""
    try:
        recovered = jobs.recover_lost_jobs()
        admitted = jobs.admit_jobs()
        if recovered or admitted:
            logger.info("recovered %d jobs, sent %d", recovered, admitted)
    except (DatabaseError, InterfaceError) as error:
        logger.warning("the database is away: %s", error)
        connection.close()
