"""Nodes on the wire."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from backups.models import Node


class NodeSerializer(serializers.ModelSerializer[Node]):
    """A host of the cluster. `status` is `online`, `offline` or `disabled`."""

    status = serializers.SerializerMethodField()
    workers = serializers.IntegerField(source="worker_count", read_only=True)
    concurrency = serializers.IntegerField(source="slots", read_only=True)
    active_jobs = serializers.IntegerField(read_only=True)
    queued_jobs = serializers.IntegerField(read_only=True)
    last_seen = serializers.DateTimeField(source="last_seen_at", read_only=True)

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
            "allowed_roots",
            "storage_quota_gb",
            "workers",
            "concurrency",
            "active_jobs",
            "queued_jobs",
            "cpu_percent",
            "memory_percent",
            "disk_percent",
            "last_seen",
        ]
        read_only_fields = fields

    def get_status(self, node: Any) -> str:  # noqa: ANN401
        """Return whether somebody works on it."""
        if not node.is_enabled:
            return "disabled"
        return "online" if node.is_online else "offline"
