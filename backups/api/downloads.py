"""How a bundle gets to a person: straight from the storage, or streamed by the panel."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.urls import reverse
from django.utils.http import content_disposition_header
from rest_framework.request import Request

from backups import registry
from backups.api import links
from backups.api.access import person
from backups.api.errors import json_error
from backups.connections import let_go
from backups.errors import DownloadUnavailableError, with_hint
from backups.models import Backup
from backups.queries import node_of_backup

CHUNK_BYTES = 1 << 20
_RANGE = re.compile(r"bytes=(\d*)-(\d*)")


def offer(request: Request, backup: Backup) -> dict[str, Any]:
    """Return where the bundle can be fetched for a while; makes no request to a storage on S3.

    Raises `DownloadUnavailableError` where there is no bundle, or it lies on another host.
    """
    require_bundle(backup)
    seconds = settings.HOLDFAST_DOWNLOAD_URL_SECONDS
    storage = backup.storage
    store = registry.open_store(storage.type, storage.full_config())
    url = store.presign(backup.object_key, filename=backup.filename, expires_seconds=seconds)
    if url is None:
        open_here(backup)
        whose = {"backup": backup.pk, "user": person(request).pk}
        link = links.sign(links.DOWNLOAD, {**whose, "object": object_mark(backup)})
        url = request.build_absolute_uri(reverse("download", args=[link]))
    return {
        "backup_id": backup.pk,
        "filename": backup.filename,
        "s3_path": registry.address_of(storage.type, storage.config, backup.object_key),
        "provider": storage.name,
        "download_url": url,
        "expires_in_seconds": seconds,
    }


def require_bundle(backup: Backup) -> None:
    """Raise `DownloadUnavailableError` for a backup that failed."""
    if not backup.object_key:
        raise DownloadUnavailableError("This backup failed, so there is no bundle to download.")


def object_mark(backup: Backup) -> str:
    """Return what binds a link to the object itself: another key or content has another mark."""
    return hashlib.sha256(f"{backup.object_key}\n{backup.sha256}".encode()).hexdigest()


def open_here(backup: Backup) -> Any:  # noqa: ANN401
    """Return the bundle as a source of bytes (`size`, `read_at(offset, length)`).

    Raises `DownloadUnavailableError` unless just this bundle lies on the host of the panel.
    """
    storage, key = backup.storage, backup.object_key
    try:
        source = registry.open_store(storage.type, storage.full_config()).open(key)
    except registry.engine_error_class() as error:
        raise _elsewhere(backup) from error
    if source.size != backup.size_bytes:
        raise DownloadUnavailableError(
            f"What lies at {storage.name} under {key} has {source.size} bytes instead of "
            f"{backup.size_bytes}: it is not this backup any more."
        )
    return source


def streamed(request: HttpRequest, backup: Backup) -> HttpResponseBase:
    """Return the bundle as a response, whole or the range that was asked for."""
    source = open_here(backup)
    whole = Span(0, source.size)
    span = whole
    # Only a client that has a part of just this bundle may go on with it.
    if request.headers.get("If-Range", _etag(backup)) == _etag(backup):
        wanted = parse_range(request.headers.get("Range", ""), source.size)
        if wanted is None:
            outside = {"Content-Range": f"bytes */{source.size}"}
            sentence = f"The bundle has {source.size} bytes; the range lies outside."
            return json_error(416, sentence, "range_not_satisfiable", outside)
        span = wanted
    response = _body(request, source, span)
    response.status_code = 200 if span == whole else 206
    if span != whole:
        last = span.offset + span.length - 1
        response["Content-Range"] = f"bytes {span.offset}-{last}/{source.size}"
    response["Content-Length"] = str(span.length)
    response["Content-Type"] = (
        "application/octet-stream" if backup.encrypted_to else "application/zstd"
    )
    response["Content-Disposition"] = f'attachment; filename="{backup.filename}"'
    response["Accept-Ranges"] = "bytes"
    response["ETag"] = _etag(backup)
    response["Cache-Control"] = "private, no-store"
    return response


def file_of(request: HttpRequest, backup: Backup, path: str) -> HttpResponseBase:
    """Return one file of the bundle as a response; fetches its frames only.

    Raises `DownloadUnavailableError` where the panel cannot reach the bundle, and for a path that
    is no file in it.
    """
    require_bundle(backup)
    source = open_here(backup)
    try:
        bundle = registry.open_bundle(
            source,
            settings.HOLDFAST_AGE_IDENTITY_FILE,
            is_encrypted=bool(backup.encrypted_to),
        )
        bundle.require_manifest(backup.manifest_sha256)
        size, pieces = bundle.file(path.encode("utf-8", "surrogateescape"))
    except registry.engine_error_class() as error:
        raise DownloadUnavailableError(_told(error)) from error
    let_go()
    is_async = isinstance(request, ASGIRequest)
    body = StreamingHttpResponse(_in_threads(pieces) if is_async else pieces)
    body["Content-Length"] = str(size)
    body["Content-Type"] = "application/octet-stream"
    name = path.rstrip("/").rpartition("/")[2]
    body["Content-Disposition"] = content_disposition_header(True, name)
    body["Cache-Control"] = "private, no-store"
    return body


def _told(error: Any) -> str:  # noqa: ANN401
    return with_hint(error.message, error.hint)


async def _in_threads(pieces: Iterator[bytes]) -> AsyncIterator[bytes]:
    while piece := await asyncio.to_thread(next, pieces, b""):
        yield piece


@dataclass(frozen=True, slots=True)
class Span:
    """A part of a file, in bytes."""

    offset: int
    length: int


def parse_range(header: str, size: int) -> Span | None:
    """Return the part that a Range header asks for, None if it lies outside (RFC 9110, 14.2).

    A header that is no range of bytes, or that names several, asks for the whole, as the RFC
    allows.
    """
    match = _RANGE.fullmatch(header.strip())
    if match is None or not any(match.groups()):
        return Span(0, size)
    first, last = match.groups()
    if not first:
        length = min(int(last), size)
        return Span(size - length, length) if length else None
    offset = int(first)
    end = min(int(last), size - 1) if last else size - 1
    if last and int(last) < offset:
        return Span(0, size)
    return Span(offset, end - offset + 1) if offset < size else None


def _body(request: HttpRequest, source: Any, span: Span) -> HttpResponseBase:  # noqa: ANN401
    if request.method == "HEAD":
        return HttpResponse()
    let_go()
    # Each server takes one kind of iterator as it comes, and reads the other into memory first.
    if isinstance(request, ASGIRequest):
        return StreamingHttpResponse(_chunks_async(source, span))
    return StreamingHttpResponse(_chunks(source, span))


def _chunks(source: Any, span: Span) -> Iterator[bytes]:  # noqa: ANN401
    offset, end = span.offset, span.offset + span.length
    while offset < end:
        chunk = source.read_at(offset, min(CHUNK_BYTES, end - offset))
        offset += len(chunk)
        yield chunk


async def _chunks_async(source: Any, span: Span) -> AsyncIterator[bytes]:  # noqa: ANN401
    offset, end = span.offset, span.offset + span.length
    while offset < end:
        chunk = await asyncio.to_thread(source.read_at, offset, min(CHUNK_BYTES, end - offset))
        offset += len(chunk)
        yield chunk


def _etag(backup: Backup) -> str:
    return f'"{backup.sha256}"'


def _elsewhere(backup: Backup) -> DownloadUnavailableError:
    node = node_of_backup(backup)
    address = registry.address_of(backup.storage.type, backup.storage.config, backup.object_key)
    return DownloadUnavailableError(
        f"The bundle lies on the node {node.name} and cannot be reached from the panel's host; "
        f"fetch it there: {address}"
    )
