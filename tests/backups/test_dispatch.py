"""The door to the queue, when the broker holds still."""

from __future__ import annotations

import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from celery import current_app

from backups import dispatch
from backups.errors import BrokerUnavailableError
from backups.models import Node
from tests.servers import wait_until
from tests.servers.redis import RedisServer


def test_question_that_was_refused_is_not_asked_after_all_when_the_broker_hung(
    node: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, closed_broker: None
) -> None:
    server = RedisServer(tmp_path)
    server.start()
    monkeypatch.setattr(current_app.conf, "broker_url", server.url)
    monkeypatch.setattr(current_app.conf, "broker_write_url", server.url)
    monkeypatch.setattr(dispatch, "PUBLISH_SECONDS", 0.3)
    publisher = ThreadPoolExecutor(max_workers=1)
    monkeypatch.setattr(dispatch, "_publisher", publisher)
    try:
        os.kill(server._daemon.pid, signal.SIGSTOP)
        for _ in range(3):
            with pytest.raises(BrokerUnavailableError):
                dispatch.ask_node(node, "delete_object", {"storage_id": 1, "key": "k"})
        os.kill(server._daemon.pid, signal.SIGCONT)
        publisher.shutdown(wait=True)
        # The one that was on its way when the broker froze cannot be called back.
        wait_until(lambda: server.client().llen(node.queue) >= 1)
        assert server.client().llen(node.queue) == 1
    finally:
        os.kill(server._daemon.pid, signal.SIGCONT)
        server.stop()


def test_what_goes_out_in_the_background_is_waited_for_when_the_process_ends() -> None:
    may_go_on, is_out = threading.Event(), threading.Event()

    def send() -> None:
        may_go_on.wait(10)
        is_out.set()

    dispatch.in_background(send)
    threading.Timer(0.2, may_go_on.set).start()
    dispatch.finish_background()
    assert is_out.is_set()
