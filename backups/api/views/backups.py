"""Backups: list, one, fetch, delete."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.generics import GenericAPIView, ListAPIView
from rest_framework.request import Request
from rest_framework.response import Response

from backups.actions import backups
from backups.api import downloads
from backups.api.access import person, visible_or_refused
from backups.api.asking import delete_with_object, deletion_body, require_may_delete
from backups.api.pages import BackupsPage
from backups.api.serializers.common import ErrorBody, PendingBody
from backups.api.serializers.stored import BackupSerializer, DeletedBody, DownloadBody
from backups.api.views.control import visible_site
from backups.models import Backup
from backups.queries import backups_visible_to
from backups.roles import Person


class DeletionQuery(serializers.Serializer[Any]):
    """Whether the object goes as well."""

    delete_remote = serializers.BooleanField(default=False)


def with_names(user: Person) -> QuerySet[Backup]:
    """Return the visible backups with what their fields need."""
    backups_with_names = backups_visible_to(user).select_related(
        "site__node", "storage", "job__node", "pinned_by"
    )
    return backups_with_names.defer("storage__secrets", "site__db_password")


class SiteBackups(ListAPIView[Backup]):
    """The backups of a site, newest first."""

    serializer_class = BackupSerializer
    pagination_class = BackupsPage

    def get_queryset(self) -> QuerySet[Backup]:
        """Return the site's backups; raises 403 or 404."""
        if "site_id" not in self.kwargs:  # while the schema is made
            return Backup.objects.none()
        site = visible_site(self.request, self.kwargs["site_id"])
        return with_names(person(self.request)).filter(site=site)


class BackupDetail(GenericAPIView[Backup]):
    """One backup."""

    serializer_class = BackupSerializer

    def get_object(self) -> Backup:
        """Return the backup; raises 403 or 404."""
        return visible_or_refused(with_names(person(self.request)), self.kwargs["backup_id"])

    @extend_schema(responses=BackupSerializer)
    def get(self, request: Request, backup_id: int) -> Response:
        """Return the backup."""
        return Response(self.get_serializer(self.get_object()).data)

    @extend_schema(
        parameters=[DeletionQuery],
        responses={200: DeletedBody, 202: PendingBody, 403: ErrorBody, 409: ErrorBody},
    )
    def delete(self, request: Request, backup_id: int) -> Response:
        """Delete a backup.

        With `delete_remote=true` its object goes first, and the backup only once that is
        confirmed; until then it has `removing_since`, and what is left open is asked again by
        itself. Without it Holdfast forgets the backup, and the object stays in the storage.
        """
        query = DeletionQuery(data=request.query_params)
        query.is_valid(raise_exception=True)
        backup = self.get_object()
        require_may_delete(person(request), backup)
        if query.validated_data["delete_remote"] and backup.object_key:
            return delete_with_object(request, backup)
        backups.forget_backup(backup=backup)
        stays = f"; its object stays in {backup.storage}" if backup.object_key else ""
        message = f"Backup {backup} forgotten{stays}"
        return Response(deletion_body(backup_id, message, remote_deleted=False))


class BackupDownload(GenericAPIView[Backup]):
    """Where a bundle can be fetched from, for a while, without any other credential."""

    serializer_class = DownloadBody

    @extend_schema(responses={200: DownloadBody, 409: ErrorBody})
    def get(self, request: Request, backup_id: int) -> Response:
        """Return a presigned URL, or for a folder one of the panel's own."""
        visible = backups_visible_to(person(request)).select_related("site__node", "job__node")
        backup = visible_or_refused(visible.select_related("storage"), backup_id)
        return Response(downloads.offer(request, backup))
