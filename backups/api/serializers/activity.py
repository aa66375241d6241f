"""The audit trail on the wire."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from backups.api.serializers.common import LARGEST_KEY
from backups.api.serializers.strict import StrictSerializer
from backups.models import AuditEntry, AuditOutcome, AuditSource

MAX_LIMIT = 500


class AuditEntrySerializer(serializers.ModelSerializer[AuditEntry]):
    """One write or one refused attempt. `actor` is null for nobody, and for who is gone."""

    actor = serializers.IntegerField(source="actor_id", read_only=True, allow_null=True)
    fields_sent = serializers.ListField(
        source="fields",
        child=serializers.CharField(),
        read_only=True,
        help_text="Names of what was sent, never values.",
    )

    class Meta:
        model = AuditEntry
        fields = [
            "id",
            "created_at",
            "actor",
            "actor_name",
            "actor_role",
            "source",
            "action",
            "object_type",
            "object_id",
            "object_label",
            "site_id",
            "node_id",
            "address",
            "user_agent",
            "request_id",
            "outcome",
            "status_code",
            "detail",
            "fields_sent",
        ]
        read_only_fields = fields


class ActivityQuery(StrictSerializer):
    """Which entries are wanted; those that fit all of it."""

    action = serializers.CharField(required=False, max_length=80, help_text="As `backup.start`.")
    outcome = serializers.ChoiceField(choices=AuditOutcome.values, required=False)
    # The library has an attribute of this name, which its own metaclass takes care of.
    source = serializers.ChoiceField(  # type: ignore[assignment]
        choices=AuditSource.values, required=False
    )
    actor = serializers.IntegerField(
        required=False, min_value=0, max_value=LARGEST_KEY, help_text="A user's id."
    )
    site_id = serializers.IntegerField(required=False, min_value=0, max_value=LARGEST_KEY)
    node_id = serializers.IntegerField(required=False, min_value=0, max_value=LARGEST_KEY)
    object_type = serializers.CharField(required=False, max_length=40)
    object_id = serializers.CharField(required=False, max_length=64)
    since = serializers.DateTimeField(required=False)
    until = serializers.DateTimeField(required=False)
    search = serializers.CharField(
        required=False, max_length=200, help_text="In the actor, object, action and sentence."
    )
    limit = serializers.IntegerField(required=False, min_value=1, max_value=MAX_LIMIT)
    offset = serializers.IntegerField(required=False, min_value=0, max_value=2**31)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Refuse a time that ends before it begins."""
        since, until = attrs.get("since"), attrs.get("until")
        if since is not None and until is not None and until < since:
            raise serializers.ValidationError({"until": ["This is before `since`."]})
        return attrs
