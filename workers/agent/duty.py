"""What the agent does every other second, in a thread of its own: beat, take orders, recover."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from django.conf import settings
from django.db import DatabaseError, InterfaceError, connection

from backups import dispatch
from backups.actions import leftovers, nodes
from backups.actions.leftovers import Leftover
from workers.agent import heart, recovery
from workers.agent.board import Board
from workers.agent.post import Post

logger = logging.getLogger(__name__)

# One process more than stages: a scan or a test of a storage is answered while all slots are busy.
ANSWERING_PROCESSES = 1
# Celery's loop stands still for up to half a minute after Redis is back. Longer than this, with a
# Redis that answers, means that it hangs: it will take nothing more, however alive it looks.
STUCK_SECONDS = 120.0
_DOUBTFUL_SECONDS = 15.0
_PING_SECONDS = 1.0


class Duty:
    """The thread. It ends nothing by itself: `supersede` and `give_up` are told why it should be.

    Whatever happens in one step is logged and keeps nothing else from its turn: a worker must not
    leave the panel's list because of a bug, and a database that is away is back sooner or later.
    """

    def __init__(
        self,
        post: Post,
        board: Board,
        celery_pid: int,
        *,
        supersede: Callable[[str], None],
        give_up: Callable[[str], None],
        clean: Callable[[list[Leftover]], None],
    ) -> None:
        self._post = post
        self._board = board
        self._celery_pid = celery_pid
        self._supersede = supersede
        self._give_up = give_up
        self._clean = clean
        self._next_beat = 0.0
        self._standstill = Standstill(board)
        self._failing: set[str] = set()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="duty", daemon=True)
        self.is_idle = False

    def start(self) -> None:
        """Begin. A thread of this kind is abandoned at the end, since the database may hang."""
        self._thread.start()

    def stop(self, timeout: float) -> None:
        """Have it end after the step that it is in, and wait for that for a while."""
        self._closing.set()
        self._thread.join(timeout)

    def _run(self) -> None:
        steps = (self._take_orders, self._beat, self._recover, self._look_at_celery, self._tidy)
        try:
            while not self._closing.wait(settings.HOLDFAST_AGENT_SECONDS):
                for step in steps:
                    if not self._closing.is_set():
                        self._do(step)
        finally:
            connection.close()

    def _do(self, step: Callable[[], None]) -> None:
        """Run a step; say once that it fails and once that it works again."""
        name = step.__name__.lstrip("_")
        try:
            step()
        except Exception as error:
            if name not in self._failing:
                is_away = isinstance(error, (DatabaseError, InterfaceError))
                what = None if is_away else error
                logger.warning("%s failed and is tried again: %s", name, error, exc_info=what)
            self._failing.add(name)
            connection.close()
        else:
            if name in self._failing:
                logger.info("%s works again", name)
            self._failing.discard(name)

    def _take_orders(self) -> None:
        orders = nodes.orders_of(node_id=self._post.node_id, worker=self._post.worker)
        if orders.held_by != self._post.identity:
            self._supersede("another host works as this node now")
        else:
            self._board.wanted = orders.slots + ANSWERING_PROCESSES

    def _beat(self) -> None:
        if time.monotonic() < self._next_beat:
            return
        if not heart.beat(self._post, self._board.size):
            self._supersede("another host works as this node now")
        self._next_beat = time.monotonic() + settings.HOLDFAST_HEARTBEAT_SECONDS

    def _recover(self) -> None:
        self.is_idle = not recovery.recover_dead_processes(self._post, self._celery_pid)
        recovery.recover_dead_workers(self._post)

    def _look_at_celery(self) -> None:
        if self._standstill.seconds() > STUCK_SECONDS:
            self._give_up(f"Celery's event loop stood still for {STUCK_SECONDS:.0f} s")

    def _tidy(self) -> None:
        self._clean(leftovers.leftovers_of(self._post.node_id))


class Standstill:
    """Measures how long Celery's event loop has stood still for no reason that passes by itself.

    Only time in which the agent itself ran counts: one that was suspended together with its
    Celery worker must not judge it.
    """

    def __init__(self, board: Board) -> None:
        self._board = board
        self._ticks = -1
        self._seconds = 0.0
        self._looked_at = time.monotonic()

    def seconds(self) -> float:
        """Return for how long; to be asked again and again."""
        now = time.monotonic()
        passed = min(now - self._looked_at, 2 * settings.HOLDFAST_AGENT_SECONDS)
        self._looked_at = now
        if self._board.ticks != self._ticks:
            self._ticks = self._board.ticks
            self._seconds = 0.0
            return 0.0
        self._seconds += passed
        if self._seconds > _DOUBTFUL_SECONDS and not dispatch.broker_answers(seconds=_PING_SECONDS):
            self._seconds = 0.0
        return self._seconds
