"""`manage.py coordinator`: starts what is due, gives out what is queued, takes back what is lost.

About once a second. Any number of copies may run: one leads, the others wait until its leadership
is not renewed. Two that led at once would still do nothing twice, since every step is a conditional
UPDATE.
"""

from __future__ import annotations

import logging
import os
import secrets
import signal
import socket
import threading
import time
from argparse import ArgumentParser
from collections.abc import Callable
from functools import partial
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand
from django.db import DatabaseError, InterfaceError, connection
from django.utils.module_loading import import_string

from backups import dispatch
from backups.actions import (
    admission,
    audit,
    clock,
    housekeeping,
    leadership,
    nodes,
    proofs,
    recovery,
    schedules,
)

logger = logging.getLogger(__name__)

LEADERSHIP = "coordinator"


class Command(BaseCommand):
    help = "Start due backups, give queued jobs to nodes with free slots, take back what was lost."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--interval", type=float, default=1.0, help="seconds between rounds")
        parser.add_argument("--once", action="store_true", help="one round, then end")

    def handle(self, *args: Any, **options: Any) -> None:  # noqa: ANN401
        if options["once"]:
            go_round()
            tidy()
            return
        ending = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: ending.set())
        self.stdout.write("Coordinator started")
        # Containers may share a host name, and each has a process of the same number.
        holder = f"{socket.gethostname()}.{os.getpid()}.{secrets.token_hex(4)}"
        try:
            run_rounds(holder, ending, interval=options["interval"])
        finally:
            _attempt(partial(_resign, holder))


def run_rounds(holder: str, ending: threading.Event, *, interval: float) -> None:
    """Do what is due, round by round, whenever this copy leads; return when `ending` is set."""
    led, tidy_at = False, time.monotonic()
    while not ending.is_set():
        leads = bool(_attempt(partial(_lead, holder)))
        if leads != led:
            logger.info("this coordinator %s", "leads" if leads else "stands by")
            led = leads
        if leads:
            go_round()
            if time.monotonic() >= tidy_at:
                tidy()
                tidy_at = time.monotonic() + settings.HOLDFAST_TIDY_SECONDS
        ending.wait(interval)


def _lead(holder: str) -> int:
    seconds = settings.HOLDFAST_LEADER_SECONDS
    return int(leadership.lead(name=LEADERSHIP, holder=holder, seconds=seconds))


def _resign(holder: str) -> int:
    leadership.resign(name=LEADERSHIP, holder=holder)
    return 0


def go_round() -> None:
    """Do everything that is due."""
    recovered = _attempt(recovery.recover_lost_jobs)
    _attempt(schedules.start_due_backups)
    _attempt(proofs.start_due_proofs)
    _attempt(housekeeping.keep_house)
    admitted = _attempt(admission.admit_jobs)
    if recovered or admitted:
        logger.info("took back %d jobs, gave out %d", recovered, admitted)


def tidy() -> None:
    """Remove what would only pile up."""
    _attempt(nodes.forget_silent_workers)
    _attempt(dispatch.forget_old_answers)
    _attempt(audit.remove_old_entries)
    _attempt(clock.mend_what_is_due_too_late)
    for path in settings.HOLDFAST_TIDY_STEPS:
        _attempt(import_string(path))


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
