"""Looking into a stored bundle, and taking one file out of it."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponseBase
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.generics import GenericAPIView
from rest_framework.request import Request
from rest_framework.response import Response

from backups.api import downloads
from backups.api.access import person, visible_or_refused
from backups.api.asking import Question, ask
from backups.api.pages import PageQuery
from backups.api.serializers.common import ErrorBody, PendingBody
from backups.api.serializers.contents import ContentsBody, TablesBody
from backups.api.views.backups import with_names
from backups.models import Backup
from backups.queries import node_that_reaches


class ContentsQuery(PageQuery):
    """Which folder of the bundle, and which part of it."""

    path = serializers.CharField(
        default="", allow_blank=True, trim_whitespace=False, max_length=4096, help_text="A folder."
    )


class FileQuery(serializers.Serializer[Any]):
    """Which file of the bundle."""

    path = serializers.CharField(trim_whitespace=False, max_length=4096)


class BackupContents(GenericAPIView[Any]):
    """What a bundle holds, folder by folder."""

    serializer_class = ContentsBody

    @extend_schema(
        parameters=[ContentsQuery],
        responses={200: ContentsBody, 202: PendingBody, 409: ErrorBody, 503: ErrorBody},
    )
    def get(self, request: Request, backup_id: int) -> Response:
        """Return the entries of a folder, folders first.

        A node that reaches the storage reads the bundle's index; no file is fetched.
        """
        query = ContentsQuery(data=request.query_params)
        query.is_valid(raise_exception=True)
        backup = visible_or_refused(with_names(person(request)), backup_id)
        context = {"backup_id": backup.pk, "path": query.validated_data["path"]}
        arguments = {**_place_of(backup), **query.validated_data}
        question = Question("list_bundle", arguments, "list_bundle", context)
        return ask(request, node_that_reaches(backup), question)


class BackupTables(GenericAPIView[Any]):
    """Which tables a bundle holds."""

    serializer_class = TablesBody
    pagination_class = None

    @extend_schema(
        responses={200: TablesBody, 202: PendingBody, 409: ErrorBody, 503: ErrorBody},
    )
    def get(self, request: Request, backup_id: int) -> Response:
        """Return the names that `tables` of a restore may be, with rows and sizes.

        A node that reaches the storage reads them in the head of the bundle's manifest.
        """
        backup = visible_or_refused(with_names(person(request)), backup_id)
        context = {"backup_id": backup.pk}
        question = Question("list_tables", _place_of(backup), "list_tables", context)
        return ask(request, node_that_reaches(backup), question)


def _place_of(backup: Backup) -> dict[str, Any]:
    """Return where the bundle is, as a node is told; raises `DownloadUnavailableError`."""
    downloads.require_bundle(backup)
    return {
        "storage_id": backup.storage_id,
        "key": backup.object_key,
        "is_encrypted": bool(backup.encrypted_to),
        "manifest_sha256": backup.manifest_sha256,
    }


class BackupFile(GenericAPIView[Any]):
    """One file of a bundle."""

    serializer_class = serializers.Serializer

    @extend_schema(
        parameters=[FileQuery],
        responses={(200, "application/octet-stream"): OpenApiTypes.BINARY, 409: ErrorBody},
    )
    def get(self, request: Request, backup_id: int) -> HttpResponseBase:
        """Fetch the file's own part of the bundle, and nothing else of it.

        Its checksum is compared at the end: where it is wrong the answer breaks off.
        """
        query = FileQuery(data=request.query_params)
        query.is_valid(raise_exception=True)
        backup = visible_or_refused(with_names(person(request)), backup_id)
        return downloads.file_of(request._request, backup, query.validated_data["path"])
