"""The heartbeat: that the worker lives, and how its host is."""

from __future__ import annotations

import functools
import logging
import os
from pathlib import Path

import psutil
from django.conf import settings

from backups.actions import nodes
from backups.models.node import OPENS, TRIES
from workers.agent.post import Post
from workers.engine.age import read_identities
from workers.engine.errors import EngineError
from workers.engine.versions import tool_versions
from workers.scratch import scratch_servers

logger = logging.getLogger(__name__)


def beat(post: Post, processes: int) -> bool:
    """Write one heartbeat; False if another host works as this node by now."""
    return nodes.record_heartbeat(
        node_id=post.node_id,
        worker=post.worker,
        hostname=post.hostname,
        process_id=post.process_id,
        concurrency=processes,
        reading=read_host(),
        versions=told_versions(),
        identity=post.identity,
    )


def told_versions() -> dict[str, str]:
    """Return the versions of this host's tools, whose bundles it opens, and what it can load."""
    return {
        **tool_versions(),
        OPENS: ",".join(readable_recipients()),
        TRIES: ",".join(sorted({server.engine for server in scratch_servers()})),
    }


@functools.cache
def readable_recipients() -> tuple[str, ...]:
    """Return the public keys whose bundles this host can open: the secret ones are not kept.

    Looked up once: whoever puts another file there starts the worker anew.
    """
    path = settings.HOLDFAST_AGE_IDENTITY_FILE
    if path is None:
        return ()
    try:
        return tuple(identity.recipient for identity in read_identities(path))
    except EngineError as error:
        logger.error("this host opens no encrypted bundle: %s", error.sentences())
        return ()


def read_host() -> nodes.HostReading:
    """Return how busy and how full this host is; the disk is the spool's."""
    percent, free = _disk(Path(settings.HOLDFAST_SPOOL_DIRECTORY))
    return nodes.HostReading(
        cpu_percent=psutil.cpu_percent(),
        memory_percent=psutil.virtual_memory().percent,
        disk_percent=percent,
        disk_free_bytes=free,
        load_average=os.getloadavg()[0],
    )


def _disk(spool: Path) -> tuple[float | None, int | None]:
    """Return how full the spool's disk is; None if it does not answer, which is no reason to die.

    A worker with a broken disk must stay on the panel's list: its jobs fail there, and say why.
    """
    try:
        usage = psutil.disk_usage(str(spool if spool.exists() else "/"))
    except OSError as error:
        logger.warning("the spool %s cannot be read: %s", spool, error.strerror)
        return None, None
    return float(usage.percent), usage.free
