"""Server-sent events (the HTML standard, 9.2): the status of a job, as it changes."""

from __future__ import annotations

import asyncio
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
from panel.dashboard.feed import feed
from panel.dashboard.rights import Viewer
from panel.dashboard.snapshots import Snapshot, event_of, take_snapshots

# Proxies close what is silent for a minute.
KEEP_ALIVE_SECONDS = 15.0
MEDIA_TYPE = "text/event-stream"
KEEP_ALIVE = b": still here\n\n"
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
    """What one viewer watches, how often it wants to hear, and what it heard last.

    `now` is what there was to see when it came.
    """

    key: Watched
    viewer: Viewer
    interval: int
    last_event_id: str
    now: Snapshot | None


def stream_of(request: Request, key: Watched, viewer: Viewer) -> HttpResponseBase:
    """Return the stream; 204 for who has seen the end already, which tells a browser to stop."""
    query = StreamQuery(data=request.query_params)
    query.is_valid(raise_exception=True)
    last_event_id = request.headers.get("Last-Event-ID", "")
    now = take_snapshots([key]).get(key)
    if now is not None and now.is_last and now.event_id == last_event_id:
        return HttpResponse(status=204)
    wish = Wish(key, viewer, query.validated_data["interval"], last_event_id, now)
    let_go()
    response = StreamingHttpResponse(_events(wish), content_type=MEDIA_TYPE)
    response["Cache-Control"] = "no-store"
    # nginx would hold events back until a buffer is full.
    response["X-Accel-Buffering"] = "no"
    return response


async def _events(wish: Wish) -> AsyncIterator[bytes]:
    async with feed().watch(wish.key, wish.viewer, wish.now) as seat:
        pace = _Pace(wish.interval)
        seen = wish.last_event_id
        while True:
            snapshot, changed = seat.channel.snapshot, seat.channel.changed
            if seat.is_lost or snapshot is None:
                yield event_of("end", LOST if seat.is_lost else GONE)
                return
            if snapshot.event_id != seen or pace.is_due():
                yield snapshot.event
                seen = snapshot.event_id
                pace.sent()
                if snapshot.is_last:
                    return
            elif pace.is_silent():
                yield KEEP_ALIVE
                pace.spoke()
            await _wait(changed, pace.next_in())


class _Pace:
    """When a viewer is to hear again."""

    def __init__(self, interval: int) -> None:
        self._interval = interval
        self._sent_at = self._spoke_at = time.monotonic()

    def is_due(self) -> bool:
        return time.monotonic() - self._sent_at >= self._interval

    def is_silent(self) -> bool:
        return time.monotonic() - self._spoke_at >= KEEP_ALIVE_SECONDS

    def sent(self) -> None:
        self._sent_at = self._spoke_at = time.monotonic()

    def spoke(self) -> None:
        self._spoke_at = time.monotonic()

    def next_in(self) -> float:
        due = min(self._sent_at + self._interval, self._spoke_at + KEEP_ALIVE_SECONDS)
        return max(0.01, due - time.monotonic())


async def _wait(changed: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(changed.wait(), seconds)
    except TimeoutError:
        return
