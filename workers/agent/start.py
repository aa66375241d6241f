"""From a node's name to a running worker: every check first, then the fork."""

from __future__ import annotations

import logging
import os
import signal
import socket
import time
from pathlib import Path
from typing import NoReturn

import psutil
from django.conf import settings
from django.db import DatabaseError, InterfaceError, connection
from django.db.models import Max

from backups import queries
from backups.actions import nodes
from backups.errors import NodeHeldError
from backups.models import Node
from backups.registry import QUERIES, STAGES, STORES, load_query
from workers.agent import heart, presence, recovery
from workers.agent.board import Board
from workers.agent.celery_process import CeleryOptions, CeleryProcess, exit_at_once
from workers.agent.duty import ANSWERING_PROCESSES
from workers.agent.identity import host_identity, prepare_spool
from workers.agent.post import Post
from workers.agent.signals import SignalPipe, ending_the_start
from workers.agent.supervisor import Supervisor
from workers.engine.stores import config_fields

logger = logging.getLogger(__name__)

_CLAIM_PAUSE_SECONDS = 1.0


def work_as(node: Node, *, loglevel: str) -> NoReturn:
    """Work as the node until the end, which is that of this process.

    Raises `EngineError` or `NodeHeldError` when this host cannot be that node.
    """
    with ending_the_start():
        # Before anybody knows of this worker: a signal that comes meanwhile leaves no trace of it.
        load_work()
        spool = Path(settings.HOLDFAST_SPOOL_DIRECTORY)
        prepare_spool(spool)
        post = Post(
            node_id=node.pk,
            node_uuid=node.uuid,
            worker=f"{node.name}.{os.getpid()}@{socket.gethostname()}",
            identity=host_identity(spool, node.uuid),
            spool=spool,
            process_id=os.getpid(),
        )
        claim(post)
        lock = presence.announce(spool, post.worker)
        try:
            board = _take_up(post)
        except BaseException:
            _withdraw(post, lock)
            raise
    status = _fork(post, lock, board, CeleryOptions(post.worker, node.queue, loglevel))
    # Threads that hang in a database or a storage are not waited for.
    exit_at_once(status)


def load_work() -> None:
    """Import what the pool runs: its processes share that, where each would load its own.

    One that is new, as after a restart for its memory, has nothing to load before its first job.
    """
    for stage in STAGES.values():
        stage.load()
    for query in QUERIES:
        load_query(query)
    for kind in STORES:
        config_fields(kind)


def claim(post: Post) -> None:
    """Become the node's host, in the place of one that is silent if need be.

    Raises `NodeHeldError` as soon as the other one is seen to live.
    """
    others = queries.live_workers().filter(node=post.node_id).exclude(identity=post.identity)
    first_seen = None
    while True:
        try:
            nodes.claim_node(node_id=post.node_id, identity=post.identity)
            return
        except NodeHeldError as error:
            seen = others.aggregate(seen=Max("last_seen_at"))["seen"]
            if first_seen is not None and seen is not None and seen > first_seen:
                raise
            if first_seen is None:
                logger.warning("waiting whether the other one still lives: %s", error.message)
                first_seen = seen
        time.sleep(_CLAIM_PAUSE_SECONDS)


def _take_up(post: Post) -> Board:
    """Settle what a predecessor left, and sign on; no connection is open afterwards."""
    try:
        # One of the same name was killed, if there was any: a container's has the same number.
        recovery.recover_worker(post.worker)
        recovery.recover_dead_workers(post)
        orders = nodes.orders_of(node_id=post.node_id, worker=post.worker)
        if not orders.is_enabled:
            logger.warning("this node is disabled: the worker waits until it is enabled")
        board = Board(orders.slots + ANSWERING_PROCESSES)
        psutil.cpu_percent()  # the first reading has no interval to speak of
        heart.beat(post, board.size)
        return board
    finally:
        connection.close()


def _withdraw(post: Post, lock: presence.Lock) -> None:
    """Leave no trace of a worker that ends before it has begun."""
    try:
        nodes.forget_worker(worker=post.worker)
        lock.remove()
    except (DatabaseError, InterfaceError):
        # The file stays: the next worker of this host forgets this one.
        lock.close()
    finally:
        connection.close()


def _fork(post: Post, lock: presence.Lock, board: Board, options: CeleryOptions) -> int:
    """Fork Celery while there is neither a thread nor a connection, and watch over it."""
    # A signal that comes now waits until there is somebody to hear it.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    pipe = SignalPipe()
    celery = CeleryProcess(options, board)
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    return Supervisor(post, lock, board, celery, pipe).run()
