"""Storages: list, add, change, remove, test, and what they hold."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from drf_spectacular.utils import OpenApiResponse, extend_schema, extend_schema_view
from rest_framework.generics import GenericAPIView, ListCreateAPIView, RetrieveUpdateDestroyAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer

from backups.actions import questions, storages
from backups.api.access import live_node, person, require, visible_or_refused
from backups.api.asking import Question, ask
from backups.api.serializers.common import ErrorBody, PendingBody, gibibytes
from backups.api.serializers.stored import (
    StorageBriefSerializer,
    StorageSerializer,
    StorageSummaryBody,
    StorageTestedBody,
    StorageTestSerializer,
)
from backups.errors import DomainError, NodeUnavailableError
from backups.models import Storage
from backups.queries import may_manage_storage, storage_usage, storages_visible_to

FORBIDDEN = "Only a super admin may manage storages."


def managed_storage(request: Request, storage_id: int) -> Storage:
    """Return the storage to somebody who manages storages; raises 403 or 404."""
    storage = visible_or_refused(Storage.objects.all(), storage_id)
    require(may_manage_storage(person(request)), FORBIDDEN)
    return storage


def probe_now(request: Request, storage: Storage, node_id: int | None) -> None:
    """Have the storage tested if somebody can; what it shows is on its row afterwards."""
    node = live_node(person(request), node_id)
    if node is None:
        return
    try:
        task = questions.ask(node=node, query="test_storage", arguments={"storage_id": storage.pk})
        questions.wait_for_answer(task_id=task)
    except DomainError:
        # The storage is kept all the same: its row says that it is untested, or why it failed.
        pass
    storage.refresh_from_db()


@extend_schema_view(get=extend_schema(responses=StorageBriefSerializer(many=True)))
class StorageList(ListCreateAPIView[Storage]):
    """The storages. Whoever only chooses one for a site sees names and kinds.

    Super admins get what one storage's own route gives.
    """

    serializer_class = StorageSerializer
    pagination_class = None

    def get_queryset(self) -> QuerySet[Storage]:
        """Return the storages, with secrets only for whoever manages them."""
        user = person(self.request)
        return Storage.objects.all() if may_manage_storage(user) else storages_visible_to(user)

    def get_serializer_class(self) -> type[BaseSerializer[Storage]]:
        """Return the shape for this user."""
        manages = may_manage_storage(person(self.request)) or self.request.method == "POST"
        return StorageSerializer if manages else StorageBriefSerializer

    def perform_create(self, serializer: BaseSerializer[Storage]) -> None:
        """Add the storage, then test it if a node is there to do it."""
        require(may_manage_storage(person(self.request)), FORBIDDEN)
        node_id = serializer.validated_data.get("node_id")
        live_node(person(self.request), node_id)
        probe_now(self.request, serializer.save(), node_id)


class StorageDetail(RetrieveUpdateDestroyAPIView[Storage]):
    """One storage."""

    serializer_class = StorageSerializer

    def get_object(self) -> Storage:
        """Return the storage; raises 403 or 404."""
        return managed_storage(self.request, self.kwargs["storage_id"])

    def perform_update(self, serializer: BaseSerializer[Storage]) -> None:
        """Change the storage, then test it anew if it is another one now."""
        node_id = serializer.validated_data.get("node_id")
        live_node(person(self.request), node_id)
        storage = serializer.save()
        if storage.tested_at is None:
            probe_now(self.request, storage, node_id)

    def perform_destroy(self, instance: Storage) -> None:
        """Remove a storage that nothing refers to."""
        storages.delete_storage(storage=instance)


class StorageTest(GenericAPIView[Any]):
    """Have a node try what the storage supports, with small objects of its own."""

    serializer_class = StorageTestSerializer

    @extend_schema(
        request=StorageTestSerializer,
        responses={
            200: StorageTestedBody,
            202: PendingBody,
            422: OpenApiResponse(ErrorBody, description="Why the storage cannot be used."),
            503: ErrorBody,
        },
    )
    def post(self, request: Request, storage_id: int) -> Response:
        """Test now."""
        storage = managed_storage(request, storage_id)
        serializer = self.get_serializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        node = live_node(person(request), serializer.validated_data.get("node_id"))
        if node is None:
            raise NodeUnavailableError("No node has a running worker to test the storage.")
        arguments = {"storage_id": storage.pk}
        return ask(request, node, Question("test_storage", arguments, "test_storage", {}))


class StorageSummary(GenericAPIView[Any]):
    """What the good backups of your sites take, by storage."""

    serializer_class = StorageSummaryBody

    @extend_schema(responses=StorageSummaryBody)
    def get(self, request: Request) -> Response:
        """Return the sums."""
        providers = [
            {**row, "used_gb": gibibytes(row["used_bytes"])}
            for row in storage_usage(person(request))
        ]
        used = sum(row["used_bytes"] for row in providers)
        return Response(
            {
                "providers": providers,
                "backup_count": sum(row["backup_count"] for row in providers),
                "used_bytes": used,
                "used_gb": gibibytes(used),
            }
        )
