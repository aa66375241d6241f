"""Nodes on the wire."""

from __future__ import annotations

from typing import Any

from django.utils import timezone
from rest_framework import serializers

from backups.actions import nodes
from backups.api.serializers.strict import StrictModelSerializer, StrictSerializer
from backups.models import MAX_SLOTS, Node
from backups.queries import is_paused


class NodeSerializer(serializers.ModelSerializer[Node]):
    """A host of the cluster. `status` is `online`, `offline` or `disabled`.

    One that `is_draining` is online all the same: its running stages end, and none begins.
    """

    status = serializers.SerializerMethodField()
    is_paused = serializers.SerializerMethodField()
    workers = serializers.IntegerField(source="worker_count", read_only=True)
    concurrency = serializers.IntegerField(source="slots", read_only=True)
    active_jobs = serializers.IntegerField(read_only=True)
    queued_jobs = serializers.IntegerField(read_only=True)
    last_seen = serializers.DateTimeField(source="last_seen_at", read_only=True, allow_null=True)

    class Meta:
        model = Node
        fields = [
            "id",
            "uuid",
            "name",
            "label",
            "hostname",
            "ip_address",
            "status",
            "is_enabled",
            "is_draining",
            "allowed_roots",
            "storage_quota_gb",
            "workers",
            "concurrency",
            "nice",
            "io_class",
            "upload_bytes_per_second",
            "time_zone",
            "blackouts",
            "schedule_window_minutes",
            "is_paused",
            "paused_until",
            "active_jobs",
            "queued_jobs",
            "cpu_percent",
            "memory_percent",
            "disk_percent",
            "disk_free_bytes",
            "load_average",
            "last_seen",
            "retention_copies",
            "retention_daily",
            "retention_weekly",
            "retention_monthly",
            "retention_yearly",
        ]
        read_only_fields = fields

    def get_is_paused(self, node: Node) -> bool:
        """Return whether its schedule rests now."""
        return is_paused(node, timezone.now())

    def get_status(self, node: Any) -> str:  # noqa: ANN401
        """Return whether somebody works on it."""
        if not node.is_enabled:
            return "disabled"
        return "online" if node.is_online else "offline"


class NodeChanges(StrictModelSerializer[Node]):
    """What may be changed of a node here; its folders are for a super admin to open."""

    storage_quota_gb = serializers.FloatField(
        min_value=0, required=False, allow_null=True, help_text="GiB; null is without a limit."
    )
    concurrency = serializers.IntegerField(
        source="slots",
        min_value=1,
        max_value=MAX_SLOTS,
        required=False,
        help_text="How many stages run at once.",
    )

    class Meta:
        model = Node
        fields = [
            "label",
            "storage_quota_gb",
            "concurrency",
            "is_enabled",
            "nice",
            "io_class",
            "upload_bytes_per_second",
            "retention_copies",
            "retention_daily",
            "retention_weekly",
            "retention_monthly",
            "retention_yearly",
            "time_zone",
            "blackouts",
            "schedule_window_minutes",
        ]

    def update(self, instance: Node, validated_data: dict[str, Any]) -> Node:
        """Change the node."""
        return nodes.change_node(node=instance, **validated_data)


class ScaleSerializer(StrictSerializer):
    """How many stages a node runs at once."""

    concurrency = serializers.IntegerField(min_value=1, max_value=MAX_SLOTS)


class NodeOrderedBody(serializers.Serializer[Any]):
    """An order to a node is recorded; its workers see to it within seconds."""

    success = serializers.BooleanField()
    message = serializers.CharField()
    node = NodeSerializer()
