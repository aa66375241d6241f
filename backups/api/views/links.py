"""What signed links lead to: late answers of nodes, and bundles in folders."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.http import HttpRequest, HttpResponseBase
from django.views.decorators.csrf import csrf_exempt
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework.generics import GenericAPIView
from rest_framework.request import Request
from rest_framework.response import Response

from backups.api import downloads, links
from backups.api.asking import resume
from backups.api.errors import json_error
from backups.api.serializers.common import ErrorBody, PendingBody
from backups.errors import DomainError, LinkInvalidError
from backups.models import Backup
from backups.queries import backups_visible_to


class LateAnswer(GenericAPIView[Any]):
    """The answer to a request that got 202; only for whoever made it, for an hour."""

    serializer_class = PendingBody

    @extend_schema(responses={200: OpenApiTypes.OBJECT, 202: PendingBody, 410: ErrorBody})
    def get(self, request: Request, link: str) -> Response:
        """Return what the request would have returned, or 202 again."""
        return resume(request, link)


@csrf_exempt
def download(request: HttpRequest, link: str) -> HttpResponseBase:
    """Stream a bundle. The link alone is the credential, as with a presigned URL of S3.

    A plain view, so that any Accept header will do.
    """
    if request.method not in ("GET", "HEAD"):
        sentence = f'Method "{request.method}" not allowed.'
        return json_error(405, sentence, "method_not_allowed", {"Allow": "GET, HEAD"})
    try:
        return downloads.streamed(request, _linked_backup(link))
    except DomainError as error:
        return json_error(error.status, error.message, error.code)


def _linked_backup(link: str) -> Backup:
    payload = links.read(links.DOWNLOAD, link, seconds=settings.HOLDFAST_DOWNLOAD_URL_SECONDS)
    user: Any = get_user_model().objects.filter(pk=payload["user"]).first()
    # Whoever lost the right in the meantime lost it for the link as well.
    visible = backups_visible_to(user) if user is not None else Backup.objects.none()
    rows = visible.select_related("storage", "site__node", "job__node")
    backup = rows.filter(pk=payload["backup"]).first()
    if backup is None or downloads.object_mark(backup) != payload.get("object"):
        raise LinkInvalidError("There is nothing at this link any more.")
    return backup
