"""The node's heartbeat, kept by the worker process itself.

It runs from the worker's own timer and not from a thread: the pool forks from this process, and
a lock that another thread holds at that moment would stay locked in the child for ever.
"""

from __future__ import annotations

import logging
import os
import socket
from pathlib import Path
from typing import Any

import psutil
from celery import bootsteps
from django.conf import settings
from django.db import DatabaseError, InterfaceError, connection

from backups.actions import nodes
from backups.models import Node
from workers.engine.versions import tool_versions

logger = logging.getLogger(__name__)

HEARTBEAT_SECONDS = 15.0


class Agent(bootsteps.StartStopStep):
    """Tells the panel that this worker lives and how its host is."""

    requires = ("celery.worker.components:Timer", "celery.worker.components:Pool")

    def __init__(self, worker: Any, **options: Any) -> None:  # noqa: ANN401
        self.node: Node | None = None
        self.timer_entry: Any = None
        super().__init__(worker, **options)

    def start(self, worker: Any) -> None:  # noqa: ANN401
        """Beat once at once, so that work is given out, then again and again."""
        self.node = _node_of(worker)
        if self.node is None:
            logger.warning("this worker consumes no node's queue and keeps no heartbeat")
            return
        psutil.cpu_percent()  # the first reading has no interval to speak of
        self.beat(worker)
        self.timer_entry = worker.timer.call_repeatedly(HEARTBEAT_SECONDS, self.beat, (worker,))

    def stop(self, worker: Any) -> None:  # noqa: ANN401
        """Take the worker off the panel's list, so that nothing is sent to it any more."""
        if self.timer_entry is not None:
            self.timer_entry.cancel()
        try:
            nodes.forget_worker(worker=worker.hostname)
        except (DatabaseError, InterfaceError) as error:
            logger.warning("could not sign off: %s", error)
        finally:
            connection.close()

    def beat(self, worker: Any) -> None:  # noqa: ANN401
        """Write one heartbeat; a database that is away is tried again at the next."""
        assert self.node is not None
        try:
            nodes.record_heartbeat(
                node_id=self.node.pk,
                worker=worker.hostname,
                hostname=socket.gethostname(),
                process_id=os.getpid(),
                concurrency=worker.concurrency,
                reading=read_host(),
                versions=tool_versions(),
            )
        except (DatabaseError, InterfaceError) as error:
            logger.warning("no heartbeat: %s", error)
        finally:
            # No connection is open while the pool forks.
            connection.close()


def read_host() -> nodes.HostReading:
    """Return how busy and how full this host is; the disk is the spool's."""
    return nodes.HostReading(
        cpu_percent=psutil.cpu_percent(),
        memory_percent=psutil.virtual_memory().percent,
        disk_percent=_disk_percent(settings.HOLDFAST_SPOOL_DIRECTORY),
    )


def _disk_percent(spool: Path) -> float | None:
    """Return how full the spool's disk is; None if it does not answer, which is no reason to die.

    A worker with a broken disk must stay on the panel's list: its jobs fail there, and say why.
    """
    try:
        return float(psutil.disk_usage(str(spool if spool.exists() else "/")).percent)
    except OSError as error:
        logger.warning("the spool %s cannot be read: %s", spool, error.strerror)
        return None


def _node_of(worker: Any) -> Node | None:  # noqa: ANN401
    """Return the node whose queue the worker consumes, or None."""
    queues = [name for name in worker.app.amqp.queues.consume_from if name.startswith("node.")]
    identifiers = [name.removeprefix("node.") for name in queues]
    try:
        return Node.objects.filter(uuid__in=identifiers).first()
    finally:
        connection.close()
