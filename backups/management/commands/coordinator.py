"""`manage.py coordinator`: gives out queued jobs and takes back lost ones, about once a second."""

from __future__ import annotations

import logging
import signal
import threading
import time
from argparse import ArgumentParser
from collections.abc import Callable
from typing import Any

from django.core.management.base import BaseCommand
from django.db import DatabaseError, InterfaceError, connection

from backups import dispatch
from backups.actions import jobs, nodes

logger = logging.getLogger(__name__)

TIDY_SECONDS = 600.0


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
        tidy_at = time.monotonic()
        while True:
            go_round()
            if time.monotonic() >= tidy_at:
                tidy()
                tidy_at = time.monotonic() + TIDY_SECONDS
            if options["once"] or ending.wait(options["interval"]):
                return


def go_round() -> None:
    """Do everything that is due."""
    recovered = _attempt(jobs.recover_lost_jobs)
    admitted = _attempt(jobs.admit_jobs)
    if recovered or admitted:
        logger.info("took back %d jobs, gave out %d", recovered, admitted)


def tidy() -> None:
    """Remove what would only pile up."""
    _attempt(nodes.forget_silent_workers)
    _attempt(dispatch.forget_old_answers)


def _attempt(step: Callable[[], int]) -> int:
    """Take one step. What fails is tried again in the next round, and keeps no other from its turn.

    One row that cannot be handled must not end the one process that every node waits for.
    """
    try:
        return step()
    except (DatabaseError, InterfaceError) as error:
        logger.warning("the database is away: %s", error)
        connection.close()
    except Exception:
        logger.exception("the coordinator could not do all of its work")
    return 0
