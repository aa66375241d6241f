"""Server-sent events (the HTML standard, 9.2): the status of a job, as it changes."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from django.http import HttpResponse, HttpResponseBase, StreamingHttpResponse
from rest_framework import serializers
from rest_framework.renderers import BaseRenderer, JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from backups.connections import let_go
from backups.queries.watched import Watched
from panel.dashboard.feed import Snapshot, feed, in_thread, take_snapshots
from panel.dashboard.rights import CHECK_SECONDS, Viewer, may_go_on

RETRY_MILLISECONDS = 3000
# Proxies close what is silent for a minute.
KEEP_ALIVE_SECONDS = 15.0
MEDIA_TYPE = "text/event-stream"
KEEP_ALIVE = ": still here\n\n"
LOST = {"detail": "You may not watch this any more; sign in again.", "code": "not_authenticated"}
GONE = {"detail": "What you watch was removed.", "code": "not_found"}


class StreamQuery(serializers.Serializer[Any]):
    """How a stream is wanted."""

    interval = serializers.IntegerField(
        min_value=1, max_value=60, default=2, help_text="Seconds; at least so often it says how."
    )


class EventStreamRenderer(JSONRenderer):
    """Lets a client ask for events alone; what is refused is JSON all the same."""

    media_type = MEDIA_TYPE
    format = "events"


class SendsEvents(APIView):
    """A view whose answers are a stream, or an error in JSON."""

    renderer_classes: list[type[BaseRenderer]] = [JSONRenderer, EventStreamRenderer]
    http_method_names = ["get", "options"]

    def finalize_response(
        self,
        request: Request,
        response: Response,
        *args: Any,  # noqa: ANN401
        **kwargs: Any,  # noqa: ANN401
    ) -> Response:
        """Call an error what it is: DRF takes the type that the client asked for."""
        final = super().finalize_response(request, response, *args, **kwargs)
        if isinstance(final, Response):
            final.content_type = JSONRenderer.media_type
        return final


@dataclass(frozen=True, slots=True)
class Wish:
    """What one viewer watches, how often it wants to hear, and what it heard last."""

    key: Watched
    viewer: Viewer
    interval: int
    last_event_id: str


def stream_of(request: Request, key: Watched, viewer: Viewer) -> HttpResponseBase:
    """Return the stream; 204 for who has seen the end already, which tells a browser to stop."""
    query = StreamQuery(data=request.query_params)
    query.is_valid(raise_exception=True)
    last_event_id = request.headers.get("Last-Event-ID", "")
    now = take_snapshots([key]).get(key)
    if now is not None and now.is_last and now.event_id == last_event_id:
        return HttpResponse(status=204)
    wish = Wish(key, viewer, query.validated_data["interval"], last_event_id)
    let_go()
    response = StreamingHttpResponse(_events(wish), content_type=MEDIA_TYPE)
    response["Cache-Control"] = "no-store"
    # nginx would hold events back until a buffer is full.
    response["X-Accel-Buffering"] = "no"
    return response


async def _events(wish: Wish) -> AsyncIterator[str]:
    async with feed().watch(wish.key) as channel:
        pace = _Pace(wish.interval)
        seen = wish.last_event_id
        while True:
            if not await pace.still_allowed(wish.viewer):
                yield _event("end", LOST)
                return
            snapshot, changed = channel.snapshot, channel.changed
            if snapshot is None:
                yield _event("end", GONE)
                return
            if snapshot.event_id != seen or pace.is_due():
                yield _status(snapshot)
                seen = snapshot.event_id
                pace.sent()
                if snapshot.is_last:
                    return
            elif pace.is_silent():
                yield KEEP_ALIVE
                pace.spoke()
            await _wait(changed, pace.next_in())


class _Pace:
    """When a viewer is to hear again, and when its right is to be looked at again."""

    def __init__(self, interval: int) -> None:
        self._interval = interval
        self._sent_at = self._spoke_at = self._checked_at = time.monotonic()

    def is_due(self) -> bool:
        return time.monotonic() - self._sent_at >= self._interval

    def is_silent(self) -> bool:
        return time.monotonic() - self._spoke_at >= KEEP_ALIVE_SECONDS

    def sent(self) -> None:
        self._sent_at = self._spoke_at = time.monotonic()

    def spoke(self) -> None:
        self._spoke_at = time.monotonic()

    def next_in(self) -> float:
        now = time.monotonic()
        times = (
            self._sent_at + self._interval,
            self._spoke_at + KEEP_ALIVE_SECONDS,
            self._checked_at + CHECK_SECONDS,
        )
        return max(0.01, min(times) - now)

    async def still_allowed(self, viewer: Viewer) -> bool:
        if time.monotonic() - self._checked_at < CHECK_SECONDS:
            return True
        self._checked_at = time.monotonic()
        return await in_thread(may_go_on, viewer)


async def _wait(changed: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(changed.wait(), seconds)
    except TimeoutError:
        return


def _status(snapshot: Snapshot) -> str:
    return f"retry: {RETRY_MILLISECONDS}\nid: {snapshot.event_id}\ndata: {snapshot.data}\n\n"


def _event(name: str, data: dict[str, str]) -> str:
    return f"event: {name}\nretry: {RETRY_MILLISECONDS}\ndata: {json.dumps(data)}\n\n"
