"""What is sent of a status object, made once however many watch it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from rest_framework.utils.encoders import JSONEncoder

from backups.queries.watched import Watched, watched_statuses

RETRY_MILLISECONDS = 3000
# It changes as time goes by, which is no news.
NO_NEWS = "eta_seconds"
_ENDED = frozenset({"completed", "failed", "stopped"})
# A status object names what `StatusBody` does, in values that this encoder writes as DRF would.
_encoder = JSONEncoder(ensure_ascii=False, separators=(",", ":"))


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A status object, the id of what it says, and whether anything can follow.

    `event` is how it is sent: one piece of memory for all who wait for it.
    """

    event_id: str
    data: str
    is_last: bool
    event: bytes


def take_snapshots(keys: Collection[Watched]) -> dict[Watched, Snapshot]:
    """Return what each key shows now; what does not exist is left out."""
    texts: dict[int, tuple[str, str]] = {}
    return {key: _snapshot(shown, texts) for key, shown in watched_statuses(keys).items()}


def event_of(name: str, data: dict[str, str]) -> bytes:
    """Return an event with a name, which is no status."""
    return f"event: {name}\nretry: {RETRY_MILLISECONDS}\ndata: {json.dumps(data)}\n\n".encode()


def made(news: str, data: str, *, is_last: bool) -> Snapshot:
    """Return the snapshot with that data; two of the same `news` say the same."""
    event_id = hashlib.sha256(news.encode()).hexdigest()[:24]
    event = f"retry: {RETRY_MILLISECONDS}\nid: {event_id}\ndata: {data}\n\n".encode()
    return Snapshot(event_id, data, is_last, event)


def _snapshot(shown: dict[str, Any], texts: dict[int, tuple[str, str]]) -> Snapshot:
    if "jobs" not in shown:
        news, data = _texts(shown, texts)
        return made(news, data, is_last=shown["status"] in _ENDED)
    each = [_texts(status, texts) for status in shown["jobs"]]
    news, data = (
        f'{{"jobs":[{",".join(parts)}],"total":{shown["total"]}}}'
        for parts in ([news for news, _ in each], [data for _, data in each])
    )
    # A list of jobs has no end: others begin.
    return made(news, data, is_last=False)


def _texts(status: dict[str, Any], texts: dict[int, tuple[str, str]]) -> tuple[str, str]:
    """Return a status as JSON without and with what is no news; lists share those of their jobs."""
    found = texts.get(id(status))
    if found is None:
        news = _encoder.encode({name: value for name, value in status.items() if name != NO_NEWS})
        found = news, f'{news[:-1]},"{NO_NEWS}":{_encoder.encode(status[NO_NEWS])}}}'
        texts[id(status)] = found
    return found
